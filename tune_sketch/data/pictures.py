"""Finds the picture files of a folder, by content where the name does not tell, and counts what is left out."""

import warnings
from collections import Counter
from collections.abc import Mapping
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
CLUTTER = ("thumbs.db", "desktop.ini", "__macosx")  # made by systems, not by people


def list_pictures(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The pictures at any depth below a folder, sorted, and the number of other files by suffix.

    Hidden files and what systems leave behind count as nothing.
    """
    pictures, left_out = [], Counter[str]()
    for path in sorted(folder.rglob("*")):
        if is_clutter(path.relative_to(folder)) or path.is_dir():
            continue
        if is_picture(path):
            pictures.append(path)
        else:
            left_out[path.suffix.lower() or "without suffix"] += 1
    return pictures, left_out


def is_clutter(path: Path) -> bool:
    """Whether a relative path is hidden, or something that systems leave behind."""
    return any(part.startswith(".") or part.lower() in CLUTTER for part in path.parts)


def is_picture(path: Path) -> bool:
    """Whether a file is to be read as a picture: by its name, else by its first bytes."""
    suffix = path.suffix.lower()
    if suffix in HEIF_SUFFIXES:
        return register_heif()
    if suffix in SUFFIXES:
        return True
    if not path.is_file():  # a pipe or a device could be waited for for ever
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


def left_out_text(left_out: Mapping[str, int]) -> str:
    """Which files are left out, and what helps."""
    texts = [
        f"{number:,} {suffix}" for suffix, number in sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    ]
    text = f"left out, since they are no pictures that can be read: {', '.join(texts)}"
    if any(suffix in HEIF_SUFFIXES for suffix in left_out):
        text += "; to read .heic: pip install 'tune_sketch[heic]'"
    return text
