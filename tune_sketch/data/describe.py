"""Describes a data set: counts, sizes and splits as text and CSV, samples of each class as a figure."""

import csv
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tune_sketch.data.describe_copies import NAMED_IN_FULL, near_copies_lines
from tune_sketch.data.figure_text import figure_fonts, figure_text
from tune_sketch.data.names import to_cell
from tune_sketch.data.request import Problem, problem_lines
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


def largest_and_smallest(data: SketchData) -> tuple[tuple[str, int], tuple[str, int]]:
    """(name, number of drawings) of the largest class, and of the smallest."""
    counts = np.bincount(data.labels, minlength=len(data.class_names))
    largest, smallest = counts.argmax(), counts.argmin()
    return (data.class_names[largest], int(counts[largest])), (data.class_names[smallest], int(counts[smallest]))


def class_sizes_text(largest: tuple[str, int], smallest: tuple[str, int]) -> str:
    """The largest and the smallest class, and how much they differ."""
    if largest[1] == smallest[1]:
        return f"{largest[1]:,} drawings in each class"
    return (
        f"largest {largest[0]} ({largest[1]:,} drawings), smallest {smallest[0]} ({smallest[1]:,}), "
        f"a ratio of {largest[1] / smallest[1]:.3g}"
    )


def describe_data(data: SketchData, splits: Splits) -> str:
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
    if data.num_first_of_many:
        lines.append(frames_text(data.num_first_of_many))
    if data.paper_by_class:
        lines.append(paper_warning(data.paper_by_class))
    per_class = counts[:, 0]
    lines.append(f"drawings per class: min {per_class.min()}, median {np.median(per_class):g}, max {per_class.max()}")
    if per_class.min() < per_class.max():
        lines.append(f"classes: {class_sizes_text(*largest_and_smallest(data))}")
    if data.has_groups:
        num_photos = [len(np.unique(data.groups[data.labels == label])) for label in range(len(counts))]
        lines.append(
            f"{len(np.unique(data.groups)):,} {data.group_noun} behind the drawings; per class: min {min(num_photos)}, "
            f"median {np.median(num_photos):g}, max {max(num_photos)}"
        )
    if data.group_names is not None:
        lines.append(group_text(data))
    if data.copies:
        lines.append(copies_text(len(data.copies), len(find_copies_across(data, splits))))
    lines += near_copies_lines(data, splits, NAMED_IN_FULL)
    lines.append(f"split: {splits.origin}")
    lines.append(
        "splits: "
        + ", ".join(f"{name} {n:,} ({n / totals[0]:.1%})" for name, n in zip(SPLIT_NAMES, totals[1:], strict=True))
    )
    if data.has_groups:
        lines.append(f"{data.group_noun} on both sides of a split: {count_shared_groups(data, splits):,}")
    lines += [f"WARNING: {warning}" for warning in split_warnings(data, splits)]
    lines += ["", _tabulate([f"{name} {n}" for name, n in zip(data.class_names, per_class, strict=True)]), ""]
    if data.skipped:
        lines.append(f"{len(data.skipped)} left out:")
        lines += [f"  {line}" for line in problem_lines([Problem(e["name"], e["reason"]) for e in data.skipped])]
    else:
        lines.append("no bad drawings")
    return "\n".join(lines)


def count_shared_groups(data: SketchData, splits: Splits) -> int:
    """Number of photos, or groups, with drawings in more than one split: a leak."""
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


def copies_text(number: int, num_across: int) -> str:
    """How many drawings are exact copies, and what becomes of them."""
    copies = "1 drawing is an exact copy of another one"
    if number > 1:
        copies = f"{number:,} drawings are exact copies of others"
    if not num_across:
        return f"{copies}: {'copies are' if number > 1 else 'both are'} in the same split"
    return f"{copies}; {num_across:,} of them in another split than the original"


def find_copies_across(data: SketchData, splits: Splits) -> list[tuple[int, int]]:
    """(copy, first drawing with the same content) of each copy in another split, which only a given split has."""
    split_of = splits.of_each(len(data.labels))
    return [(copy, first) for copy, first in data.copies.items() if split_of[copy] != split_of[first]]


def group_text(data: SketchData) -> str:
    """Where the groups come from, and how many drawings are in none."""
    assert data.group_names is not None
    names = [name for name in data.group_names if name]
    alone = len(data.group_names) - len(names)
    text = f"{len(set(names)):,} groups by {data.group_origin}"
    return text + (f"; {alone:,} drawings are in none and stand for themselves" if alone else "")


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def split_warnings(data: SketchData, splits: Splits) -> list[str]:
    """Reasons to mistrust the division, which only one that the data bring along or the user asks for has."""
    warnings = []
    across = find_copies_across(data, splits)
    if across:
        shown = [f"{data.names[copy]} = {data.names[first]}" for copy, first in across[:NAMED_IN_FULL]]
        warnings.append(
            f"{_count(len(across), 'exact copy is', 'exact copies are')} in another split than the original, so that "
            "the result is too good: " + ", ".join(shown) + (", ..." if len(across) > NAMED_IN_FULL else "")
        )
    if data.has_groups and (num_shared := count_shared_groups(data, splits)):
        shared = _count(num_shared, f"{data.group_noun[:-1]} has", f"{data.group_noun} have")
        warnings.append(f"{shared} drawings in several splits ({splits.origin}): too good a result")
    for name in ("validation", "test"):
        counts = np.bincount(data.labels[getattr(splits, name)], minlength=len(data.class_names))
        lacking = [data.class_names[label] for label in np.flatnonzero(counts == 0)]
        if lacking:
            some = ", ".join(lacking[:NAMED_IN_FULL]) + (", ..." if len(lacking) > NAMED_IN_FULL else "")
            warnings.append(f"{_count(len(lacking), 'class has', 'classes have')} no drawings in {name}: {some}")
    return warnings


def frames_text(number: int) -> str:
    """How many files hold more than one picture."""
    files = "1 file holds several pictures" if number == 1 else f"{number:,} files hold several pictures"
    return f"{files} (frames or pages): only the first is used"


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
