"""Print and plot what is in a data set: counts, sizes, splits, samples of each class (the study's Fig. 1)."""

import csv
import shutil
from pathlib import Path

import numpy as np

from tune_sketch.data.sketch_data import SketchData
from tune_sketch.data.splits import SPLIT_NAMES, Splits

MAX_PLOTTED_CLASSES = 130
_MANY_CLASSES = 40


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
        lines.append("A stand-in: a program drew them, so results on them say nothing about people's drawings.")
    if data.original_px:
        smallest, largest = data.original_px
        lines.append(f"original longer side: {f'{smallest} to {largest}' if smallest < largest else smallest} px")
        if side_px > smallest:
            lines.append(f"note: --image-px {side_px} is more than the smallest original has; it is scaled up")
    if data.light_on_dark:
        lines.append("the files show light ink on dark paper; taken as ink all the same")
    per_class = counts[:, 0]
    lines.append(f"drawings per class: min {per_class.min()}, median {np.median(per_class):g}, max {per_class.max()}")
    if data.has_photos:
        num_photos = [len(np.unique(data.groups[data.labels == label])) for label in range(len(counts))]
        lines.append(
            f"{len(np.unique(data.groups)):,} photos behind the drawings; per class: min {min(num_photos)}, "
            f"median {np.median(num_photos):g}, max {max(num_photos)}"
        )
    if data.num_doubles_within_class:
        lines.append(f"note: {data.num_doubles_within_class:,} drawings are copies of another one of their class")
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
    """The numbers behind the label distribution as CSV: class, drawings, train, validation, test."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["class", "drawings", *SPLIT_NAMES])
        for name, row in zip(data.class_names, count_classes(data, splits), strict=True):
            writer.writerow([name, *row.tolist()])


def plot_samples(path: Path, data: SketchData, *, seed: int = 0) -> None:
    """Some drawings of each class, dark on light, as PNG (the study's Figs. 1 and 2)."""
    from matplotlib.figure import Figure  # takes seconds to import, which no other user of this package should pay

    num_classes = len(data.class_names)
    num_shown = min(num_classes, MAX_PLOTTED_CLASSES)
    shown = np.unique(np.linspace(0, num_classes - 1, num_shown).round().astype(int))
    num_samples, num_columns = (4, 5) if num_shown > _MANY_CLASSES else (8, 2)
    num_rows = -(-num_shown // num_columns)
    width = 15.0
    row_height = width / num_columns / num_samples + 0.32
    figure = Figure(figsize=(width, num_rows * row_height + 0.6), layout="constrained")
    rng = np.random.default_rng(seed)
    axes = np.atleast_2d(figure.subplots(num_rows, num_columns, squeeze=False)).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, label in zip(axes, shown, strict=False):
        members = np.flatnonzero(data.labels == label)
        chosen = rng.choice(members, min(num_samples, len(members)), replace=False)
        ink = data.images[np.sort(chosen)]
        paper_is_dark = bool(np.median(ink) < 128)
        strip = np.full((ink.shape[1], num_samples * ink.shape[2]), 255, np.uint8)
        strip[:, : len(ink) * ink.shape[2]] = np.concatenate(255 - ink if paper_is_dark else ink, axis=1)
        axis.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        axis.set_title(data.class_names[label], fontsize=9, pad=2)
    title = f"{num_shown} of {num_classes} classes, {num_samples} of their drawings each"
    figure.suptitle(title + (" (stand-in, drawn by a program)" if data.synthetic else ""), fontsize=11)
    figure.savefig(path, dpi=100)


def plot_label_distribution(path: Path, data: SketchData, splits: Splits) -> None:
    """Drawings per class, stacked by split, as PNG."""
    from matplotlib.figure import Figure

    counts = count_classes(data, splits)
    num_classes = len(counts)
    figure = Figure(figsize=(min(max(6.0, 0.16 * num_classes + 2), 60.0), 4.2), layout="constrained")
    axis = figure.subplots()
    below = np.zeros(num_classes)
    colors = ("#4477aa", "#ccbb44", "#ee6677")  # told apart by colour-blind readers too (Tol's bright scheme)
    for name, color, heights in zip(SPLIT_NAMES, colors, counts.T[1:], strict=True):
        axis.bar(np.arange(num_classes), heights, bottom=below, width=0.85, label=name, color=color)
        below += heights
    axis.set_xticks(np.arange(num_classes), data.class_names, rotation=90, fontsize=8 if num_classes < 150 else 6)
    axis.set_xlim(-0.6, num_classes - 0.4)
    axis.set_ylim(0, float(below.max()) * 1.18)
    axis.set_ylabel("drawings")
    axis.set_title(f"{counts[:, 0].sum():,} drawings in {num_classes} classes")
    axis.legend(ncols=3, loc="upper right", fontsize=8)
    figure.savefig(path, dpi=110)
