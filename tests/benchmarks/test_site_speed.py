"""How the static page's speed is judged, and that the docs say the worst of it."""

import pytest

from benchmarks.site_speed import SIDES_PX, missed, table
from tests.docs.pages import ROOT
from tune_sketch.storage.files import read_csv

GOOD = {"first_seconds": 1.0, "later_ms_median": 80.0, "later_ms_worst": 95.0}
REST = {"repeat": 1, "one_size_ms_median": 30.0, "load_before": 0.0, "load_after": 0.0}


def rows_of(**changes):
    """Three visits for each size, all within their targets but for what is changed in one of them."""
    rows = [{"image_px": side, **REST, **GOOD} for side in SIDES_PX for _ in range(3)]
    return [*rows[:-1], rows[-1] | changes]


def test_a_median_and_the_worst_answer_are_judged():
    assert missed(rows_of()) == []
    assert missed(rows_of(first_seconds=9.0, later_ms_median=300.0)) == [], "one slow visit of three"
    assert missed(rows_of(later_ms_worst=100.5)) == ["224 px, later one, worst: 100.5 ms, target 100 ms"]
    slow = [row | {"first_seconds": 2.5} for row in rows_of()]
    assert missed(slow) == [f"{side} px, first recognition, median: 2.5 s, target 2 s" for side in SIDES_PX]
    assert table(rows_of(later_ms_worst=136.0))[-1] == "Missed: 224 px, later one, worst: 136 ms, target 100 ms."


def test_the_docs_say_how_long_the_worst_answer_took():
    rows = read_csv(ROOT / "benchmarks" / "results" / "site_speed-cpu.csv")
    page = " ".join((ROOT / "docs" / "take-along.md").read_text().split())
    own = [row for row in rows if row["image_px"] == "224"]
    worst = max(float(row["later_ms_worst"]) for row in own)
    middle = sorted(float(row["later_ms_median"]) for row in own)[1]
    assert f"takes {middle:.0f} ms in the median and {worst:.0f} ms in the worst case" in page
    assert worst == pytest.approx(max(float(row["later_ms_worst"]) for row in rows)), "no other size is slower"
