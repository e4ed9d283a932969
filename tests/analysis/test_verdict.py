"""The verdict's sentences say only what the numbers say."""

import pytest

from tests.support.fake_runs import make_finished_run
from tune_sketch.analysis import verdict
from tune_sketch.analysis.run_data import read_run
from tune_sketch.analysis.verdict import state_gain, state_result

ITS = {"num_trials": 12, "test_top1_wilson_low": 0.48, "test_top1_wilson_high": 0.52}
KNOWN = {"baseline_test_top1": 0.5, "recipe_test_top1": 0.52}
BEST = "It is the best of 12 ways of training it that were tried"
CHOSEN = "It was chosen, on validation, among 12 ways of training it that were tried"
PAPERS = "than trained as the paper did it (50.0 %)"
RECIPE = "than by today's recipe without a search (52.0 %)"
CHANCE = ", a difference that may be chance"


@pytest.mark.parametrize(
    ("gains", "sentence"),
    [
        ({}, f"{BEST}."),
        ({"baseline": 0.05}, f"{BEST}: 5.0 points more {PAPERS}."),
        ({"baseline": 0.01}, f"{BEST}: 1.0 points more {PAPERS}{CHANCE}."),
        ({"baseline": 0.0}, f"{BEST}: 0.0 points more {PAPERS}{CHANCE}."),
        ({"baseline": -0.01}, f"{CHOSEN}: 1.0 points fewer {PAPERS}{CHANCE}."),
        ({"baseline": -0.05}, f"{CHOSEN}: 5.0 points fewer {PAPERS}."),
        ({"recipe": 0.03}, f"{BEST}: 3.0 points more {RECIPE}."),
        ({"baseline": 0.05, "recipe": 0.03}, f"{BEST}: 5.0 points more {PAPERS}, and 3.0 points more {RECIPE}."),
        (
            {"baseline": 0.05, "recipe": -0.01},
            f"{CHOSEN}: 5.0 points more {PAPERS}, and 1.0 points fewer {RECIPE}{CHANCE}.",
        ),
    ],
)
def test_what_is_gained_over_what_was_known_before_the_search(gains, sentence):
    assert state_gain(ITS | KNOWN | {f"gain_over_{name}": gain for name, gain in gains.items()}) == sentence


@pytest.mark.parametrize("known", ["baseline", "recipe"])
@pytest.mark.parametrize(("gain", "word"), [(0.05, "best"), (-0.05, "chosen")])
def test_nothing_is_called_the_best_that_what_was_known_before_beats(tmp_path, monkeypatch, known, gain, word):
    run = read_run(make_finished_run(tmp_path / "run", num_trials=4).path)
    its = {name: value for name, value in verdict.numbers_of(run).items() if not name.startswith("gain_over_")}
    its |= {f"gain_over_{known}": gain, f"{known}_test_top1": 0.5}
    monkeypatch.setattr(verdict, "numbers_of", lambda run: its)
    first, second, *_ = state_result(run)
    assert first.startswith(f"The {word} baseline recognises ")
    assert ("the best" in f"{first} {second}".lower()) == (gain > 0)
