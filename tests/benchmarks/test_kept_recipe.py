"""The table of how much of the recipe is kept, by hand, and a simulated search that keeps another share."""

from pathlib import Path

import pytest

from benchmarks import kept_recipe
from benchmarks.curves import tasks
from benchmarks.kept_recipe import BASE, judge, load_task, method_of, points_lost, search, table
from tune_sketch.samplers import incumbent

SHIPPED = incumbent.RECIPE_KEPT_FRACTION


def row(share: float, seed: int, found: float) -> dict:
    names = {"task": "curves", "method": method_of(share), "workers": 2.0, "t": 4.0}
    return names | {"seed": float(seed), "best": 0.5, "by_best": found}


def rows(of_half: list[float], of_shipped: list[float]) -> list[dict]:
    both = [(BASE, of_half), (SHIPPED, of_shipped)]
    return [row(share, seed, value) for share, values in both for seed, value in enumerate(values)]


def test_gains_are_of_the_same_seeds() -> None:
    found = rows([0.40, 0.42, 0.44], [0.44, 0.43, 0.45])
    assert list(points_lost(found).values()) == pytest.approx([10, 8, 6, 6, 7, 5])
    half, shipped = table(found)[-2:]
    assert half == "| curves | 2 | 4 | 50% kept | 8.00 |  | 3 |"
    assert shipped == "| curves | 2 | 4 | 85% kept | 6.00 | +2.00 [-2.30, +6.30] | 3 |"


def test_a_certain_loss_is_an_exit_status() -> None:
    assert judge(rows([0.40, 0.42, 0.44], [0.44, 0.43, 0.45])) == 0
    assert judge(rows([0.44, 0.43, 0.45], [0.40, 0.40, 0.41])) == 1
    assert judge(rows([0.44, 0.43, 0.45], [0.44, 0.43, 0.45])) == 0, "equal everywhere"


def test_a_share_is_searched_with_and_the_shipped_one_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_recipe, "TIMES", (1.0,))
    (found,) = search(load_task("choose"), BASE, 2, 0)
    assert found["method"] == "50% kept"
    assert found["num_trials"] >= 2
    assert found["best"] >= found["by_best"]
    assert incumbent.RECIPE_KEPT_FRACTION == SHIPPED


def test_recorded_curves_need_no_shared_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tasks, "SHARED", tmp_path)
    assert set(tasks.load_tasks("report", ("sketch", "pretrained"))) == {
        "sketch-doodles",
        "sketch-sketchy",
        "pretrained-sketchy",
    }
