"""Explaining a trial: where it came from, what was known then, and what each rung decided, against Ray's own rule."""

import pytest

from tests.samplers.test_one_factor_and_baselines import make_searcher, train
from tests.storage.test_journal import make_metrics
from tests.support.fake_runs import add_confirmation, add_trials, begin_run
from tune_sketch.backend.scheduler import JournaledASHA
from tune_sketch.explain import explain_lines, main
from tune_sketch.schedulers.rungs import cutoff_before, rung_epochs, value_at_rung
from tune_sketch.search_spaces.common import SpaceLimits


def explain(run, number):
    return "\n".join(explain_lines(run, number))


@pytest.fixture
def searched(tmp_path):
    """A search of twenty trials with the default strategy and Ray's ASHA, from the journal up."""
    run, journal = begin_run(tmp_path / "run", num_samples=20, max_epochs=9)
    searcher = make_searcher("rung-tpe", journal, limits=SpaceLimits(9, pretrained=False))
    scheduler = JournaledASHA(journal, rung_epochs(1, 9, 3), 3, watchers=[])

    class RayTrial:
        config: dict

    for _ in range(20):
        record = searcher.suggest_new()
        RayTrial.config = {"key": record.key}
        for epoch in range(1, record.config["epochs"] + 1):
            value = (0.1 + 0.04 * (record.number * 7 % 20)) * epoch / (epoch + 2)
            metrics = {f"metrics/{name}": v for name, v in make_metrics(epoch, value).items()}
            result = {"status": "epoch", "warning": "", "checkpoint_epoch": epoch, **metrics}
            if scheduler.decide(RayTrial, result) == "STOP":
                break
    return run, journal


def test_every_decision_agrees_with_what_ray_decided(searched):
    run, journal = searched
    assert {record.status for record in journal.trials} == {"stopped", "completed"}
    for record in journal.trials:
        text = explain(run, record.number)
        for rung in (1, 3):
            if len(record.epochs) < rung:
                assert f"epoch   {rung}  " not in text
                continue
            cutoff, before = cutoff_before(journal.trials, record, rung, 3)
            stopped = record.status == "stopped" and len(record.epochs) == rung
            assert stopped == (cutoff is not None and record.epochs[rung - 1]["val_top1"] < cutoff)
            (line,) = [line for line in text.splitlines() if line.startswith(f"epoch   {rung}  ")]
            assert ("stopped" in line) == stopped
            if cutoff is not None:
                assert f"{100 * cutoff:.1f} %" in line
                assert f"of {len(before)} before it" in line


def test_each_origin_is_told(searched):
    run, journal = searched
    kinds = {record.origin["kind"]: record.number for record in journal.trials}
    assert set(kinds) == {"study", "random", "crossed", "model"}
    assert "the study's own configuration" in explain(run, 0)
    assert "drawn at random" in explain(run, kinds["random"])
    number = kinds["model"]
    record, text = journal.trials[number], explain(run, number)
    rung = record.origin["rung"]
    known = {r.number: value_at_rung(r, rung) for r in journal.trials[:number]}
    known = {earlier: value[0] for earlier, value in known.items() if value is not None}
    assert f"a model (TPE) of the values at epoch {rung}" in text
    assert f"{len(known)} known at that epoch then" in text, "one worker: all earlier trials had ended"
    best = max(known, key=known.get)
    assert f"best      trial {best} {100 * known[best]:.1f} %" in text
    for name in record.config:
        assert name in text
    record, text = journal.trials[kinds["crossed"]], explain(run, kinds["crossed"])
    rung, parent = record.origin["rung"], journal.trials[record.origin["parent"]]
    known = {r.number: value_at_rung(r, rung) for r in journal.trials[: record.number]}
    assert parent.number == max((n for n in known if known[n]), key=lambda n: known[n][0])
    assert f"trial {parent.number}, the best at epoch {rung} then, crossed with a random one" in text
    (line,) = [line for line in text.splitlines() if line.startswith("kept      ")]
    kept = line.removeprefix("kept      ").split(", ")
    for name, value in record.params.items():
        assert (name in kept) == (parent.params.get(name) == value)


def test_one_factor_names_its_step_and_all_that_it_compares(tmp_path):
    run, journal = begin_run(tmp_path / "run", num_samples=20, max_epochs=9, strategy="one-factor")
    searcher = make_searcher("one-factor", journal, limits=SpaceLimits(9, pretrained=False))
    while (record := searcher.suggest_new()) is not None:
        train(journal, record)
    text = explain(run, 2)
    assert "one factor at a time, now optimizer" in text
    assert "by validation loss after epoch 3" in text
    shown = [line.split()[1] for line in text.splitlines() if line.startswith("          trial ")]
    assert sorted(shown) == ["0", "1", "2", "3"]
    best = min(journal.trials[:4], key=lambda r: r.epochs[2]["val_loss"])
    (line,) = [line for line in text.splitlines() if line.startswith("          trial ") and "best" in line]
    assert line.split()[1] == str(best.number)
    assert best.config["optimizer"] in line
    assert "this one" in next(line for line in text.splitlines() if line.startswith("          trial 2"))
    decay = next(r.number for r in journal.trials if r.origin.get("step") == "decay")
    assert "by validation top-1 after epoch 9" in explain(run, decay)
    assert "stops no trial" in text


def test_a_warm_start_names_the_earlier_trial(tmp_path):
    run, journal = begin_run(tmp_path / "run")
    add_trials(run, journal, 1)
    like = journal.trials[0]
    origin = {"kind": "warm-start", "rung": None, "run": "earlier", "trial": 0}
    journal.add_trial(like.config, like.params, like.distributions, seed=1, origin=origin)
    assert "warm start: trial 0 of earlier was among the best there" in explain(run, 1)


def test_runs_of_any_state_and_wrong_use(tmp_path, capsys):
    run, journal = begin_run(tmp_path / "run")
    with pytest.raises(ValueError, match="no trial yet, got 0"):
        explain_lines(run, 0)
    add_trials(run, journal, 6, running=1, failed=1)
    for record in journal.trials:
        assert f"trial {record.number}" in explain(run, record.number)
    add_confirmation(run, journal)
    assert "finalist  validation top-1 on fresh seeds: " in explain(run, 1)
    assert main([str(run.path), "7"]) == 2
    assert "trials 0 to 5, got 7" in capsys.readouterr().err
    assert main([str(tmp_path), "0"]) == 2
    assert "is not a run directory" in capsys.readouterr().err
    before = sorted((path.name, path.stat().st_mtime_ns) for path in run.path.iterdir() if path.name != "study.db")
    assert main([str(run.path), "0"]) == 0
    after = sorted((path.name, path.stat().st_mtime_ns) for path in run.path.iterdir() if path.name != "study.db")
    assert before == after, "it reads only"
