"""Explaining a trial: where it came from, what was known then, and what each rung decided, as it was recorded."""

import pytest

from tests.support.facts import make_facts
from tests.support.fake_runs import add_retrainings, add_trials, begin_run
from tests.support.searching import make_sampler, suggest
from tests.support.trials import make_metrics, make_proposal
from tests.support.untrained import make_job
from tune_sketch.config.settings import Settings
from tune_sketch.events import EpochReport, Source, Worker
from tune_sketch.explain import explain_lines, main
from tune_sketch.schedulers.asha import ASHA, NEVER_STOP
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import values_at
from tune_sketch.search_spaces import SpaceLimits
from tune_sketch.storage.database import open_log
from tune_sketch.storage.facts import write_facts
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.run_directory import RunDirectory

LIMITS = SpaceLimits(9, pretrained=False)


def explain(run, number):
    return "\n".join(explain_lines(run, number))


def make_run(path, strategy, **choices):
    """A run directory without data: search.json and an empty journal."""
    path.mkdir()
    run = RunDirectory(path)
    settings = Settings("baseline", strategy=strategy, weights="none", max_epochs=9, grace_epochs=1, **choices)
    write_facts(run, make_facts(settings))
    return run, Journal(open_log(run.journal_log), "s", create=True)


def search(journal, strategy, value_of):
    """Suggest and train trial by trial, as one worker does, until there is no more."""
    sampler = make_sampler(strategy, limits=LIMITS, num_samples=20)
    asha = ASHA([1, 3, 9], 3) if sampler.stops_trials else NEVER_STOP
    recorder = Recorder(journal, TrialQueue(journal, [], lambda: None, make_job), asha)
    while (trial := suggest(sampler, journal)) is not None:
        for epoch in range(1, trial.config["epochs"] + 1):
            value = value_of(trial, epoch)
            metrics = make_metrics(value, val_loss=3 - 3 * value)
            if recorder(trial.key, EpochReport(epoch, metrics, Worker("here", 1), epoch)) == "stop":
                break


@pytest.fixture
def searched(tmp_path):
    """A search of twenty trials with the default strategy and ASHA."""
    run, journal = make_run(tmp_path / "run", "incumbent", num_samples=20)
    search(journal, "incumbent", lambda trial, epoch: (0.1 + 0.04 * (trial.number * 7 % 20)) * epoch / (epoch + 2))
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
            before = values_at(journal.trials[: trial.number], rung)  # one worker: all earlier trials had ended
            assert decision.num_compared == len(before)
            if decision.cutoff is None:
                assert "the first to get there: went on" in line
            else:
                assert f"{100 * decision.cutoff:.1f} %" in line
                assert f"{decision.num_better} of {len(before)} before it were better" in line


def known_before(journal, number, rung):
    trials = journal.trials[:number]
    return {trial.number: epoch.val_top1 for trial in trials if (epoch := trial.epoch_at(rung)) is not None}


def test_each_source_is_told(searched):
    run, journal = searched
    numbers = {trial.source.kind: trial.number for trial in journal.trials}
    assert set(numbers) == {"paper", "random", "mutated", "tpe"}
    assert "the paper's own configuration" in explain(run, 0)
    assert "drawn at random" in explain(run, numbers["random"])

    trial, text = journal.trials[numbers["tpe"]], explain(run, numbers["tpe"])
    known = known_before(journal, trial.number, trial.source.rung)
    assert f"Optuna's TPE, from the values at epoch {trial.source.rung}" in text
    assert f"{len(known)} known at that epoch then" in text, "one worker: all earlier trials had ended"
    best = max(known, key=known.get)
    assert f"best      trial {best} {100 * known[best]:.1f} %" in text
    assert all(name in text for name in trial.config)

    trial, text = journal.trials[numbers["mutated"]], explain(run, numbers["mutated"])
    rung, parent = trial.source.rung, journal.trials[trial.source.parent]
    known = known_before(journal, trial.number, rung)
    assert parent.number == max(known, key=known.get)
    assert f"a mutation of trial {parent.number}, the best at epoch {rung} then" in text
    (line,) = [line for line in text.splitlines() if line.startswith("kept      ")]
    kept = line.removeprefix("kept      ").split(", ")
    for name, value in trial.params.items():
        assert (name in kept) == (parent.params.get(name) == value)


def test_the_strategies_to_compare_with_are_told(tmp_path):
    run, journal = make_run(tmp_path / "random", "random", num_samples=20)
    search(journal, "random", lambda trial, epoch: 0.5)
    assert "--strategy random looks at no value" in explain(run, 3)
    run, journal = make_run(tmp_path / "tpe", "tpe", num_samples=20)
    search(journal, "tpe", lambda trial, epoch: 0.5)
    text = explain(run, 15)
    assert "TPE of each trial's last value, whatever its epoch (--strategy tpe)" in text
    assert "15 trials had ended then" in text


def test_one_factor_names_its_step_and_all_that_it_compares(tmp_path):
    run, journal = make_run(tmp_path / "run", "one-factor")

    def value_of(trial, epoch):
        return (0.9 - 0.1 * (trial.config["optimizer"] != "rmsprop")) * epoch / (epoch + 2)

    search(journal, "one-factor", value_of)
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


def test_a_warm_start_names_the_earlier_trial(tmp_path):
    run, journal = make_run(tmp_path / "run", "incumbent")
    for source in (Source("paper"), Source("warm-start", run="earlier", trial=0)):
        journal.add_trial(make_proposal(source=source), seed=1)
    assert "among the best of an earlier search: trial 0 of earlier (--warm-start)" in explain(run, 1)


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
