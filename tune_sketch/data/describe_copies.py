"""Says which drawings look like others, in words and as CSV, and which of them a split has torn apart."""

import csv
from pathlib import Path

from tune_sketch.data.sketch_data import SketchData
from tune_sketch.data.splits import Splits

NAMED_IN_FULL = 20  # drawings or classes in a warning, the data command and the report
NAMED_IN_PLAN = 3


def near_copies_across(data: SketchData, splits: Splits) -> list[tuple[int, int, int]]:
    """The near copies that lie in another split than the drawing that they look like."""
    split_of = splits.of_each(len(data.names))
    return [pair for pair in data.near_copies or () if split_of[pair[0]] != split_of[pair[1]]]


def near_copies_text(num_near: int | None, num_across: int | None) -> str:
    """How many drawings look like others, and how many of them like one in another split."""
    if num_near is None or num_across is None:
        return "near copies were not looked for: the drawings are synthetic, or their pictures too small"
    if not num_near:
        return "no near copies found"
    looks = "drawing looks like a copy of another one" if num_near == 1 else "drawings look like copies of others"
    text = f"{num_near:,} {looks} (resized, moved or saved again)"
    return f"{text}, {num_across:,} of them in another split: the result may be too good" if num_across else text


def near_copies_lines(data: SketchData, splits: Splits, most_named: int) -> list[str]:
    """The near copies in words: their number, and the names of the first, those in two splits before the others."""
    across = near_copies_across(data, splits)
    lines = [near_copies_text(None if data.near_copies is None else len(data.near_copies), len(across))]
    split_of = splits.of_each(len(data.names))
    ordered = sorted(data.near_copies or (), key=lambda pair: split_of[pair[0]] == split_of[pair[1]])
    for copy, original, _ in ordered[:most_named]:
        lines.append(
            f"  {data.names[copy]} ({split_of[copy]}) looks like {data.names[original]} ({split_of[original]})"
        )
    if len(ordered) > most_named:
        lines.append(f"  ... and {len(ordered) - most_named:,} more")
    return lines


def tabulate_near_copies(data: SketchData, splits: Splits) -> list[dict[str, str | int | bool]]:
    """One row for each near copy, those in two splits first."""
    split_of = splits.of_each(len(data.names))
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
