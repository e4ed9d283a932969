"""Turns any picture into grey pixels, in this process, whatever its format does to it."""

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tune_sketch.data.pictures import FORMATS, register_heif
from tune_sketch.data.pixels import BadDrawingError

MAX_IMAGE_PIXELS = 64_000_000
STRIP_PIXELS = 2**20  # worked on at once, where floats are needed
MANY_FRAMES = "tune_sketch: many frames"  # in the `info` of a picture from a file that holds others too


def open_gray_here(content: bytes, is_svg: bool) -> Image.Image:
    """The whole picture in mode L, any size. Raises BadDrawingError, and MemoryError."""
    return _open_image(_draw_svg(content) if is_svg else content)


def _open_image(content: bytes) -> Image.Image:
    try:
        heif = ("HEIF",) if content[4:8] == b"ftyp" and register_heif() else ()
        with Image.open(io.BytesIO(content), formats=(*FORMATS, *heif)) as image:
            gray = convert_to_gray(image)
            # A phone's photo may hold a preview or depths beside the picture (MPO).
            gray.info[MANY_FRAMES] = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
            return gray
    except (BadDrawingError, MemoryError):
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
    if upright.mode.startswith(("I", "F")):  # deeper grey, which convert would clip
        return Image.fromarray(scale_deep(np.asarray(upright).astype(np.float64)))
    return upright.getchannel("L") if upright.mode == "LAB" else upright.convert("L")


def scale_deep(grey: np.ndarray) -> np.ndarray:
    """uint8 of grey values from 0 to 1, or of 8, 10, 12, 14 or 16 bits, whichever they need."""
    grey = np.nan_to_num(grey, posinf=0.0, neginf=0.0)
    highest = grey.max()
    if highest > 255:
        grey = grey * (255 / next((2**bits - 1 for bits in (10, 12, 14, 16) if highest < 2**bits), highest))
    elif 0 < highest <= 1:
        grey = grey * 255
    whole: np.ndarray = np.rint(grey.clip(0, 255)).astype(np.uint8)
    return whole


def find_paper(rgba: Image.Image) -> str:
    """The paper to put behind a transparent picture: what its ink can be seen on."""
    pixels = np.asarray(rgba)
    covered = shades = 0.0
    rows = max(1, STRIP_PIXELS // rgba.width)  # a strip at a time: as floats a large picture would take gigabytes
    for top in range(0, rgba.height, rows):
        strip = pixels[top : top + rows].astype(np.float64)
        covered += strip[..., 3].sum() / 255
        shades += (strip[..., :3].mean(axis=2) * strip[..., 3]).sum() / 255
    if not 0 < covered < 0.5 * rgba.width * rgba.height:  # mostly opaque: it has paper of its own
        return "white"
    return "white" if shades / covered < 128 else "black"


def _draw_svg(content: bytes) -> bytes:
    """PNG bytes, 1024 px wide so that resampling has enough to average. Linked files are not read."""
    import cairosvg  # needs the extra `svg`; prepare_data has checked that it is installed

    try:
        png: bytes = cairosvg.svg2png(bytestring=content, output_width=1024, background_color="white")
    except MemoryError:
        raise
    except Exception as error:  # the errors of an XML parser and of a renderer
        raise BadDrawingError(f"damaged: {error}") from error
    return png
