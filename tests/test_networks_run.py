"""A whole search over two networks in this process: from settings to the best network, through kills and resumes."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.in_process import InProcessBackend
from tests.support.whole_run import Killed, kill_at, untimed
from tune_sketch.config.plan import plan_lines, prepare_inputs
from tune_sketch.config.settings import BUDGET_SAMPLES
from tune_sketch.config.several import check_networks, settings_of_networks
from tune_sketch.events import EpochReport
from tune_sketch.explain import explain_lines
from tune_sketch.inference.model import load_classifier
from tune_sketch.new_run import create_run
from tune_sketch.run import run_search
from tune_sketch.samplers.warm_start import adapt, read_earlier
from tune_sketch.search_spaces import SpaceLimits
from tune_sketch.status import status_lines
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.reading import read_history
from tune_sketch.storage.resume import prepare_resume
from tune_sketch.storage.run_directory import RunDirectory

MODELS = ("baseline", "squeezenet1_1")
SECONDS = {"baseline": 1.0, "squeezenet1_1": 3.0}  # of an epoch, as the search hears of it
CHOICES = {
    "classes": 3,
    "per_class": 12,
    "image_px": 32,
    "protocol": "small",
    "weights": "none",
    "num_samples": 9,
    "max_epochs": 3,
    "finalists": 1,
    "retraining_seeds": 1,
}


class TimedBackend(InProcessBackend):
    """Epochs take as long as SECONDS says, so that the order of turns does not depend on this machine."""

    def run(self, jobs, on_report, workers, run):
        self.models = {}
        super().run(self.notice(jobs), on_report, workers, run)

    def notice(self, jobs):
        for job in jobs:
            if job is not None:
                self.models[job.key] = job.model
            yield job

    def pass_on(self, key, report):
        report = super().pass_on(key, report)
        if not isinstance(report, EpochReport):
            return report
        return replace(report, metrics={**report.metrics, "epoch_seconds": SECONDS[self.models[key]]})


def make_run(path, storage=None, **changes):
    first, *others = check_networks(settings_of_networks(MODELS, **(CHOICES | changes)))
    return create_run(path, first, prepare_inputs(first, others), storage)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A finished search that nothing disturbed, to be read only; with its report."""
    run = make_run(tmp_path_factory.mktemp("straight") / "run")
    assert run_search(run, TimedBackend())
    return run


@pytest.fixture
def no_report(monkeypatch):
    monkeypatch.setattr("tune_sketch.analysis.report.write_report", lambda runs, path, *more: path.touch())


def test_both_networks_are_searched_and_the_best_of_each_is_retrained(straight):
    history, facts = read_history(straight), read_facts(straight)
    assert facts.models == MODELS
    assert len(history.trials) == 9
    assert {trial.network for trial in history.trials} == set(MODELS)
    for model in MODELS:
        own = [trial for trial in history.trials if trial.network == model]
        assert [trial.source.kind for trial in own[:2]] == ["paper", "recipe"]
    retrained = {trial.number for trial in history.retrainings.values()}
    assert {history.trials[number].network for number in retrained} == set(MODELS)
    assert len(retrained) <= facts.num_finalists == 4
    best = {model: max(t.best_epoch.val_top1 for t in history.trials if t.network == model) for model in MODELS}
    for model in MODELS:
        kept = [t for t in history.trials if t.number in retrained and t.network == model]
        assert max(t.best_epoch.val_top1 for t in kept) == best[model]
    (last,) = history.last_steps.values()
    assert last.network == history.trials[last.number].network


def test_what_is_shipped_is_the_network_that_won(straight):
    history = read_history(straight)
    winner = history.trials[history.notes["test_readings"][-1]["chosen"]].network
    model = json.loads((straight.best / "model.json").read_text())
    assert model["architecture"] == winner
    classifier = load_classifier(straight.path)
    assert classifier.network is not None
    assert (straight.best / "README.md").read_text().startswith(f"# {winner}, 3 classes")


