"""Names the formats, and reads and decodes a drawing of any of them; runs in workers too."""

import hashlib
from dataclasses import replace

from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.formats.binary import Binary
from tune_sketch.data.formats.bitmaps import Bitmaps
from tune_sketch.data.formats.doodles import Doodles
from tune_sketch.data.formats.images import Images
from tune_sketch.data.formats.kaggle import Kaggle
from tune_sketch.data.formats.sketch_rnn import SketchRnn
from tune_sketch.data.formats.strokes import Strokes
from tune_sketch.data.pixels import BadDrawingError

DRAWING_FORMATS: dict[str, Format] = {
    "images": Images(),
    "strokes": Strokes(),
    "bitmaps": Bitmaps(),
    "sketch-rnn": SketchRnn(),
    "kaggle": Kaggle(),
    "binary": Binary(),
    "doodles": Doodles(),
}


CHANGED = "changed while the drawings were read"
OF_NOTHING = hashlib.sha256(b"").digest()


def read_bytes(drawing: Drawing) -> bytes:
    """The content of one drawing as it is stored. Raises OSError."""
    return DRAWING_FORMATS[drawing.format].read(drawing)


def read_content(drawing: Drawing) -> bytes:
    """`read_bytes`, with BadDrawingError for a file that is unreadable or empty."""
    try:
        content = read_bytes(drawing)
    except OSError as error:
        raise BadDrawingError(f"unreadable: {error.strerror or error}") from error
    if not content:
        raise BadDrawingError("zero bytes")
    return content


def decode_drawing(drawing: Drawing, settings: DecodeSettings, digest: bytes | None = None) -> Decoded:
    """The drawing as it is trained on. Raises BadDrawingError.

    digest: SHA-256 of the content that is expected, where it was read before.
    """
    try:
        content = read_content(drawing)
    except BadDrawingError as error:
        if digest in (None, OF_NOTHING):
            raise
        raise BadDrawingError(f"{error} ({CHANGED})") from error
    if digest is not None and hashlib.sha256(content).digest() != digest:
        raise BadDrawingError(CHANGED)
    decoded = DRAWING_FORMATS[drawing.format].decode(drawing, content, settings)
    return decoded if settings.invert else replace(decoded, square=255 - decoded.square)
