"""How well the drawing page recognises people's strokes: those of the classes that Quick, Draw! shares with a network.

    python -m benchmarks.page_strokes RUN_OR_BEST [RUN_OR_BEST ...] [--quick]

Each drawing goes the way of a request of the page: strokes from 0 to 1 on the canvas, `classify_strokes`. Every second
drawing of a class is for choosing between ways to draw them, the others are for the figures that count. Networks that
were made by `python -m benchmarks.page_networks` have learned from none of the latter.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.machine import describe, result_path, write_result
from tune_sketch.inference.drawing_page import Strokes, classify_strokes, prepare_strokes
from tune_sketch.inference.model import Classifier, load_best, load_classifier
from tune_sketch.statistics import paired_interval, wilson_interval
from tune_sketch.storage.files import Row, write_csv

QUICKDRAW = Path(__file__).parents[2] / "shared" / "data" / "quickdraw-344x25-simplified"
CANVAS = 255  # largest coordinate of simplified drawings
HALVES = ("choosing", "reporting")
PLAIN = "as before: one size, dark lines"
COLUMNS = (
    *("network", "way", "half", "num_drawings", "num_classes", "top1", "top1_low", "top1_high"),
    *("top5", "top5_low", "top5_high", "num_gained", "num_lost", "gain_low", "gain_high"),
    *("cross_entropy", "mean_probability"),
)
ABOUT = (
    "One training of each network: intervals are of the drawings alone (Wilson; for a gain, paired), and say nothing "
    "of other seeds. Strokes of Quick, Draw! are simplified: polylines without the curve between their points, which "
    "a hand's movement on the page has. Dense strokes are the same lines with a point at every two-hundredth of the "
    "canvas, as the page sends them: what cutting corners does to simplified strokes alone is of these data. A network "
    "that has learned from the half for choosing knows those drawings: its figures there are too good. Stated "
    "probability: of the best class, to be compared with top-1."
)
Classify = Callable[[Classifier, list[Strokes]], np.ndarray]  # float [N, num_classes]


class Drawings(NamedTuple):
    """Drawings of the classes that a network knows. labels: int [N]; is_reporting: bool [N]."""

    strokes: list[Strokes]
    labels: np.ndarray
    is_reporting: np.ndarray


def read_drawings(class_names: list[str], quick: bool = False) -> Drawings:
    """Quick, Draw!'s drawings of the classes that are among class_names, as the page sends strokes."""
    labels_of = {plain_name(name): label for label, name in enumerate(class_names)}
    strokes, labels, is_reporting = [], [], []
    for path in sorted(QUICKDRAW.glob("*.ndjson")):
        if plain_name(path.stem) not in labels_of:
            continue
        for number, line in enumerate(path.read_text().splitlines()[: 4 if quick else None]):
            strokes.append([np.array(stroke[:2], np.float64).T / CANVAS for stroke in json.loads(line)["drawing"]])
            labels.append(labels_of[plain_name(path.stem)])
            is_reporting.append(number % 2 == 1)
    if not strokes:
        sys.exit(f"error: {QUICKDRAW} holds no class that the network knows")
    return Drawings(strokes, np.array(labels), np.array(is_reporting))


def plain_name(name: str) -> str:
    """A class's name, however data sets write it."""
    return name.replace("_", " ").lower()


def as_before(model: Classifier) -> Classifier:
    """The network as the page showed drawings to it before: one size, lines as dark as a pen's of the same width."""
    return replace(model, extent_range=(), ink_strength=1.0)


def changed(**changes: float) -> Classify:
    """As before, but for some field of the network: a factor of its width or size."""
    return lambda model, drawings: classify_strokes(
        replace(as_before(model), **{name: factor * getattr(model, name) for name, factor in changes.items()}), drawings
    )


def smoothed(model: Classifier, drawings: list[Strokes]) -> np.ndarray:
    """As before, of strokes with round corners: simplified ones have lost the curve between their points."""
    return classify_strokes(as_before(model), [[cut_corners(stroke) for stroke in strokes] for strokes in drawings])


def cut_corners(points: np.ndarray, times: int = 2) -> np.ndarray:
    """A stroke [num_points, 2] with its corners cut (Chaikin 1974), its ends kept."""
    for _ in range(times if len(points) > 2 else 0):
        first, second = 0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]
        inner = np.stack([first, second], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], inner, points[-1:]])
    return points


def dense(points: np.ndarray, step: float = 1 / 200) -> np.ndarray:
    """A stroke with as many points as a hand's movement has on the page, all of them on the same line."""
    lengths = np.hypot(*np.diff(points, axis=0).T)
    distances = np.concatenate([[0.0], np.cumsum(lengths)])
    wanted = np.linspace(0, distances[-1], 1 + max(1, round(distances[-1] / step)))
    return np.stack([np.interp(wanted, distances, column) for column in points.T], axis=1)


def smoothed_dense(model: Classifier, drawings: list[Strokes]) -> np.ndarray:
    """As before, of strokes with round corners, that were as dense as the page's."""
    return smoothed(model, [[dense(stroke) for stroke in strokes] for strokes in drawings])


def views(change: Callable[[np.ndarray], list[np.ndarray]]) -> Classify:
    """As before, the mean over several pictures that are made of each square [px, px]."""

    def classify(model: Classifier, drawings: list[Strokes]) -> np.ndarray:
        plain = as_before(model)
        squares = [change(prepare_strokes(plain, strokes, model.extent_fraction)) for strokes in drawings]
        probabilities = model.compute_probabilities(np.concatenate(squares))
        mean: np.ndarray = probabilities.reshape(len(squares), len(squares[0]), -1).mean(axis=1)
        return mean

    return classify


