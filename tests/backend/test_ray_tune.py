"""The layer between Ray Tune and a search: jobs go in, reports go out, and errors keep their type."""

import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tests.support.trials import make_metrics, make_trial
from tests.support.untrained import make_job
from tune_sketch.backend.ray_tune import Errors, RayJobs, ReportScheduler, describe_death
from tune_sketch.events import DeathReport, EpochReport, Worker

ROOT = Path(__file__).parents[2]


def make_searcher(jobs, most=9):
    return RayJobs(iter(jobs), lambda num_running: num_running < most, Errors())


def test_jobs_are_handed_out_until_there_are_no_more():
    first, second = make_job(make_trial(0)), make_job(make_trial(1))
    searcher = make_searcher([first, None, second])
    assert searcher.suggest("a") == {"job": first}
    assert searcher.suggest("b") is None, "none now"
    assert searcher.suggest("b") == {"job": second}
    assert searcher.suggest("c") == Searcher.FINISHED


def test_no_more_jobs_are_handed_out_than_there_is_room_for():
    searcher = make_searcher([make_job(make_trial(number)) for number in range(3)], most=2)
    assert [searcher.suggest(name) is not None for name in "abc"] == [True, True, False]
    searcher.on_trial_complete("a", result={})
    assert searcher.suggest("c")["job"].key == "trial-0002"


def test_an_error_of_a_proposal_is_kept_as_it_was():
    def broken():
        raise ValueError("the disk is full")
        yield

    searcher = RayJobs(broken(), lambda num_running: True, Errors())
    with pytest.raises(ValueError, match="the disk is full"):
        searcher.suggest("a")
    assert isinstance(searcher.errors.first, ValueError)


def test_a_report_is_passed_on_and_the_verdict_carried_out():
    heard = []

    def on_report(key, report):
        heard.append((key, report))
        return "continue" if len(heard) == 1 else "stop"

    scheduler = ReportScheduler(on_report, Errors())
    trial = SimpleNamespace(config={"job": make_job(make_trial(7))}, node_ip="10.0.0.7", error_file=None)
    report = EpochReport(1, make_metrics(0.5), Worker("here", 1), 1)
    assert scheduler.on_trial_result(None, trial, {"report": report}) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, trial, {"report": report}) == TrialScheduler.STOP
    scheduler.on_trial_error(None, trial)
    assert heard == [
        ("trial-0007", report),
        ("trial-0007", report),
        ("trial-0007", DeathReport("its process died on 10.0.0.7")),
    ]


def test_a_death_tells_what_is_known_of_it(tmp_path):
    assert describe_death(SimpleNamespace(error_file=None)) == "its process died"
    (tmp_path / "error.txt").write_text("Traceback ...\ntune_sketch.data.NotStagedError: no route to the bucket\n")
    trial = SimpleNamespace(node_ip="10.0.0.7", error_file=str(tmp_path / "error.txt"))
    assert describe_death(trial) == "its process died on 10.0.0.7 (no route to the bucket)"


def test_a_free_process_goes_to_the_newest_trial_that_waits():
    statuses = (Trial.TERMINATED, Trial.PENDING, Trial.RUNNING, Trial.PENDING, Trial.RUNNING)
    trials = [SimpleNamespace(trial_id=str(number), status=status) for number, status in enumerate(statuses)]
    scheduler = ReportScheduler(lambda key, report: "continue", Errors())
    assert scheduler.choose_trial_to_run(SimpleNamespace(get_trials=lambda: trials)) is trials[3]
    assert scheduler.choose_trial_to_run(SimpleNamespace(get_trials=lambda: trials[:1])) is None


def test_rays_snapshots_hold_nothing_of_a_search():
    """Neither the journal nor the queue can be pickled, and no resume needs them from there."""
    for thing in (make_searcher([]), ReportScheduler(lambda key, report: "stop", Errors())):
        assert vars(pickle.loads(pickle.dumps(thing))) == {}


@pytest.mark.real
def test_trials_shorter_than_the_start_of_a_process_let_other_processes_start(tmp_path):
    """As many workers come up as are asked for, and are reused: else a machine that joins late would stay idle."""
    code = f"""
from pathlib import Path
from benchmarks.scale import run_on_ray
[row] = run_on_ray(Path({str(tmp_path)!r}), 8, (0.05,), 1, 2.0)
print(row["workers"], row["trials"])
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    num_workers, num_trials = map(int, answer.stdout.split())
    assert num_workers == 8
    assert num_trials > 0
