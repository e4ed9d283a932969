"""The contract of backends: in this process, on a simulated clock, on Ray, a search hears and says the same."""

import pytest

from tests.support.in_process import InProcessBackend
from tests.support.jobs import decode_doodles, make_job
from tests.support.small_training import CONFIG
from tune_sketch.backend.cluster import stop_ray
from tune_sketch.backend.ray_backend import RayBackend
from tune_sketch.backend.simulated import Curve, SimulatedBackend
from tune_sketch.config.settings import Settings
from tune_sketch.events import EpochReport
from tune_sketch.storage.facts import GpuSharing
from tune_sketch.storage.run_directory import RunDirectory

NUM_EPOCHS = 3


def run_simulated(jobs, on_report, folder):
    curve = Curve([0.25] * NUM_EPOCHS, [1.0] * NUM_EPOCHS, [1.0] * NUM_EPOCHS)
    SimulatedBackend(lambda job: curve, num_workers=2).simulate(iter(jobs), on_report)


def run_backend(backend, jobs, on_report, folder):
    settings = Settings("baseline", classes=4, per_class=12, image_px=32, max_concurrent=2)
    backend.start()
    workers = backend.allocate(settings, 2, GpuSharing(1))
    backend.run(iter(jobs), on_report, workers, RunDirectory(folder / "run"))


BACKENDS = {
    "in process": lambda *how: run_backend(InProcessBackend(), *how),
    "simulated": run_simulated,
    "ray": lambda *how: run_backend(RayBackend(), *how),
}


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    return decode_doodles(tmp_path_factory.mktemp("decoded"))


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.real] * (name == "ray")) for name in BACKENDS],
)
def run(request):
    """Run jobs on a backend, in a folder, telling every report."""
    yield BACKENDS[request.param]
    if request.param == "ray":
        stop_ray()


@pytest.fixture
def job_of(decoded, tmp_path):
    """A job of three epochs, by its number."""

    def make(number, **changes):
        folder = tmp_path / str(number)
        folder.mkdir(exist_ok=True)
        return make_job(folder, decoded, CONFIG | {"epochs": NUM_EPOCHS}, key=f"trial-{number:04d}", **changes)

    return make


class Listener:
    """Notes what is reported, and stops a training after its last epoch, or earlier where that is wanted."""

    def __init__(self, **last):
        self.heard, self.last = {}, last

    def __call__(self, key, report):
        assert isinstance(report, EpochReport)
        self.heard.setdefault(key, []).append(report)
        return "stop" if report.number == self.last.get(key.replace("-", "_"), NUM_EPOCHS) else "continue"

    def numbers(self):
        return {key: [report.number for report in reports] for key, reports in self.heard.items()}


def test_every_epoch_is_reported_once_and_in_order_until_the_search_says_stop(run, job_of, tmp_path):
    listener = Listener(trial_0001=1)
    run([job_of(number) for number in range(3)], listener, tmp_path)
    assert listener.numbers() == {"trial-0000": [1, 2, 3], "trial-0001": [1], "trial-0002": [1, 2, 3]}
    for report in (report for reports in listener.heard.values() for report in reports):
        assert {"val_top1", "val_loss", "epoch_seconds"} <= report.metrics.keys()
        assert 0 <= report.metrics["val_top1"] <= 1
        assert report.metrics["epoch_seconds"] > 0
        assert report.worker.node
        assert report.checkpoint_epoch == report.number, "a checkpoint after every epoch was asked for"


def test_a_training_that_goes_on_reports_the_epoch_of_its_checkpoint_first(run, job_of, tmp_path):
    run([job_of(0)], Listener(trial_0000=2), tmp_path)
    listener = Listener()
    run([job_of(0, num_recorded=2)], listener, tmp_path)
    assert listener.numbers() == {"trial-0000": [2, 3]}


def test_a_none_among_the_jobs_is_asked_again_after_the_next_report(run, job_of, tmp_path):
    listener = Listener()

    def jobs():
        yield job_of(0)
        while len(listener.heard.get("trial-0000", ())) < 2:
            yield None
        yield job_of(1)

    run(jobs(), listener, tmp_path)
    assert listener.numbers() == {"trial-0000": [1, 2, 3], "trial-0001": [1, 2, 3]}


def test_no_jobs_are_no_error(run, tmp_path):
    listener = Listener()
    run([], listener, tmp_path)
    assert listener.heard == {}


class SearchError(Exception):
    """Something that a search may raise."""


def test_an_error_of_the_search_comes_out_as_it_is(run, job_of, tmp_path):
    def on_report(key, report):
        raise SearchError("the disk is full")

    with pytest.raises(SearchError, match="the disk is full"):
        run([job_of(0)], on_report, tmp_path)


def test_an_error_of_the_queue_comes_out_as_it_is(run, job_of, tmp_path):
    def jobs():
        yield job_of(0)
        raise SearchError("no proposal")

    with pytest.raises(SearchError, match="no proposal"):
        run(jobs(), Listener(), tmp_path)
