"""Finds the picture files of a folder, by content where the name does not tell, and counts what is left out."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from PIL import Image

# The formats that are read, by Pillow's names: none whose decoder starts another program, as PostScript's does.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
# Files of these names are taken for pictures: a damaged one is a bad drawing, and not left out.
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".svg"),
)
HEIF_SUFFIXES = (".heic", ".heif")  # need the extra `heic`
MAX_FOLDERS = 60  # in each other: what is deeper is left out
CLUTTER = ("thumbs.db", "desktop.ini", "__macosx")  # made by systems, not by people


def list_pictures(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The pictures at any depth below a folder, sorted, and the number of other files by suffix.

    Links are followed, to each folder once. Hidden files and what systems leave behind count as nothing.
    """
    pictures, left_out = [], Counter[str]()
    for path in sorted(walk_files(folder, left_out)):
        if is_picture(path):
            pictures.append(path)
        else:
            left_out[path.suffix.lower() or "without suffix"] += 1
    return pictures, left_out


def walk_files(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    """Everything but folders at any depth below a folder, without clutter; unreadable folders are counted."""
    seen = set()

    def count_unreadable(error: OSError) -> None:
        left_out["unreadable folder"] += 1

    for above, folders, files in os.walk(folder, followlinks=True, onerror=count_unreadable):
        if Path(above).parts[len(folder.parts) + MAX_FOLDERS :]:
            left_out[f"folder more than {MAX_FOLDERS} deep"] += 1
            folders[:] = []
            continue
        seen.add(os.path.realpath(above))
        shown = [name for name in folders if not is_clutter(Path(name))]
        new = {os.path.realpath(os.path.join(above, name)): name for name in shown}
        folders[:] = [name for real, name in new.items() if real not in seen]
        left_out["link to a folder that is there already"] += len(shown) - len(folders)
        yield from (Path(above, name) for name in files if not is_clutter(Path(name)))
    left_out += Counter()  # without what was not found


def is_clutter(path: Path) -> bool:
    """Whether a relative path is hidden, or something that systems leave behind."""
    return any(part.startswith(".") or part.lower() in CLUTTER for part in path.parts)


def is_picture(path: Path) -> bool:
    """Whether a file is to be read as a picture: by its name, else by its first bytes."""
    suffix = path.suffix.lower()
    if path.exists() and not path.is_file():  # a pipe or a device, which could be waited for for ever
        return False
    if suffix in HEIF_SUFFIXES:
        return register_heif()
    if suffix in SUFFIXES:  # a link that leads nowhere is a picture that cannot be read
        return True
    if not path.is_file():
        return False
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS):
            return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


@lru_cache(maxsize=1)
def register_heif() -> bool:
    """Let Pillow read .heic files, where the extra `heic` is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def is_heif(content: bytes) -> bool:
    """Whether the first bytes of a file are those of a phone's photo, whatever its name says."""
    return content[4:8] == b"ftyp" and content[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def left_out_text(left_out: Mapping[str, int]) -> str:
    """The files that are left out, and the remedy."""
    texts = [
        f"{number:,} {suffix}" for suffix, number in sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    ]
    text = f"left out, since they are no pictures that can be read: {', '.join(texts)}"
    if any(suffix in HEIF_SUFFIXES for suffix in left_out):
        text += "; to read .heic: pip install 'tune_sketch[heic]'"
    return text
