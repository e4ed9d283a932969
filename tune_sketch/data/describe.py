"""Describes a data set: counts, sizes and splits as text and CSV, samples of each class as a figure."""

import csv
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tune_sketch.data.figure_text import figure_fonts, figure_text
from tune_sketch.data.names import to_cell
from tune_sketch.data.sketch_data import SketchData
from tune_sketch.data.splits import SPLIT_NAMES, Splits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PLOTTED_CLASSES = 130
_MANY_CLASSES = 40
_WIDTH_INCHES = 15.0


def count_classes(data: SketchData, splits: Splits) -> np.ndarray:
    """int64 [num_classes, 4]: all drawings of each class, then those in train, validation and test."""
    num_classes = len(data.class_names)
    parts = [np.bincount(data.labels[getattr(splits, name)], minlength=num_classes) for name in SPLIT_NAMES]
    return np.column_stack([sum(parts), *parts]).astype(np.int64)


def describe_data(data: SketchData, splits: Splits, split_by: str, protocol: str) -> str:
    """Several lines of text about the data and its splits."""
    counts = count_classes(data, splits)
    totals = counts.sum(axis=0)
    side_px = data.images.shape[1]
    lines = [f"{totals[0]:,} drawings in {len(counts)} classes, decoded to {side_px} x {side_px} px"]
    if data.synthetic:
        lines.append("Synthetic: a program drew them, so results on them say nothing about people's drawings.")
    if data.original_px:
        smallest, largest = data.original_px
        lines.append(f"original longer side: {f'{smallest} to {largest}' if smallest < largest else smallest} px")
        if side_px > smallest:
            lines.append(f"note: --image-px {side_px} is more than the smallest original has; it is scaled up")
    if data.num_light_on_dark:
        lines.append(f"{data.num_light_on_dark:,} files show light ink on dark paper; taken as ink all the same")
    if data.paper_by_class:
        lines.append(paper_warning(data.paper_by_class))
    per_class = counts[:, 0]
    lines.append(f"drawings per class: min {per_class.min()}, median {np.median(per_class):g}, max {per_class.max()}")
    if data.has_photos:
        num_photos = [len(np.unique(data.groups[data.labels == label])) for label in range(len(counts))]
        lines.append(
            f"{len(np.unique(data.groups)):,} photos behind the drawings; per class: min {min(num_photos)}, "
            f"median {np.median(num_photos):g}, max {max(num_photos)}"
        )
    if data.copies:
        lines.append(copies_text(len(data.copies)))
    lines.append(
        f"splits by {split_by}, protocol {protocol}: "
        + ", ".join(f"{name} {n:,} ({n / totals[0]:.1%})" for name, n in zip(SPLIT_NAMES, totals[1:], strict=True))
    )
    if data.has_photos:
        lines.append(f"photos on both sides of a split: {count_shared_photos(data, splits):,}")
    lines += ["", _tabulate([f"{name} {n}" for name, n in zip(data.class_names, per_class, strict=True)]), ""]
    if data.skipped:
        lines.append(f"{len(data.skipped)} left out:")
        lines += [f"  {entry['name']}: {entry['reason']}" for entry in data.skipped]
    else:
        lines.append("no bad drawings")
    return "\n".join(lines)


def count_shared_photos(data: SketchData, splits: Splits) -> int:
    """Number of photos with drawings in more than one split: a leak."""
    groups = [np.unique(data.groups[getattr(splits, name)]) for name in SPLIT_NAMES]
    return int((np.unique(np.concatenate(groups), return_counts=True)[1] > 1).sum())


def _tabulate(cells: list[str]) -> str:
    """Cells in as many columns as the terminal has room for, read downwards."""
    width = max(map(len, cells)) + 2
    num_columns = max(1, shutil.get_terminal_size((100, 24)).columns // width)
    num_rows = -(-len(cells) // num_columns)
    rows = ["".join(cell.ljust(width) for cell in cells[row::num_rows]).rstrip() for row in range(num_rows)]
    return "\n".join(rows)


def write_class_counts(path: Path, data: SketchData, splits: Splits) -> None:
    """One row per class as CSV: class, drawings, train, validation, test."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["class", "drawings", *SPLIT_NAMES])
        for name, row in zip(data.class_names, count_classes(data, splits), strict=True):
            writer.writerow([to_cell(name), *row.tolist()])


def plot_samples(path: Path, data: SketchData, *, seed: int = 0) -> None:
    """Some drawings of each class (at most 130 classes, evenly), dark on light, as PNG."""
    with figure_fonts(data.class_names):
        _draw_samples(data, seed).savefig(path, dpi=100)


def _draw_samples(data: SketchData, seed: int) -> "Figure":
    from matplotlib.figure import Figure  # takes seconds to import, which no other user of this package should pay

    num_classes = len(data.class_names)
    num_shown = min(num_classes, MAX_PLOTTED_CLASSES)
    num_samples, num_columns = (4, 5) if num_shown > _MANY_CLASSES else (8, 2)
    num_rows = -(-num_shown // num_columns)
    row_inches = _WIDTH_INCHES / num_columns / num_samples + 0.32
    figure = Figure(figsize=(_WIDTH_INCHES, num_rows * row_inches + 0.6), layout="constrained")
    axes = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    rng = np.random.default_rng(seed)
    shown = np.linspace(0, num_classes - 1, num_shown).round().astype(int)
    for axis, label in zip(axes, shown, strict=False):
        members = np.flatnonzero(data.labels == label)
        pictures = data.images[np.sort(rng.choice(members, min(num_samples, len(members)), replace=False))]
        strip = np.concatenate(255 - pictures if np.median(pictures) < 128 else pictures, axis=1)
        blank = ((0, 0), (0, num_samples * pictures.shape[2] - strip.shape[1]))
        strip = np.pad(strip, blank, constant_values=255)
        axis.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        axis.set_title(figure_text(data.class_names[label]), fontsize=9, pad=2)
    title = f"{num_shown} of {num_classes} classes, {num_samples} of their drawings each"
    figure.suptitle(title + (" (synthetic, drawn by a program)" if data.synthetic else ""), fontsize=11)
    return figure


def copies_text(num_copies: int) -> str:
    """How many drawings are exact copies, and what becomes of them."""
    if num_copies == 1:
        return "1 drawing is an exact copy of another one: both are in the same split"
    return f"{num_copies:,} drawings are exact copies of others: copies are in the same split"


def paper_warning(paper_by_class: dict[str, float]) -> str:
    """The warning about classes that differ in their paper."""
    darkest, lightest = (
        min(paper_by_class, key=paper_by_class.__getitem__),
        max(paper_by_class, key=paper_by_class.__getitem__),
    )
    return (
        f"the paper alone tells classes apart (grey {paper_by_class[darkest]:.0f} in {darkest}, "
        f"{paper_by_class[lightest]:.0f} in {lightest}): it is taken out of the pictures, but look whether the "
        "drawings were made alike"
    )
