"""The last step: what it is trained on, its place between the choice and the test, and going on after a kill."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.in_process import InProcessBackend
from tests.support.trials import add_trial, train
from tests.support.whole_run import Killed, make_run, untimed
from tune_sketch.analysis.figures.timeline import tabulate_timeline
from tune_sketch.analysis.run_data import read_run
from tune_sketch.analysis.tables.costs import tabulate_costs
from tune_sketch.analysis.tables.recipe import tabulate_recipe
from tune_sketch.analysis.tables.winner import show_winner, tabulate_winner
from tune_sketch.analysis.verdict import state_result, tabulate_verdict
from tune_sketch.backend.jobs import job_of
from tune_sketch.callbacks.progress import Progress
from tune_sketch.config.total_time import LAST_STEP_LENGTH
from tune_sketch.data import open_data
from tune_sketch.data.splits import read_splits
from tune_sketch.events import OF_SEARCH, EndingReport, TestResult
from tune_sketch.retraining.ensemble import ensemble_members
from tune_sketch.retraining.finalists import (
    choose_network,
    choose_winner,
    eligible_retrainings,
    retrainings_that_count,
)
from tune_sketch.retraining.last_step import LastStep, find_last_step, length_of_last_step
from tune_sketch.run import confirm_run, run_search
from tune_sketch.status import status_lines
from tune_sketch.storage.database import open_log
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.resume import prepare_resume
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.job import open_job

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture
def journal(tmp_path):
    """Two finalists, of which the second won; recorded in a file."""
    journal = Journal(open_log(tmp_path / "journal.log"), "search", create=True)
    for number, values in ((0, (0.5, 0.6)), (1, (0.7, 0.8))):
        add_trial(journal)
        for index, value in enumerate(values, start=1):
            trial = journal.add_retraining(number, index, {"epochs": 1, "averaging": True}, seed=index)
            train(journal, trial, [value], "completed", raw_val_top1=value, averaged_val_top1=value - 0.01)
    return journal


def test_the_time_left_knows_that_the_race_before_it_has_ended_early(tmp_path, monkeypatch):
    left = []

    class Seen(Progress):
        def on_epoch(self, trial):
            super().on_epoch(trial)
            if trial.is_last_step:
                later = [trial for trial in self.trials.values() if trial.is_retraining]
                left.append(self.num_retraining_epochs - sum(len(trial.epochs) for trial in later))

    monkeypatch.setattr("tune_sketch.run.Progress", Seen)
    decided = "tune_sketch.retraining.racing.chances_of_best"
    monkeypatch.setattr(decided, lambda values: {number: float(number == 0) for number in values})
    run = make_run(tmp_path / "run", num_samples=2, retraining_seeds=4)
    assert run_search(run, InProcessBackend())
    assert len(read_history(run).retrainings) == 4, "two of each, of eight that were allowed"
    assert left == list(reversed(range(len(left)))), "epochs, to the last one"


def test_it_sees_training_and_validation_drawings_and_no_others(finished):
    facts, (last,) = read_facts(finished), read_history(finished).last_steps.values()
    job = job_of(last, finished, facts, InProcessBackend().allocate(facts.settings, 1, None))
    _, arrays, _ = open_job(job)
    splits = read_splits(finished.splits_csv, open_data(Path(facts.data.cache)))
    expected = np.sort(np.concatenate([splits.train, splits.validation]))
    assert np.array_equal(arrays.train.indices, expected)
    assert not set(arrays.train.indices) & set(splits.test)
    assert len(arrays.validation) == 0
    assert [set(epoch.metrics) & {"val_top1", "raw_val_top1", "val_loss"} for epoch in last.epochs] == [set()] * 3


def test_the_winners_best_network_goes_on_as_it_was_trained(finished):
    history, facts = read_history(finished), read_facts(finished)
    (last,) = history.last_steps.values()
    follows = history.retrainings[last.follows]
    assert follows == choose_network(retrainings_that_count(history, last.number))
    model, _, _ = open_job(job_of(last, finished, facts, InProcessBackend().allocate(facts.settings, 1, None)))
    kept = torch.load(finished.kept_weights(follows.key))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())
    assert last.config | {"epochs": 0} == follows.config | {"epochs": 0}
    assert len(last.epochs) == math.ceil(LAST_STEP_LENGTH * len(follows.epochs))


def test_its_network_is_what_best_holds_with_a_reading_of_its_own(finished):
    (last,) = read_history(finished).last_steps.values()
    info = json.loads((finished.best / "model.json").read_text())
    assert info["retraining"] == last.key
    assert info["trained_on"] == ["train", "validation"]
    assert info["val_top1"] is None
    assert info["test"]["top1"] == last.test.top1
    seeds = [trial for trial in read_history(finished).retrainings.values() if trial.number == last.number]
    assert info["temperature"] == last.test.temperature == np.mean([trial.test.temperature for trial in seeds])
    best, kept = load_file(finished.best / "weights.safetensors"), torch.load(finished.retrained / f"{last.key}.pt")
    assert all(torch.equal(best[name], kept[name]) for name in kept)
    rows = read_csv(finished.winner_csv)
    assert [(row["network"], row["is_in_best"]) for row in rows] == [("retrained", "False"), ("last step", "True")]
    facts = read_facts(finished)
    assert int(rows[1]["num_train"]) == facts.data.num_train + facts.data.num_validation
    assert [row["val_top1"] == "" for row in rows] == [False, True]
    assert len(read_csv(finished.finalists_csv)) == 3, "the finalists' table stays as it is"


def test_killed_in_the_last_step_it_goes_on_and_ends_the_same(finished, tmp_path):
    run, backend = make_run(tmp_path / "run"), InProcessBackend()

    def kill(key, report):
        if key.startswith("last-step") and report.number == 2:
            raise Killed

    backend.before_report = kill
    with pytest.raises(Killed):
        run_search(run, backend)
    history = read_history(run)
    assert [len(trial.epochs) for trial in history.last_steps.values()] == [1]
    assert not any(trial.test for trial in history.retrainings.values()), "the test split was not read yet"
    assert run_search(run, InProcessBackend())
    assert untimed(run) == untimed(finished)


def test_killed_while_the_test_split_is_read_the_choice_stands(finished, tmp_path, monkeypatch):
    run, seen = make_run(tmp_path / "run"), []

    class Dying(InProcessBackend):
        def score_on_test(self, jobs, workers):
            for scored in super().score_on_test(jobs, workers):
                seen.append(read_history(run).notes["test_readings"])
                yield scored
                if self.num_scored == 2:
                    raise Killed

    with pytest.raises(Killed):
        run_search(run, Dying())
    (last,) = read_history(run).last_steps.values()
    assert all(readings[-1]["shipped"] == last.key for readings in seen), "recorded before the first drawing is read"
    backend = InProcessBackend()
    assert run_search(run, backend)
    assert backend.num_reports == 0
    assert untimed(run) == untimed(finished)


def test_without_it_the_best_seed_of_the_winner_is_shipped(tmp_path):
    run = make_run(tmp_path / "run", last_step=False)
    assert run_search(run, InProcessBackend())
    history = read_history(run)
    assert history.last_steps == {}
    info = json.loads((run.best / "model.json").read_text())
    assert info["retraining"] in history.retrainings
    assert info["trained_on"] == ["train"]
    assert info["val_top1"] == history.retrainings[info["retraining"]].epochs[-1].val_top1


def test_a_last_step_that_fails_loses_nothing(tmp_path, capsys):
    run, backend = make_run(tmp_path / "run"), InProcessBackend()

    class Failing(InProcessBackend):
        def run(self, jobs, on_report, workers, directory):
            for job in jobs:
                if job is not None and job.trains_on_validation:
                    on_report(job.key, EndingReport("diverged", "the loss is not finite"))
                    continue
                super().run(iter([job]), on_report, workers, directory)

    backend = Failing()
    assert run_search(run, backend)
    (last,) = read_history(run).last_steps.values()
    assert last.status == "diverged"
    assert json.loads((run.best / "model.json").read_text())["retraining"].startswith("retraining-")
    assert "the last step diverged" in capsys.readouterr().out


def test_another_winner_gets_a_last_step_of_its_own(finished, tmp_path):
    run = RunDirectory(Path(shutil.copytree(finished.path, tmp_path / "run")))
    before = read_history(run)
    prepare_resume(run, {"retraining_seeds": 2})
    assert confirm_run(run, InProcessBackend())
    after = read_history(run)
    assert before.last_steps.items() <= after.last_steps.items()
    assert find_last_step(after).test is not None
    assert after.notes["test_readings"][-1]["shipped"] == find_last_step(after).key


def test_a_search_of_before_gets_none(finished, tmp_path):
    run = RunDirectory(Path(shutil.copytree(finished.path, tmp_path / "run")))
    values = json.loads(run.search_json.read_text())
    del values["settings"]["last_step"]
    run.search_json.write_text(json.dumps(values))
    assert read_facts(run).settings.last_step is False


def test_it_has_the_winners_configuration_and_no_choice_left(journal, tmp_path):
    step = LastStep(journal, seed=3)
    assert step.num_epochs() == 1
    trial = step.propose()
    assert trial.config == {"epochs": 1, "averaging": False}, "the raw weights were better in its seeds"
    assert (trial.number, trial.key, trial.is_last_step) == (1, "last-step-0001-01", True)
    assert trial.follows == "retraining-0001-02"
    assert trial.seed not in {other.seed for other in journal.retrainings.values()}
    assert step.propose() is None, "it is asked for once"
    assert [t.key for t in step.unfinished()] == [trial.key]
    again = Journal(open_log(tmp_path / "journal.log"), "search")
    assert again.last_steps == {trial.key: trial}
    assert again.retrainings == journal.retrainings
    train(again, trial, [0.9], "completed")
    read = Journal(open_log(tmp_path / "journal.log"), "search")
    assert read.last_steps[trial.key].status == "completed"
    assert read.last_steps[trial.key].best_epoch is None
    assert LastStep(read, seed=3).num_epochs() == 0
    assert read.add_retraining(0, 3, {"epochs": 1}, seed=9).key in read.ids


def test_averaged_weights_are_kept_where_they_were_better():
    journal = Journal()
    add_trial(journal)
    for index, gain in enumerate((0.05, -0.01), start=1):
        trial = journal.add_retraining(0, index, {"epochs": 1, "averaging": True}, seed=index)
        train(journal, trial, [0.5], "completed", raw_val_top1=0.5, averaged_val_top1=0.5 + gain)
    assert LastStep(journal, seed=0).propose().config["averaging"] is True


def test_its_time_is_known_before_it_begins():
    assert length_of_last_step(300, 100) == pytest.approx(0.4 * 4 / 3)


@pytest.mark.parametrize(("most_epochs", "num_epochs"), [(math.inf, 20), (20, 20), (5, 5), (1, 1), (0, 0)])
def test_where_time_is_short_it_is_shorter_or_none(journal, most_epochs, num_epochs):
    """Of a winner whose training of 30 epochs was cut after 20."""
    trial = journal.add_retraining(1, 3, {"epochs": 30, "averaging": False}, seed=3)
    train(journal, trial, np.linspace(0.1, 0.9, 20), "completed")
    step = LastStep(journal, seed=0)
    step.most_epochs = most_epochs
    assert step.num_epochs() == num_epochs
    proposed = step.propose()
    assert (proposed is None) == (num_epochs == 0)
    if proposed is not None:
        assert proposed.config["epochs"] == num_epochs
        step.most_epochs = num_epochs - 1
        assert step.num_epochs() == 0, "what was begun is not cut"
        train(journal, proposed, [0.5])
        assert step.num_epochs() == num_epochs, "one epoch of it is there"


def test_one_that_goes_on_from_another_seed_of_the_winner_stays(journal):
    step = LastStep(journal, seed=0)
    before = step.propose()
    better = journal.add_retraining(1, 3, {"epochs": 1, "averaging": True}, seed=3)
    train(journal, better, [0.9], "completed", raw_val_top1=0.9, averaged_val_top1=0.8)
    assert step.retraining().key == better.key != before.follows
    assert find_last_step(journal).key == before.key


def test_one_of_an_earlier_version_began_from_new_weights_and_stays(journal):
    trial = journal.add_last_step(1, {"epochs": 1, "averaging": False}, 0, None)
    assert find_last_step(journal) == trial
    assert LastStep(journal, seed=0).propose() is None
    other = journal.add_last_step(0, {"epochs": 1, "averaging": False}, 0, None)
    assert find_last_step(journal) == trial != other, "it is of another configuration"
    longer = journal.add_retraining(1, 3, {"epochs": 2}, seed=3)
    train(journal, longer, [0.5, 0.9], "completed")
    assert find_last_step(journal) is None, "the winner is trained for longer now"


def test_a_finalist_that_diverges_is_not_chosen_for_the_seeds_that_survived(journal):
    journal.end(journal.add_retraining(1, 3, {"epochs": 1}, seed=3).key, "diverged")
    assert choose_winner(eligible_retrainings(journal)) == 0
    journal.end(journal.add_retraining(0, 3, {"epochs": 1}, seed=3).key, "diverged")
    assert choose_winner(eligible_retrainings(journal)) == 1, "where all diverge, the best of what is left"


def test_nothing_retrained_means_no_last_step():
    journal = Journal()
    add_trial(journal)
    assert LastStep(journal, seed=0).propose() is None
    assert find_last_step(journal) is None


def test_the_report_says_what_it_is_and_what_it_cost(finished):
    run, facts = read_run(finished.path), read_facts(finished)
    (last,) = run.last_steps
    assert run.best_key == last.key
    assert run.read_test_probabilities(last.key).shape == (facts.data.num_test, 3)
    rows = tabulate_winner(run)
    assert [(row["network"], row["is_in_best"]) for row in rows] == [("retrained", "False"), ("last step", "True")]
    assert all(row["milliseconds_per_drawing"] > 0 for row in rows)
    assert [row["validation"] for row in show_winner(rows)][1] == "none"
    num_drawings = facts.data.num_train + facts.data.num_validation
    (sentence,) = [text for text in state_result(run) if "network in best/" in text]
    assert f"configuration's best after 3 epochs more on all {num_drawings} training and validation" in sentence
    assert f"{100 * last.test.top1:.1f} %" in sentence
    numbers = {row["name"]: row["value"] for row in tabulate_verdict(run)}
    assert numbers["last_step_test_top1"] == last.test.top1
    costs = {row["part"]: row for row in tabulate_costs(run)}
    assert (costs["last step"]["num_trainings"], costs["last step"]["num_epochs"]) == (1, 3)
    seconds = last.train_seconds + run.history.retrainings[last.follows].train_seconds
    assert float(read_csv(finished.winner_csv)[1]["train_seconds"]) == pytest.approx(seconds)
    assert "last step" in {row["what"] for row in tabulate_timeline(run)}
    (row,) = [row for row in tabulate_recipe(run) if row["part"] == "last step"]
    assert (row["is_used"], row["seconds_per_epoch"]) == (True, pytest.approx(last.train_seconds / 3))
    assert "last step      1 completed" in "\n".join(status_lines(finished))


def test_the_searchs_own_network_does_not_compete_with_fresh_retrainings(journal):
    """It was chosen among many by the very value that it would compete with."""
    own = journal.add_retraining(1, OF_SEARCH, {"epochs": 1, "averaging": False}, seed=0)
    train(journal, own, [0.99], "completed")
    assert own.key not in [trial.key for trial in eligible_retrainings(journal)]
    assert len(eligible_retrainings(journal)) > 1


def test_the_ensemble_is_of_the_retrainings_that_count(journal):
    """Neither the search's own network nor a training that was cut short is a member, though both were tested."""
    own = journal.add_retraining(1, OF_SEARCH, {"epochs": 1}, seed=0)
    train(journal, own, [0.99], "completed")
    for index in (3, 4):
        longer = journal.add_retraining(1, index, {"epochs": 2}, seed=index)
        train(journal, longer, [0.6, 0.7], "completed")
    journal.note("test_readings", [{"chosen": 1, "shipped": longer.key, "networks": []}])
    for trial in journal.retrainings.values():
        journal.record_test(trial.key, TestResult({"top1": 0.5}, num_images=10))
    assert [trial.seed_index for trial in ensemble_members(journal)] == [3, 4]
