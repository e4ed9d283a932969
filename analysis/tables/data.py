"""The data set in a few facts: its classes, its copies, and the near copies that a split may have torn apart."""

from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.data.describe import class_sizes_text, copies_text
from tune_sketch.data.describe_copies import near_copies_lines, near_copies_text


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
    rows = [{"fact": name, "value": value} for name, value in facts.items()]
    if data.num_near_copies and run.data is not None and run.splits is not None:
        _, *lines = near_copies_lines(run.data, run.splits)
        rows += [{"fact": "near copy", "value": line.strip()} for line in lines]
    return rows


DATA = Table(
    "data",
    "data",
    "The drawings",
    "Sources: search.json; of the near copies' names, the decoded drawings and splits.csv.",
    tabulate_data,
    lambda rows: rows,
)
