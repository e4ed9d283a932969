"""The judgement of forecasts by hand, and one simulated search that is watched."""

import pytest

from benchmarks.curves.tasks import load_tasks
from benchmarks.expected_gain import HORIZON, RULES, Watch, gain_of_later_half, rows_of, tables, watch_search
from tests.support.trials import make_ended_trials


def test_a_rule_is_judged_by_what_the_ten_after_it_gained():
    watch = Watch([1, 3, 9])
    watch.bests = [0.5] * 3 + [0.6] * 10 + [0.8] * 2
    watch.gains = {"now": [None, 0.2, 0.0005, *[0.0] * 12], "before": [0.0] * 15}
    rows = {(row["rule"], row["limit"]): row for row in rows_of(watch, {"workers": 2})}
    row = rows["now", "unlikely to help"]
    assert row["trial"] == 3
    assert row["ten_more"] == pytest.approx(0.1)
    assert row["all_more"] == pytest.approx(0.3)
    assert row["forecast"] == pytest.approx(0.2005 / 4)
    assert row["gained"] == pytest.approx((0.1 + 0.1 + 0.2 + 0.2) / 4)
    assert rows["before", "--min-gain 0.002"]["trial"] == 1
    text = "\n".join(tables(list(rows.values())))
    assert "| 2 | unlikely to help | now | 1 of 1 | 3 | 15 | 10.00 [10.00, 10.00] | 100 % | 30.00 |" in text


def test_the_rule_before_said_nothing_is_to_come_where_the_best_is_old():
    values = [0.9, *[0.5] * 10, *[0.8] * 10]
    assert gain_of_later_half(make_ended_trials(values), [1, 3, 9]) == 0
    assert gain_of_later_half(make_ended_trials(values[:19]), [1, 3, 9]) is None


def test_a_simulated_search_is_watched():
    watch = watch_search(load_tasks("report", ("sketch",))["sketch-sketchy"], 8, 0)
    num = len(watch.bests)
    assert num > 4 * HORIZON
    assert watch.bests == sorted(watch.bests)
    assert all(len(watch.gains[rule]) == num and watch.gains[rule][-1] is not None for rule in RULES)