def test_tables_name_the_network_of_each_trial(straight):
    rows = read_csv(straight.trials_csv)
    assert [row["config/network"] for row in rows] == [t.network for t in read_history(straight).trials]
    assert "freeze" in json.dumps(rows[0])


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("moment", [1, 6, 14])
def test_a_search_that_is_killed_and_resumed_is_the_same_search(straight, tmp_path, moment):
    run, backend = make_run(tmp_path / "run"), TimedBackend()
    kill_at(backend, moment)
    with pytest.raises(Killed):
        run_search(run, backend)
    prepare_resume(run, {})
    assert run_search(run, TimedBackend())
    assert untimed(run) == untimed(straight)


@pytest.mark.usefixtures("no_report")
def test_a_finished_search_can_be_extended(straight, tmp_path):
    run = RunDirectory(Path(shutil.copytree(straight.path, tmp_path / "run")))
    before = untimed(run)
    prepare_resume(run, {"num_samples": 11, "max_epochs": 4})
    assert {own.max_epochs for own in read_facts(run).networks} == {4}
    assert run_search(run, TimedBackend())
    after = untimed(run)
    assert {key: after[key] for key in before} == before
    assert len(read_history(run).trials) == 11


@pytest.mark.usefixtures("no_report")
def test_one_time_for_everything_is_shared_by_the_networks(tmp_path):
    run = make_run(tmp_path / "run", total_time_seconds=25.0, num_samples=6)
    assert run_search(run, TimedBackend(), begun_at=time.monotonic())
    history = read_history(run)
    assert {trial.network for trial in history.trials} == set(MODELS)
    assert any(trial.test is not None for trial in history.later_trainings.values())


@pytest.mark.usefixtures("no_report")
def test_the_record_may_be_in_a_database(straight, tmp_path):
    """A database refuses two ranges of one parameter."""
    url = f"sqlite:///{tmp_path / 'records.db'}"
    run = make_run(tmp_path / "run", url)
    assert run_search(run, TimedBackend(), url)
    assert untimed(run, url) == untimed(straight)
    params = [trial.params for trial in read_history(run, url).trials]
    assert params == [trial.params for trial in read_history(straight).trials]


def test_the_best_of_an_earlier_search_over_several_networks_warms_a_new_one(straight):
    taken = read_earlier([str(straight.path)])
    assert [earlier.max_epochs for earlier in taken] == [3] * len(taken)
    for model in MODELS:
        limits = SpaceLimits(max_epochs=9, pretrained=True)
        assert all(set(adapt(earlier, model, limits)) for earlier in taken)


def test_what_cannot_change_is_refused_for_each_network(straight, tmp_path):
    run = RunDirectory(Path(shutil.copytree(straight.path, tmp_path / "run")))
    with pytest.raises(ValueError, match="--max-epochs can only grow in a resumed search: is 3, got 2"):
        prepare_resume(run, {"max_epochs": 2})
    content = json.loads(run.search_json.read_text())
    content["networks"].pop()
    run.search_json.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="has been changed: networks is"):
        prepare_resume(run, {})


def test_explain_says_why_it_was_this_networks_turn(straight):
    history = read_history(straight)
    for trial in history.trials:
        text = "\n".join(explain_lines(straight, trial.number))
        assert f"network   {trial.network}: " in text


