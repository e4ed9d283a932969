"""Pictures: a file of each drawing, in any format that Pillow reads, or SVG."""

from collections.abc import Iterator

from PIL import Image

from tune_sketch.data.bounds import read_regular
from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.formats.gray import MANY_FRAMES, open_gray_here
from tune_sketch.data.formats.guarded import decode_guarded, is_risky
from tune_sketch.data.pictures import is_heif, register_heif
from tune_sketch.data.pixels import BadDrawingError, prepare_ink


class Images(Format):
    """One file per drawing."""

    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        yield Drawing(file, class_name, "images", path, 0)

    def read(self, drawing: Drawing) -> bytes:
        return read_regular(drawing.path)

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        picture = open_gray(content, drawing.path)
        prepared = prepare_ink(picture, settings.image_px)
        return Decoded(prepared.ink, max(picture.size), prepared.paper, picture.info.get(MANY_FRAMES, False))


def open_gray(content: bytes, path: str) -> Image.Image:
    """The whole picture in mode L, any size, as `convert_to_gray` makes it. Raises BadDrawingError."""
    is_svg = path.lower().endswith(".svg")
    if not is_risky(content, is_svg):
        return open_gray_here(content, is_svg)
    # What is missing is said here, not by the process that decodes.
    if is_svg:
        import cairosvg  # noqa: F401  # the extra `svg`
    if is_heif(content) and not register_heif():
        raise BadDrawingError("a HEIC picture, to read which: pip install 'tune_sketch[heic]'")
    gray = decode_guarded(content, is_svg)
    picture = Image.frombytes("L", (gray.width, gray.height), gray.pixels)
    picture.info[MANY_FRAMES] = gray.is_first_of_many
    return picture
