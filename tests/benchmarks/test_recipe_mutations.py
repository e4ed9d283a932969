"""The table of ways to change a recipe, by hand."""

import pytest

from benchmarks.recipe_mutations import WAYS, by_task, table

FIRST, SECOND = list(WAYS)[:2]


def row(task: str, way: str, recipe: float, best_change: float) -> dict:
    return {"task": task, "way": way, "recipe": recipe, "best_change": best_change}


ROWS = [
    *(row("a", FIRST, 0.5, change) for change in (0.4, 0.6)),  # one of two is better, by 0.1
    *(row("b", FIRST, 0.5, change) for change in (0.3, 0.2)),
    *(row("a", SECOND, 0.5, change) for change in (0.7, 0.9)),
    *(row("b", SECOND, 0.5, change) for change in (0.5, 0.6)),  # as good is not better
]


def test_chances_and_gains_are_means_of_searches() -> None:
    assert by_task(ROWS, FIRST)["a"] == (0.5, pytest.approx(0.05))
    assert by_task(ROWS, FIRST)["b"] == (0.0, 0.0)
    assert by_task(ROWS, SECOND)["a"] == (1.0, pytest.approx(0.3))
    assert by_task(ROWS, SECOND)["b"] == (0.5, pytest.approx(0.05))


def test_the_table_compares_with_the_first_line_task_by_task() -> None:
    first, second = table(ROWS, "Title")[-2:]
    assert first == f"| {FIRST} | 2 | 25 |  | 0.025 |  |"
    # 50 points more on both tasks; 0.25 and 0.05 more: 0.15 with Student's t of one degree of freedom
    assert second == f"| {SECOND} | 2 | 75 | +50 [+50, +50] | 0.175 | +0.150 [-1.121, +1.421] |"
