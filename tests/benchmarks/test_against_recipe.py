"""The comparison with the ordinary recipe: its ratios by processor, and targets that the worst of them must meet."""

from typing import Any

import pytest

from benchmarks.against_recipe_report import TARGETS, report
from benchmarks.machine import read_rows, result_path


def rows_of(processor: str, ours: float, model: str = "baseline") -> list[dict[str, Any]]:
    """Two rounds of every way: 100 images per second by the recipe, as text, as a CSV gives them."""
    rates = {"recipe": 100.0, "recipe on small files": 100.0, "ours": ours}
    numbers = {"epoch_seconds": "1", "first_epoch_seconds": "2", "peak_mb": "3", "val_top1": "0.5"}
    return [
        {"model": model, "processor": processor, "way": way, "num_workers": "0", "round": str(number)}
        | {"images_per_second": str(rate), "decode_seconds": "0.5", **numbers}
        for number in range(2)
        for way, rate in rates.items()
    ]


def test_targets_are_judged_on_the_processor_where_the_ratio_is_least() -> None:
    fast, slow = rows_of("2 cores of A", 380.0), rows_of("2 cores of B", 295.0)
    assert report(fast)[1] == 0
    lines, code = report(fast + slow)
    assert code == 1
    text = "\n".join(lines)
    assert "- baseline against recipe, 2 cores of A: 3.80x [3.80, 3.80], top-1 +0.000 [+0.000, +0.000], n = 2" in text
    assert "- baseline against recipe, 2 cores of B: 2.95x" in text
    assert "- baseline against recipe, least of 2 processors: 2.95x (target 3.0)" in text
    assert "| baseline | 2 cores of B | ours | none | 295 |" in text


@pytest.mark.parametrize(("way", "target"), [("recipe", 3.0), ("recipe on small files", 3.0)])
def test_files_that_were_shrunk_beforehand_have_a_target_too(way: str, target: float) -> None:
    assert TARGETS["baseline", way] == target


def test_every_row_that_was_measured_names_its_processor() -> None:
    rows = read_rows(result_path("against_recipe", ".csv"))
    assert rows
    assert all(" cores of " in row["processor"] for row in rows)
