"""Doodles: drawings without a file, which a program draws from their class and number."""

from collections.abc import Iterator

from tune_sketch.data.doodles import GENERATOR_VERSION, render_doodle
from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format

DEFAULT_PER_CLASS = 60


class Doodles(Format):
    """Their content is what they depend on besides the seed."""

    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        for number in range(most or DEFAULT_PER_CLASS):
            yield Drawing(f"{file}/{number}", class_name, "doodles", path, number)

    def read(self, drawing: Drawing) -> bytes:
        return f"{GENERATOR_VERSION}/{drawing.class_name}/{drawing.position}".encode()

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        return Decoded(
            render_doodle(
                drawing.class_name,
                drawing.position,
                seed=settings.seed,
                image_px=settings.image_px,
                pen_width_px=settings.pen_width_px,
            )
        )
