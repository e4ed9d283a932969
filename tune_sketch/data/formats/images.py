"""Pictures: a file of each drawing, in any format that Pillow reads, or SVG."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.pictures import FORMATS, register_heif
from tune_sketch.data.pixels import BadDrawingError, prepare_ink

MAX_IMAGE_PIXELS = 64_000_000


class Images(Format):
    """One file per drawing."""

    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        yield Drawing(file, class_name, "images", path, 0)

    def read(self, drawing: Drawing) -> bytes:
        with open(drawing.path, "rb") as file:
            return file.read()

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        picture = open_gray(content, drawing.path)
        prepared = prepare_ink(picture, settings.image_px)
        return Decoded(prepared.ink, max(picture.size), prepared.paper)


def open_gray(content: bytes, path: str) -> Image.Image:
    """The whole picture in mode L, any size, as `convert_to_gray` makes it. Raises BadDrawingError."""
    return _open_image(_draw_svg(content) if path.lower().endswith(".svg") else content)


def _open_image(content: bytes) -> Image.Image:
    try:
        heif = ("HEIF",) if content[4:8] == b"ftyp" and register_heif() else ()
        with Image.open(io.BytesIO(content), formats=(*FORMATS, *heif)) as image:
            return convert_to_gray(image)
    except BadDrawingError:
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on damaged bytes
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else f"damaged: {error}"
        raise BadDrawingError(reason) from error


def convert_to_gray(image: Image.Image) -> Image.Image:
    """Any picture upright and in mode L. Raises BadDrawingError for a huge one.

    Transparent paper is white, or black where the ink on it is light.
    """
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise BadDrawingError(f"too large: {image.width} x {image.height} px, more than {MAX_IMAGE_PIXELS:,}")
    image.load()
    upright = ImageOps.exif_transpose(image)
    if "transparency" in upright.info or upright.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, find_paper(rgba)), rgba)
    if upright.mode.startswith("I"):  # 16 bit grey, which convert would clip
        grey = np.asarray(upright).astype(np.float64)
        return Image.fromarray((grey / 257 if grey.max() > 255 else grey).clip(0, 255).astype(np.uint8))
    return upright.convert("L")


def find_paper(rgba: Image.Image) -> str:
    """The paper to put behind a transparent picture: what its ink can be seen on."""
    pixels = np.asarray(rgba, np.float64)
    coverage = pixels[..., 3] / 255
    if not 0 < coverage.mean() < 0.5:  # mostly opaque: it has paper of its own
        return "white"
    shade = (pixels[..., :3].mean(axis=2) * coverage).sum() / coverage.sum()
    return "white" if shade < 128 else "black"


def _draw_svg(content: bytes) -> bytes:
    """PNG bytes, 1024 px wide so that resampling has enough to average. Linked files are not read."""
    import cairosvg  # needs the extra `svg`; prepare_data has checked that it is installed

    try:
        png: bytes = cairosvg.svg2png(bytestring=content, output_width=1024, background_color="white")
    except Exception as error:  # the errors of an XML parser and of a renderer
        raise BadDrawingError(f"damaged: {error}") from error
    return png
