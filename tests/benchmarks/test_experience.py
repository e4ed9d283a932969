"""The bundled experience is what its command makes, and its judgement by hand."""

import pytest

from benchmarks import experience
from benchmarks.experience import NUM_SHIPPED, SHIPPED, find_best, gains_of, judge, load, make, method_of


def test_what_is_bundled_is_what_the_command_makes(tmp_path):
    path = tmp_path / "experience.json"
    make(path)
    assert path.read_text() == SHIPPED.read_text()


def test_nothing_is_shipped_from_the_drawings_of_which_results_are_reported():
    shipped = [(pair.source, pair.target) for pair in experience.PAIRS if pair.is_shipped]
    assert shipped == [("doodles", "sketchy")]
    assert "Sketchy" not in SHIPPED.read_text()


def test_the_best_are_ranked_by_their_last_epochs_and_are_not_tried_anyway():
    task = load(experience.PretrainedTable, "quickdraw")
    rows = [row for row, _ in find_best(task, 200)]
    means = [task.values[row, -5:].mean() for row in rows]
    assert means == sorted(means, reverse=True)
    assert len(rows) == len(task.params) - 2, "all but the paper's and the recipe"
    assert {params["epochs"] for _, params in find_best(task, 200)} == {27}


def make_rows(of_none, of_shipped, task="sketch-sketchy"):
    both = [(0, of_none), (NUM_SHIPPED, of_shipped)]
    common = {"task": task, "workers": 2.0, "t": 4.0}
    return [
        common | {"method": method_of(count), "seed": float(seed), "by_best": value}
        for count, values in both
        for seed, value in enumerate(values)
    ]


def test_gains_are_of_the_same_seeds_and_a_certain_loss_is_an_exit_status():
    rows = make_rows([0.40, 0.42, 0.44], [0.44, 0.43])
    assert gains_of(rows, "sketch-sketchy", NUM_SHIPPED, 2, 4.0) == pytest.approx([4.0, 1.0])
    assert gains_of(rows, "sketch-sketchy", NUM_SHIPPED, 2, 8.0) == []
    assert judge(rows) == 0
    assert judge(make_rows([0.44, 0.43, 0.45], [0.40, 0.40, 0.41])) == 1
    assert judge(make_rows([0.44, 0.43, 0.45], [0.40, 0.40, 0.41], "sketch-doodles")) == 0, "is not shipped"
