"""Describes a data set: counts, sizes and splits as text and CSV, samples of each class as a figure."""

import csv
import shutil
from pathlib import Path

import numpy as np

from tune_sketch.data.request import Problem, problem_lines
from tune_sketch.data.sketch_data import SketchData
from tune_sketch.data.splits import SPLIT_NAMES, Splits

MAX_PLOTTED_CLASSES = 130
MAX_NAMED_COPIES = 20
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
    if per_class.min() < per_class.max():
        lines.append(f"classes: {class_sizes_text(*largest_and_smallest(data))}")
    if data.has_photos:
        num_photos = [len(np.unique(data.groups[data.labels == label])) for label in range(len(counts))]
        lines.append(
            f"{len(np.unique(data.groups)):,} photos behind the drawings; per class: min {min(num_photos)}, "
            f"median {np.median(num_photos):g}, max {max(num_photos)}"
        )
    if data.copies:
        lines.append(copies_text(len(data.copies)))
    lines += near_copies_lines(data, splits)
    lines.append(
        f"splits by {split_by}, protocol {protocol}: "
        + ", ".join(f"{name} {n:,} ({n / totals[0]:.1%})" for name, n in zip(SPLIT_NAMES, totals[1:], strict=True))
    )
    if data.has_photos:
        lines.append(f"photos on both sides of a split: {count_shared_photos(data, splits):,}")
    lines += ["", _tabulate([f"{name} {n}" for name, n in zip(data.class_names, per_class, strict=True)]), ""]
    if data.skipped:
        lines.append(f"{len(data.skipped)} left out:")
        lines += [f"  {line}" for line in problem_lines([Problem(e["name"], e["reason"]) for e in data.skipped])]
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
            writer.writerow([name, *row.tolist()])


def plot_samples(path: Path, data: SketchData, *, seed: int = 0) -> None:
    """Some drawings of each class (at most 130 classes, evenly), dark on light, as PNG."""
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
        axis.set_title(data.class_names[label], fontsize=9, pad=2)
    title = f"{num_shown} of {num_classes} classes, {num_samples} of their drawings each"
    figure.suptitle(title + (" (synthetic, drawn by a program)" if data.synthetic else ""), fontsize=11)
    figure.savefig(path, dpi=100)


def copies_text(num_copies: int) -> str:
    """How many drawings are exact copies, and what becomes of them."""
    if num_copies == 1:
        return "1 drawing is an exact copy of another one: both are in the same split"
    return f"{num_copies:,} drawings are exact copies of others: copies are in the same split"


def near_copies_across(data: SketchData, splits: Splits) -> list[tuple[int, int, int]]:
    """The near copies that lie in another split than the drawing that they look like."""
    split_of = splits_of_drawings(data, splits)
    return [pair for pair in data.near_copies or () if split_of[pair[0]] != split_of[pair[1]]]


def splits_of_drawings(data: SketchData, splits: Splits) -> list[str]:
    """The name of each drawing's split."""
    names = [""] * len(data.names)
    for name in SPLIT_NAMES:
        for index in getattr(splits, name):
            names[index] = name
    return names


def near_copies_text(num_near: int | None, num_across: int | None) -> str:
    """How many drawings look like others, and how many of them like one in another split."""
    if num_near is None or num_across is None:
        return "near copies were not looked for: the drawings are synthetic, or their pictures too small"
    if not num_near:
        return "no near copies found"
    noun = "drawing is a near copy" if num_near == 1 else "drawings are near copies"
    text = f"{num_near:,} {noun} of another one (resized, moved or saved again)"
    return f"{text}, {num_across:,} of them in another split: the result may be too good" if num_across else text


def near_copies_lines(data: SketchData, splits: Splits) -> list[str]:
    """The near copies in words: their number, and the names of the first, those in two splits before the others."""
    across = near_copies_across(data, splits)
    lines = [near_copies_text(None if data.near_copies is None else len(data.near_copies), len(across))]
    ordered = [*across, *(pair for pair in data.near_copies or () if pair not in set(across))]
    split_of = splits_of_drawings(data, splits)
    for copy, original, _ in ordered[:MAX_NAMED_COPIES]:
        lines.append(
            f"  {data.names[copy]} ({split_of[copy]}) looks like {data.names[original]} ({split_of[original]})"
        )
    if len(ordered) > MAX_NAMED_COPIES:
        lines.append(f"  ... and {len(ordered) - MAX_NAMED_COPIES:,} more")
    return lines


def tabulate_near_copies(data: SketchData, splits: Splits) -> list[dict[str, str | int | bool]]:
    """One row for each near copy, those in two splits first."""
    split_of = splits_of_drawings(data, splits)
    rows: list[dict[str, str | int | bool]] = [
        {
            "image": data.names[copy],
            "looks_like": data.names[original],
            "class": data.class_names[data.labels[copy]],
            "other_class": data.class_names[data.labels[original]],
            "split": split_of[copy],
            "other_split": split_of[original],
            "across_splits": split_of[copy] != split_of[original],
            "bits_apart": bits,
        }
        for copy, original, bits in data.near_copies or ()
    ]
    return sorted(rows, key=lambda row: not row["across_splits"])


def write_near_copies(path: Path, data: SketchData, splits: Splits) -> None:
    """The rows of `tabulate_near_copies` as CSV."""
    rows = tabulate_near_copies(data, splits)
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["image", "looks_like"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


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
