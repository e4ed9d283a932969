"""Makes an ONNX file of 8-bit integers, and measures on a run's test drawings what it loses."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tune_sketch.data import SketchData
from tune_sketch.data.splits import Splits
from tune_sketch.formatting import percent
from tune_sketch.statistics import paired_interval
from tune_sketch.storage.files import Row, write_csv

NUM_CALIBRATION = 200  # training drawings, from which the ranges of activations are taken
# Layers between them stay in integers; preprocessing, temperature and softmax stay in floats.
LAYERS = ("Conv", "Gemm", "MatMul", "MaxPool", "Concat", "Add", "Relu")
BATCH_SIZE = 64
COLUMNS = (
    *("num_drawings", "top1_float", "top1_int8", "num_gained", "num_lost", "difference", "low", "high"),
    *("top5_float", "top5_int8", "largest_probability_difference", "bytes_float", "bytes_int8"),
)


@dataclass(frozen=True)
class Loss:
    """The loss by integers on the test drawings. top1, top5: of the integers; difference: theirs less the floats'."""

    num_drawings: int
    top1: float
    top5: float
    row: Row

    def __str__(self) -> str:
        row = self.row
        return (
            f"int8: first guess right for {percent(row['top1_int8'])} of the {self.num_drawings:,} test drawings, "
            f"float {percent(row['top1_float'])}; difference {100 * row['difference']:+.1f} points "
            f"(95 % interval {100 * row['low']:+.1f} to {100 * row['high']:+.1f}); "
            f"{row['bytes_int8'] / 1e6:.1f} MB instead of {row['bytes_float'] / 1e6:.1f} MB"
        )


def quantise(float_file: Path, int8_file: Path, data: SketchData, splits: Splits, table: Path) -> Loss:
    """Write int8_file (onnxruntime's static quantisation, weights by channel), and measure it into `table`.

    Ranges come from training drawings. The test drawings decide nothing here: they only say what was lost.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    chosen = np.sort(np.random.default_rng(0).permutation(splits.train)[:NUM_CALIBRATION])
    drawings = np.asarray(data.images[chosen])

    class TrainingDrawings(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter(batches_of(drawings))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    with tempfile.TemporaryDirectory(dir=int8_file.parent) as scratch:
        prepared, written = Path(scratch) / "prepared.onnx", Path(scratch) / "int8.onnx"
        quant_pre_process(float_file, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            written,
            TrainingDrawings(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(LAYERS),
            per_channel=True,
            activation_type=QuantType.QInt8,  # with 8-bit weights the pair that no processor saturates
            weight_type=QuantType.QInt8,
        )
        loss = measure(float_file, written, np.asarray(data.images[splits.test]), data.labels[splits.test])
        written.replace(int8_file)
    write_csv(table, COLUMNS, [loss.row])
    return loss


def batches_of(drawings: np.ndarray) -> Iterator[np.ndarray]:
    """Drawings [N, px, px] in batches."""
    for start in range(0, len(drawings), BATCH_SIZE):
        yield drawings[start : start + BATCH_SIZE]


def measure(float_file: Path, int8_file: Path, drawings: np.ndarray, labels: np.ndarray) -> Loss:
    """The same drawings, uint8 [N, px, px], through both files."""
    floats, integers = (run_file(file, drawings) for file in (float_file, int8_file))
    hits = {name: hits_of(rows, labels) for name, rows in (("float", floats), ("int8", integers))}
    right, before = hits["int8"][0], hits["float"][0]
    gained, lost = int((right & ~before).sum()), int((before & ~right).sum())
    low, high = paired_interval(gained, lost, len(labels))
    row: Row = {"num_drawings": len(labels), "num_gained": gained, "num_lost": lost}
    row |= {"difference": (gained - lost) / len(labels), "low": low, "high": high}
    for name, (first, five) in hits.items():
        row |= {f"top1_{name}": float(first.mean()), f"top5_{name}": float(five.mean())}
    row["largest_probability_difference"] = float(np.abs(floats - integers).max())
    row |= {"bytes_float": float_file.stat().st_size, "bytes_int8": int8_file.stat().st_size}
    return Loss(len(labels), row["top1_int8"], row["top5_int8"], row)


def hits_of(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """bool [N] each: right at the first guess, right within five."""
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    return ranked[:, 0] == labels, (ranked == labels[:, None]).any(axis=1)


def run_file(file: Path, drawings: np.ndarray) -> np.ndarray:
    """float32 [N, num_classes]: the probabilities that an exported file gives."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["probabilities"], {"images": batch})[0] for batch in batches_of(drawings)])
