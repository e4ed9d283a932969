"""Explaining a trial: where it came from, the values known then, and the decision at each rung as it was recorded."""

import pytest

from tests.support.fake_runs import add_retrainings, add_trials, begin_run, search_by_strategy
from tune_sketch.events import Proposal, Source
from tune_sketch.explain import explain_lines, main


def explain(run, number):
    return "\n".join(explain_lines(run, number))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search of twenty trials with the default strategy and ASHA, from the journal up."""
    run, journal = begin_run(tmp_path_factory.mktemp("explain") / "run", num_samples=20, max_epochs=9)
    search_by_strategy(run, journal)
    return run, journal


def test_every_decision_is_told_as_it_was_recorded(searched):
    run, journal = searched
    assert {trial.status for trial in journal.trials} == {"stopped", "completed"}
    for trial in journal.trials:
        text = explain(run, trial.number)
        for rung in (1, 3):
            if len(trial.epochs) < rung:
                assert f"epoch   {rung}  " not in text
                continue
            decision = trial.epochs[rung - 1].decision
            stopped = trial.status == "stopped" and len(trial.epochs) == rung
            assert stopped == (decision.verdict == "stop")
            (line,) = [line for line in text.splitlines() if line.startswith(f"epoch   {rung}  ")]
            assert ("stopped" in line) == stopped
            if decision.cutoff is not None:
                assert f"{100 * decision.cutoff:.1f} %" in line
                assert f"{decision.num_better} of {decision.num_compared} before it" in line


def test_each_source_is_told(searched):
    run, journal = searched
    kinds = {trial.source.kind: trial.number for trial in journal.trials}
    assert set(kinds) == {"paper", "random", "mutated", "tpe"}
    assert "the paper's own configuration" in explain(run, 0)
    assert "drawn at random" in explain(run, kinds["random"])
    trial, text = journal.trials[kinds["tpe"]], explain(run, kinds["tpe"])
    known = known_before(journal, trial)
    assert f"TPE, from the values at epoch {trial.source.rung}" in text
    assert f"{len(known)} known at that epoch then" in text, "one worker: all earlier trials had ended"
    best = max(known, key=known.get)
    assert f"best      trial {best} {100 * known[best]:.1f} %" in text
    for name in trial.config:
        assert name in text
    trial, text = journal.trials[kinds["mutated"]], explain(run, kinds["mutated"])
    parent, known = journal.trials[trial.source.parent], known_before(journal, trial)
    assert parent.number == max(known, key=known.get)
    assert f"a mutation of trial {parent.number}, the best at epoch {trial.source.rung} then" in text
    (line,) = [line for line in text.splitlines() if line.startswith("kept      ")]
    kept = line.removeprefix("kept      ").split(", ")
    for name, value in trial.params.items():
        assert (name in kept) == (parent.params.get(name) == value)


def known_before(journal, trial):
    """{earlier trial: its value at the rung that the proposal rests on}."""
    at_rung = {earlier.number: earlier.epoch_at(trial.source.rung) for earlier in journal.trials[: trial.number]}
    return {number: epoch.val_top1 for number, epoch in at_rung.items() if epoch is not None}


def test_one_factor_names_its_step_and_all_that_it_compares(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=20, max_epochs=9, strategy="one-factor")
    search_by_strategy(run, journal)
    text = explain(run, 2)
    assert "one factor at a time, now optimizer" in text
    assert "by validation loss after epoch 3" in text
    shown = [line.split()[1] for line in text.splitlines() if line.startswith("          trial ")]
    assert sorted(shown) == ["0", "1", "2", "3"]
    best = min(journal.trials[:4], key=lambda trial: trial.epochs[2].val_loss)
    (line,) = [line for line in text.splitlines() if line.startswith("          trial ") and "best" in line]
    assert line.split()[1] == str(best.number)
    assert best.config["optimizer"] in line
    assert "this one" in next(line for line in text.splitlines() if line.startswith("          trial 2"))
    decay = next(trial.number for trial in journal.trials if trial.source.step == "decay")
    assert "by validation top-1 after epoch 9" in explain(run, decay)
    assert "stops no trial" in text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            Source("warm-start", run="earlier", trial=0),
            "among the best of an earlier search: trial 0 of earlier (--warm-start)",
        ),
        (
            Source("experience", run="Quick, Draw!", trial=7),
            "among the best of trainings on Quick, Draw! that come with the program (--no-experience)",
        ),
    ],
)
def test_what_comes_from_elsewhere_says_from_where(tmp_path, source, text):
    run, journal = begin_run(tmp_path / "run")
    add_trials(run, journal, 1)
    like = journal.trials[0]
    journal.add_trial(Proposal(like.config, like.params, like.distributions, source), seed=1)
    assert text in explain(run, 1)


def test_the_recipe_and_its_mutations_are_told(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    add_trials(run, journal, 1)
    like = journal.trials[0]
    journal.add_trial(Proposal(like.config, like.params, like.distributions, Source("recipe")), seed=1)
    changed = like.params | {"learning_rate": 2 * like.params["learning_rate"]}
    journal.add_trial(Proposal(like.config, changed, like.distributions, Source("mutated", parent=1)), seed=1)
    assert "today's recipe for this network" in explain(run, 1)
    text = explain(run, 2)
    assert "a mutation of trial 1, today's recipe: no rung had enough values yet" in text
    (line,) = [line for line in text.splitlines() if line.startswith("kept      ")]
    assert set(line.removeprefix("kept      ").split(", ")) == set(changed) - {"learning_rate"}


def test_runs_of_any_state_and_wrong_use(tmp_path, capsys):
    run, journal = begin_run(tmp_path / "run")
    with pytest.raises(ValueError, match="no trial yet, got 0"):
        explain_lines(run, 0)
    add_trials(run, journal, 6, running=1, failed=1)
    for trial in journal.trials:
        assert f"trial {trial.number}" in explain(run, trial.number)
    add_retrainings(run, journal)
    assert "finalist  validation top-1 on fresh seeds: " in explain(run, 1)
    assert main([str(run.path), "7"]) == 2
    assert "trials 0 to 5, got 7" in capsys.readouterr().err
    assert main([str(tmp_path), "0"]) == 2
    assert "is not a run directory" in capsys.readouterr().err
    before = sorted((path.name, path.stat().st_mtime_ns) for path in run.path.iterdir())
    assert main([str(run.path), "0"]) == 0
    after = sorted((path.name, path.stat().st_mtime_ns) for path in run.path.iterdir())
    assert before == after, "it reads only"