def mirrored(square: np.ndarray) -> list[np.ndarray]:
    return [square, square[:, ::-1]]


def shifted(square: np.ndarray) -> list[np.ndarray]:
    """In the middle, and a sixteenth of the side to each side."""
    by = max(1, len(square) // 16)
    return [square, *(np.roll(square, shift, axis) for shift in (-by, by) for axis in (0, 1))]


WAYS: dict[str, Classify] = {
    PLAIN: lambda model, drawings: classify_strokes(as_before(model), drawings),
    "lines 0.6 times as wide": changed(pen_width_fraction=0.6),
    "lines 0.8 times as wide": changed(pen_width_fraction=0.8),
    "lines 1.4 times as wide": changed(pen_width_fraction=1.4),
    "lines as dark as in training": lambda m, d: classify_strokes(replace(m, extent_range=()), d),
    "corners cut": smoothed,
    "corners cut, of dense strokes": smoothed_dense,
    "0.8 times as large": changed(extent_fraction=0.8),
    "1.2 times as large": changed(extent_fraction=1.2),
    "mean of 5 positions": views(shifted),
    "mean with the mirror image": views(mirrored),
    "mean of 3 sizes of training": lambda m, d: classify_strokes(replace(m, ink_strength=1.0), d),
    "the page: dark as in training, 3 sizes": classify_strokes,
}


def measure(name: str, model: Classifier, drawings: Drawings) -> list[Row]:
    """A row for each way and half."""
    rows: list[Row] = []
    plain: dict[str, np.ndarray] = {}
    for way, classify in WAYS.items():
        probabilities = classify(model, drawings.strokes)
        ranked = np.argsort(-probabilities, axis=1, kind="stable")
        for half, own in zip(HALVES, (~drawings.is_reporting, drawings.is_reporting), strict=True):
            labels = drawings.labels[own]
            right = ranked[own, 0] == labels
            within_five = (ranked[own, :5] == labels[:, None]).any(axis=1)
            of_label = probabilities[own, :][np.arange(len(labels)), labels]
            row: Row = {"network": name, "way": way, "half": half, "num_drawings": len(labels)}
            row |= {"num_classes": len(set(labels)), "top1": right.mean(), "top5": within_five.mean()}
            row["top1_low"], row["top1_high"] = wilson_interval(float(right.mean()), len(labels))
            row["top5_low"], row["top5_high"] = wilson_interval(float(within_five.mean()), len(labels))
            row["cross_entropy"] = float(-np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean())
            row["mean_probability"] = float(probabilities[own].max(axis=1).mean())
            before = plain.setdefault(half, right)
            row["num_gained"], row["num_lost"] = int((right & ~before).sum()), int((before & ~right).sum())
            row["gain_low"], row["gain_high"] = paired_interval(row["num_gained"], row["num_lost"], len(labels))
            rows.append(row)
        print({n: rows[-1][n] for n in ("network", "way", "half", "top1", "top5", "cross_entropy")}, flush=True)
    return rows


def tables(rows: list[Row]) -> list[str]:
    """Tables of all measurements, of the half that counts, and of the half for choosing."""
    lines = [ABOUT]
    for half, title in zip(reversed(HALVES), ("that chose nothing", "for choosing between ways to draw"), strict=True):
        counts = {(row["num_drawings"], row["num_classes"]) for row in rows if row["half"] == half}
        sizes = "; ".join(f"{number:,} drawings of {classes} classes" for number, classes in sorted(counts))
        lines += ["", f"The half {title}: {sizes}", "", *table(rows, half)]
    return lines


def table(rows: list[Row], half: str) -> list[str]:
    """One line for each network and way."""
    lines = [
        "| network | way to draw | top-1 % [95 %] | top-5 % [95 %] | top-1 gain, points [95 %, paired] "
        "| cross-entropy, nats | mean stated probability % |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["half"] == half:
            gain = 100 * (row["num_gained"] - row["num_lost"]) / row["num_drawings"]
            gained = f"{gain:+.1f} [{100 * row['gain_low']:+.1f}, {100 * row['gain_high']:+.1f}]"
            tops = [
                f"{100 * row[top]:.1f} [{100 * row[f'{top}_low']:.1f}, {100 * row[f'{top}_high']:.1f}]"
                for top in ("top1", "top5")
            ]
            cells = [row["network"], row["way"], *tops, "" if row["way"] == PLAIN else gained]
            cells += [f"{row['cross_entropy']:.2f}", f"{100 * row['mean_probability']:.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def open_network(path: Path) -> Classifier:
    """The network of a run, or of a folder such as its best/."""
    return load_best(path) if (path / "model.json").is_file() else load_classifier(path)


def main() -> int:
    """Measure each network and write; 1 where the page recognises fewer than it did before, beyond chance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "networks", type=Path, nargs="+", metavar="RUN_OR_BEST", help="a run, or a folder like its best/"
    )
    parser.add_argument("--quick", action="store_true", help="four drawings of each class; writes no file")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for path in arguments.networks:
        model, resolved = open_network(path), path.resolve()
        name = resolved.parent.name if resolved.name == "best" else resolved.name
        rows += measure(name, model, read_drawings(model.class_names, arguments.quick))
    lines = tables(rows)
    print("\n".join(lines))
    if not arguments.quick:
        write_csv(result_path("page_strokes", ".csv"), COLUMNS, rows)
        write_result("page_strokes", "People's strokes on the drawing page", lines)
    last = [row for row in rows if row["way"] == list(WAYS)[-1] and row["half"] == HALVES[1]]
    return int(any(row["gain_high"] < 0 for row in last))


if __name__ == "__main__":
    print(describe(), flush=True)
    sys.exit(main())
