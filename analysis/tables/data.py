"""The data set in a few facts: its classes, its copies, and the near copies that a split may have torn apart."""

from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.data.describe import class_sizes_text, copies_text
from tune_sketch.data.describe_copies import near_copies_text, tabulate_near_copies


def tabulate_data(run: RunData) -> Rows:
    """One row per fact. A run of an earlier version has fewer."""
    data = run.facts.data
    facts: dict[str, str] = {
        "drawings": str(data.num_images),
        "splits": f"{data.num_train} train, {data.num_validation} validation, {data.num_test} test",
        "left out": str(len(data.skipped)),
    }
    if data.split_origin:
        facts["split"] = data.split_origin
    if data.largest_class is not None and data.smallest_class is not None:
        largest, smallest = data.largest_class, data.smallest_class
        facts["class sizes"] = class_sizes_text(
            (largest.name, largest.num_drawings), (smallest.name, smallest.num_drawings)
        )
        facts["exact copies"] = copies_text(data.num_copies, data.num_copies_across) if data.num_copies else "none"
        facts["near copies"] = near_copies_text(data.num_near_copies, data.num_near_copies_across)
    return [{"fact": name, "value": value} for name, value in facts.items()]


def tabulate_copies(run: RunData) -> Rows:
    """One row per near copy; none where the decoded drawings are not on this machine."""
    if run.data is None or run.splits is None:
        return []
    return list(tabulate_near_copies(run.data, run.splits))


def show_copies(rows: Rows) -> Rows:
    """The text of the cells."""
    return [
        {
            "drawing": row["image"],
            "looks like": row["looks_like"],
            "class": row["class"],
            "its class": row["other_class"],
            "split": row["split"],
            "its split": row["other_split"],
            "bits apart": row["bits_apart"],
        }
        for row in rows
    ]


DATA = Table(
    "data",
    "data",
    "The drawings",
    "Source: search.json.",
    tabulate_data,
    lambda rows: rows,
)
NEAR_COPIES = Table(
    "near_copies",
    "data",
    "Near copies",
    "Drawings that look like another one, by perceptual hashes of their ink (pHash, 256 bits, as the drawing lies in "
    "its picture and cut out; at most 36 bits apart). Those in two splits first. Sources: the decoded drawings and "
    "splits.csv.",
    tabulate_copies,
    show_copies,
    is_long=True,
)