def test_the_report_says_which_network_is_best_what_each_got_and_the_best_of_each(straight):
    history = read_history(straight)
    rows = {row["network"]: row for row in read_csv(straight.path / "figures" / "networks.csv")}
    assert set(rows) == set(MODELS)
    seconds = {m: sum(t.train_seconds for t in history.trials if t.network == m) for m in MODELS}
    for model, row in rows.items():
        own = [trial for trial in history.trials if trial.network == model]
        assert int(row["num_trials"]) == len(own)
        assert float(row["worker_seconds"]) == pytest.approx(seconds[model])
        assert float(row["share"]) == pytest.approx(seconds[model] / sum(seconds.values()))
        assert float(row["best_val_top1_in_search"]) == max(t.best_epoch.val_top1 for t in own)
        assert history.trials[int(row["finalist"])].network == model
        retrained = [t for t in history.retrainings.values() if t.number == int(row["finalist"])]
        assert float(row["test_top1"]) == pytest.approx(retrained[0].test.top1)
    (chosen,) = [row for row in rows.values() if row["is_chosen"] == "True"]
    assert int(chosen["finalist"]) == history.notes["test_readings"][-1]["chosen"]
    page = straight.report_html.read_text()
    assert f"{chosen['network']} is the best of 2 networks" in page
    gain = {row["name"]: row["value"] for row in read_csv(straight.path / "figures" / "verdict.csv")}
    has_lost = min(float(gain.get(f"gain_over_{known}", 0)) for known in ("baseline", "recipe")) < 0
    assert f"The {'chosen' if has_lost else 'best'} {chosen['network']} recognises" in page
    how = "was chosen, on validation, among" if has_lost else "is the best of"
    assert f"It {how} {chosen['num_trials']} ways of training it that were tried" in page


def test_the_report_compares_trials_at_rungs_within_one_network(straight):
    history = read_history(straight)
    winner = history.trials[history.notes["test_readings"][-1]["chosen"]].network
    own = {trial.number for trial in history.trials if trial.network == winner}
    curves = read_csv(straight.path / "figures" / "trial_curves.csv")
    assert {int(row["trial"]) for row in curves} == own
    leaderboard = read_csv(straight.path / "figures" / "leaderboard.csv")
    assert {int(row["trial"]) for row in leaderboard} == set(range(len(history.trials)))


def test_status_says_what_each_network_has_had(straight):
    spent = {model: 0.0 for model in MODELS}
    for trial in read_history(straight).trials:
        spent[trial.network] += trial.train_seconds
    lines = [line for line in status_lines(straight) if line.startswith("network ")]
    assert [line.split()[1].rstrip(":") for line in lines] == list(MODELS)
    for line, seconds in zip(lines, spent.values(), strict=True):
        assert f"({100 * seconds / sum(spent.values()):.1f} % of all)" in line
    assert sum("<- next" in line for line in lines) == 1
    assert [line for line in status_lines(straight) if line.startswith("model, data    baseline, squeezenet1_1, ")]


def test_the_plan_names_each_network_and_its_rungs():
    first, *others = settings_of_networks(MODELS, **(CHOICES | {"max_epochs": 9}))
    text = "\n".join(plan_lines(first, prepare_inputs(first, others)))
    assert "model     baseline: " in text
    assert "model     squeezenet1_1: " in text
    assert "trials    9 of all networks together" in text
    assert "1, 3, 9 (baseline); 1, 3, 9 (squeezenet1_1)" in text
    assert "the 2 networks are compared by the best validation top-1 within equal seconds" in text


def test_all_networks_see_the_same_drawings_and_share_what_is_not_their_own():
    each = settings_of_networks(["baseline", "resnet50"], seed=2)
    assert {settings.classes for settings in each} == {each[1].classes}
    assert {settings.num_samples for settings in each} == {16 + 6}
    within = settings_of_networks(["baseline", "resnet50"], gpu_hours=8.0)
    assert {settings.num_samples for settings in within} == {BUDGET_SAMPLES}, "the budget ends it"
    assert [settings.max_epochs for settings in each] == [27, 4]
    assert check_networks(each) == each
    with pytest.raises(ValueError, match="networks of one search share --seed, got 2 for baseline and 1 for resnet50"):
        check_networks([each[0], replace(each[1], seed=1)])
    with pytest.raises(ValueError, match="each network is searched once"):
        check_networks([each[0], each[0]])


def test_weights_of_one_network_are_refused_for_several(tmp_path):
    (tmp_path / "w.pt").touch()
    with pytest.raises(ValueError, match=r"--weights must be one of auto, imagenet, none where several networks"):
        check_networks(settings_of_networks(MODELS, weights=str(tmp_path / "w.pt")))
