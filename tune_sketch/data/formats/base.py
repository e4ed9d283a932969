"""A drawing that is not yet read, and what every format can do with it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_PER_FILE = 2_000_000  # drawings; the largest file of Quick, Draw! has 345 thousand


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing, not yet read.

    format: its name in `DRAWING_FORMATS`.
    position: 0 for an image file; the byte at which the line begins; the row of a bitmap; the doodle's number.
    split: "train", "validation" or "test" where the data say so. group: what keeps it together with others.
    """

    name: str
    class_name: str
    format: str
    path: str
    position: int
    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class DecodeSettings:
    """Everything besides the drawing that its pixels depend on."""

    image_px: int
    invert: bool
    pen_width_px: float | None
    seed: int


@dataclass(frozen=True)
class Decoded:
    """One drawing as it is trained on, and what its file was like."""

    square: np.ndarray  # uint8 [image_px, image_px]; ink 255 on 0, or 0 on 255 when not inverted
    side_px: int = 0  # the original's longer side, 0 where there is none
    paper: int | None = None  # the original's paper, 0 to 255, None where there is none
    is_first_of_many: bool = False  # of the frames or pages in its file


class Format(ABC):
    """One way in which drawings lie in files.

    suffix: of files that hold all drawings of one class; empty for a format whose files hold one each.
    """

    suffix = ""

    def is_class_file(self, path: Path) -> bool:
        """Whether a file, by its name, holds all drawings of one class in this format."""
        return self.suffix != "" and path.suffix.lower() == self.suffix

    def word_of(self, path: Path) -> str:
        """The class that a file of one class itself names, by its first drawing; empty where it names none."""
        return ""

    @abstractmethod
    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        """The drawings in a file, at most `most`. Raises OSError, and ValueError for a file of another kind."""

    @abstractmethod
    def read(self, drawing: Drawing) -> bytes:
        """The content of one drawing as it is stored. Raises OSError."""

    @abstractmethod
    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        """The drawing in the content, ink 255 on 0. Raises BadDrawingError."""
