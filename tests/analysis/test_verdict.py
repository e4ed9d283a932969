"""The verdict's sentences say only what the numbers say."""

import pytest

from tests.support.fake_runs import make_finished_run
from tune_sketch.analysis import verdict
from tune_sketch.analysis.run_data import read_run
from tune_sketch.analysis.verdict import state_gain, state_result

ITS = {"num_trials": 12, "baseline_test_top1": 0.5, "test_top1_wilson_low": 0.48, "test_top1_wilson_high": 0.52}
BEST = "It is the best of 12 ways of training it that were tried"
CHOSEN = "It was chosen, on validation, among 12 ways of training it that were tried"
THEN = "; trained as the paper did it, the same network recognises 50.0 %: the search brought "


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (None, f"{BEST}."),
        (0.05, f"{BEST}{THEN}5.0 points more."),
        (0.01, f"{BEST}{THEN}1.0 points more, a difference that may be chance."),
        (0.0, f"{BEST}{THEN}0.0 points more, a difference that may be chance."),
        (-0.01, f"{CHOSEN}{THEN}1.0 points fewer, a difference that may be chance."),
        (-0.05, f"{CHOSEN}{THEN}5.0 points fewer."),
    ],
)
def test_what_the_search_brought(gain, sentence):
    assert state_gain(ITS | ({} if gain is None else {"gain_over_baseline": gain})) == sentence


@pytest.mark.parametrize(("gain", "word"), [(0.05, "best"), (-0.05, "chosen")])
def test_nothing_is_called_the_best_that_the_papers_configuration_beats(tmp_path, monkeypatch, gain, word):
    run = read_run(make_finished_run(tmp_path / "run", num_trials=4).path)
    its = verdict.numbers_of(run) | {"gain_over_baseline": gain, "baseline_test_top1": 0.5}
    monkeypatch.setattr(verdict, "numbers_of", lambda run: its)
    first, second, *_ = state_result(run)
    assert first.startswith(f"The {word} baseline recognises ")
    assert ("the best" in f"{first} {second}".lower()) == (gain > 0)
