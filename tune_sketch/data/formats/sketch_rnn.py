"""Drawings of sketch-rnn: one .npz file per class, its arrays train, valid and test of offsets of the pen."""

import pickle
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import IO, Any

import numpy as np

from tune_sketch.data.formats.base import Decoded, DecodeSettings, Drawing, Format
from tune_sketch.data.formats.strokes import check_points
from tune_sketch.data.pixels import BadDrawingError
from tune_sketch.data.strokes import render_strokes

PARTS = {"train": "train", "valid": "validation", "test": "test"}  # array -> split
MAX_ARRAY_BYTES = 2**30  # of one array, unpacked; those of the published files stay under 100 MB
NUMBERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")  # types of a drawing's numbers


class SketchRnn(Format):
    """Each drawing is [num_points, 3]: the pen's offset in x and y, and 1 where it is lifted after the point.

    The arrays are the split that the data bring along.
    The arrays are pickled objects. They are read without running anything that a pickle could ask for.
    """

    suffix = ".npz"

    def list(self, file: str, path: str, class_name: str, most: int | None) -> Iterator[Drawing]:
        entries = ((part, row) for part, rows in read_parts(path).items() for row in range(len(rows)))
        for position, (part, row) in islice(enumerate(entries), most):
            yield Drawing(f"{file}:{part}:{row + 1}", class_name, "sketch-rnn", path, position, PARTS[part])

    def read(self, drawing: Drawing) -> bytes:
        position = drawing.position
        for rows in read_parts(drawing.path).values():
            if position < len(rows):
                return rows[position].tobytes()
            position -= len(rows)
        raise OSError("the file has changed meanwhile")

    def decode(self, drawing: Drawing, content: bytes, settings: DecodeSettings) -> Decoded:
        points = join_offsets(np.frombuffer(content).reshape(-1, 3))
        return Decoded(render_strokes(points, settings.image_px, settings.pen_width_px))


def join_offsets(offsets: np.ndarray) -> list[np.ndarray]:
    """Strokes, each float [num_points, 2], of float [num_points, 3]. Raises BadDrawingError."""
    if not np.isfinite(offsets).all():
        raise BadDrawingError("not a sketch-rnn drawing: a number is not finite")
    with np.errstate(over="ignore"):  # told below
        positions = np.cumsum(offsets[:, :2], axis=0)
    return check_points(np.split(positions, np.flatnonzero(offsets[:, 2] == 1) + 1))


@lru_cache(maxsize=4)
def read_parts(path: str) -> dict[str, list[np.ndarray]]:
    """{array: its drawings, each float64 [num_points, 3]} of a file. Raises OSError, ValueError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            parts = {part: members[part] for part in PARTS if part in members}
            if not parts:
                raise ValueError(f"has none of the arrays {', '.join(PARTS)}, but {', '.join(members) or 'none'}")
            found = {}
            for part, info in parts.items():
                if info.file_size > MAX_ARRAY_BYTES:
                    raise ValueError(f"its array {part} has {info.file_size:,} bytes, more than {MAX_ARRAY_BYTES:,}")
                with archive.open(info) as file:
                    found[part] = [check_offsets(drawing) for drawing in read_array(file, info.file_size)]
            return found
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib, numpy's headers and pickle raise almost anything on damaged bytes
        known = isinstance(error, ValueError)
        raise ValueError(f"{error}" if known else f"damaged: {type(error).__name__}: {error}") from error


def check_offsets(drawing: object) -> np.ndarray:
    """A drawing as float64 [num_points, 3]. Raises ValueError."""
    if not isinstance(drawing, np.ndarray) or drawing.ndim != 2 or drawing.shape[1] != 3:
        shape = list(drawing.shape) if isinstance(drawing, np.ndarray) else type(drawing).__name__
        raise ValueError(f"each drawing must be an array [num_points, 3], got {shape}")
    return drawing.astype(np.float64)


def read_array(file: IO[bytes], num_bytes: int) -> list[Any]:
    """The rows of an array as np.save writes it, of objects or of numbers."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        rows = PlainUnpickler(file, encoding="latin1").load()
        values = rows.values if isinstance(rows, PlainArray) else None
        if not isinstance(values, list):
            raise ValueError("is no array of drawings")
        return [row.values if isinstance(row, PlainArray) else row for row in values]
    if dtype.str[1:] not in NUMBERS or len(shape) != 3 or dtype.itemsize * int(np.prod(shape, dtype=float)) > num_bytes:
        raise ValueError(f"must hold drawings [num_points, 3], holds {dtype} {list(shape)}")
    return list(np.frombuffer(file.read(), dtype, count=int(np.prod(shape))).reshape(shape))


class PlainUnpickler(pickle.Unpickler):
    """Knows arrays of numbers and of arrays, by plain classes in the place of NumPy's; refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray"):
            if name == "_reconstruct":
                return PlainArray
            if name in ("ndarray", "dtype"):
                return PlainType
        if (module, name) == ("_codecs", "encode"):  # bytes, as protocol 2 writes them
            return encode_latin1
        raise ValueError(f"refused: it asks for {module}.{name}, which no drawing needs")

    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("refused: it refers to something outside")


def encode_latin1(text: str, encoding: str) -> bytes:
    """The bytes of a text in which each character stands for one."""
    if encoding != "latin1":
        raise ValueError(f"refused: bytes in {encoding}")
    return text.encode("latin1")


class PlainType:
    """The type of an array's elements, or of arrays: as much of it as drawings need."""

    def __init__(self, kind: object = "", *_: object) -> None:
        self.kind, self.order = kind, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class PlainArray:
    """An array: `values` is a NumPy array of numbers, or the list of an array of objects."""

    def __init__(self, *_: object) -> None:
        self.values: np.ndarray | list[Any] = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, content = state
        if isinstance(content, list):
            self.values = content
            return
        if kind.kind not in NUMBERS or kind.order not in ("<", ">", "|", "="):
            raise ValueError(f"an array holds {kind.kind!r:.20}, no numbers")
        content = content.encode("latin1") if isinstance(content, str) else content  # as Python 2 wrote it
        numbers = np.frombuffer(content, np.dtype(f"{kind.order}{kind.kind}"))
        self.values = numbers.reshape(shape, order="F" if is_fortran else "C")
