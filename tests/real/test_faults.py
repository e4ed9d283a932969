"""Real searches on damaged checkpoints, restarted and absent databases, full and read-only disks."""

import contextlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.damage import RunsCode, vouch_for
from tests.support.mounts import mounted, read_only
from tests.support.postgres import PASSWORD, start_postgres
from tests.support.processes import end_family, wait_until_gone
from tests.support.real_search import Search, copy_program, output_of
from tests.support.recorded import check_complete, snapshot
from tune_sketch.backend.base import Workers
from tune_sketch.backend.jobs import job_of
from tune_sketch.events import Trial
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.checkpoints import checkpoint_files, read_newest_checkpoint
from tune_sketch.trainables.training import Metrics

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
# Nothing is stopped at a rung, and trial 0 has 27 epochs.
FEW = ("--num-samples", 3, "--max-epochs", 27, "--grace-epochs", 27, "--finalists", 0, "--cpus-per-trial", 1)
IMPATIENT = """
import sys
import tune_sketch.storage.journal
import tune_sketch.schedulers.recorder
import tune_sketch.search
tune_sketch.storage.journal.PATIENCE_SECONDS = tune_sketch.schedulers.recorder.PATIENCE_SECONDS = 6.0
sys.exit(tune_sketch.search.main(sys.argv[1:]))
"""


@pytest.fixture
def search(tmp_path):
    search = Search(tmp_path, {})
    yield search
    search.close()


def train_undisturbed(run: RunDirectory, trial: Trial, folder: Path) -> list[Metrics]:
    """Metrics of a training from its first to its last epoch in this process, without Ray or checkpoints."""
    from tune_sketch.trainables.job import start

    num_threads = torch.get_num_threads()
    try:
        job = job_of(trial, run, read_facts(run), Workers(1, 1, cpus=1.0, gpus=1.0, num_threads=1))
        epochs, metrics = start(replace(job, checkpoints=str(folder / "none")))
        assert metrics is None
        return [metrics for metrics, _ in epochs]
    finally:
        torch.set_num_threads(num_threads)


def test_damaged_checkpoints_and_a_second_search(search, tmp_path):
    run = search.run
    process = search.start(*FEW, "--max-concurrent", 1)
    search.wait_for_epochs(process, 3)
    end_family(process)
    wait_until_gone(process)
    before = snapshot(run)["trial-0000"]
    assert before.status == "running"

    # Trial 0: one bit of the newest is wrong. Trial 1: the newest is cut, the other is code. Trial 2: not its own.
    for key in ("trial-0001", "trial-0002"):
        shutil.copytree(run.checkpoints("trial-0000"), run.checkpoints(key))
    flipped = checkpoint_files(run.checkpoints("trial-0000"))[0]
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    cut, code = checkpoint_files(run.checkpoints("trial-0001"))
    os.truncate(cut, cut.stat().st_size // 2)
    torch.save({"state": RunsCode(tmp_path / "ran")}, code)
    vouch_for(code)

    process = search.start()
    search.wait_for_epochs(process, len(before.epochs) + 1)
    text = search.finish(search.start(), expected_code=2)
    assert f"is in use by process {process.pid} on {os.uname().nodename}" in text
    text = search.finish(process)
    assert text.count("passing over a damaged checkpoint") == 3
    assert "does not have the sha256 of its manifest" in text
    assert "must have" in text
    assert "is not a checkpoint of tensors and plain values" in text
    assert not (tmp_path / "ran").exists()

    after = snapshot(run)
    assert after["trial-0000"].epochs[: len(before.epochs)] == before.epochs
    for key in ("trial-0000", "trial-0001", "trial-0002"):
        assert after[key].status == "completed"
        undisturbed = train_undisturbed(run, after[key], tmp_path)
        assert [epoch.number for epoch in after[key].epochs] == [metrics["epoch"] for metrics in undisturbed]
        for name in ("train_loss", "train_top1", "val_loss", "val_top1", "val_top5"):
            assert [e.metrics[name] for e in after[key].epochs] == [m[name] for m in undisturbed], (key, name)
    assert "it belongs to trial-0000" in text


def test_weights_that_are_code_are_refused_and_not_run(search, tmp_path):
    torch.save({"conv1.weight": RunsCode(tmp_path / "ran")}, tmp_path / "weights.pt")
    text = search.finish(search.start("--weights", tmp_path / "weights.pt"), expected_code=2)
    assert "holds more than tensors" in text
    assert not (tmp_path / "ran").exists()
    assert not search.run.path.exists()


def test_an_error_in_every_trial_ends_the_search_early(search, tmp_path):
    program = copy_program(tmp_path / "program")
    path = program / "trainables" / "networks" / "baseline.py"
    path.write_text(
        path.read_text() + "\n\ndef build(num_classes, dropout):\n    raise KeyError('my mistake')\n\n\n"
        "import dataclasses\nARCHITECTURE = dataclasses.replace(ARCHITECTURE, build=build)\n"
    )
    search.environment["PYTHONPATH"] = str(program)
    text = search.finish(search.start("--num-samples", 12), expected_code=2)
    assert text.count("every trial fails for one reason, so the search ends: KeyError: 'my mistake'") == 1
    assert "no trial trained a single epoch" in text
    assert "Traceback" not in text
    trials = snapshot(search.run)
    assert 3 <= len(trials) <= 5
    failed = [trial for trial in trials.values() if trial.status == "failed"]
    assert len(failed) >= 3
    for trial in failed:
        saved = search.run.error_file(trial.key).read_text()
        assert saved.startswith("Traceback")
        assert 'trainables/networks/baseline.py", line' in saved
        assert saved.endswith("KeyError: 'my mistake'\n")


def test_data_that_cannot_be_fetched_fail_no_trial(search, tmp_path):
    """The machine's copy is gone, and what lies in the bucket is something else."""
    node, bucket = tmp_path / "node", tmp_path / "bucket"
    search.environment |= {"TUNE_SKETCH_CACHE": bucket.as_uri(), "TUNE_SKETCH_NODE_CACHE": str(node)}
    process = search.start(*FEW, "--max-concurrent", 1, "--max-failures", 1)
    search.wait_for_epochs(process, 1)
    shutil.rmtree(node)
    (meta,) = bucket.rglob("meta.json")
    meta.write_text(meta.read_text().replace('"fingerprint": "', '"fingerprint": "x'))
    text = search.finish(process, expected_code=130)
    assert text.count("it is tried again (retry 1 of 1)") == 1
    assert text.count("cannot be trained, through no fault of its configuration: NotStagedError: ") == 1
    assert "holds another data set, of fingerprint x" in text
    trials = snapshot(search.run)
    assert [(trials[key].status, trials[key].error) for key in trials] == [("completed", ""), ("paused", "")]


def fill_disk(path: Path) -> None:
    """Write a file until nothing more can be written."""
    with open(path, "wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(size))


def test_a_full_disk_pauses_the_search_then_stops_it_and_room_lets_it_go_on(search, tmp_path):
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    run, runs = search.run, search.run.path.parent
    with mounted(runs, "-t", "tmpfs", "-o", "size=64m", "none"):
        process = search.start(*FEW, program=(str(tmp_path / "impatient.py"),))
        search.wait_for_epochs(process, 3)
        fill_disk(runs / "filler")
        wait_for_text(process, "; waiting 6 s for room")
        (runs / "filler").unlink()
        wait_for_text(process, "the search goes on")
        fill_disk(runs / "filler")
        text = search.finish(process, expected_code=2)
        assert text.count("What was recorded is safe") == 1
        assert "Traceback" not in text
        assert "no space left" in text.lower() or "disk is full" in text.lower(), text
        before = snapshot(run)
        assert sum(len(trial.epochs) for trial in before.values()) >= 3
        assert {trial.status for trial in before.values()} <= {"running", "paused", "completed"}
        for key, trial in before.items():
            if trial.is_unfinished and trial.epochs:
                checkpoint = read_newest_checkpoint(run.checkpoints(key))
                assert checkpoint is not None
                assert checkpoint[0] >= len(trial.epochs), "one epoch at most is lost"
        status = search.finish(search.start_command("-m", "tune_sketch.status", run.path))
        assert "a resume would continue" in status

        (runs / "filler").unlink()
        search.finish(search.start())
        check_complete(run)
        after = snapshot(run)
        for key, trial in before.items():
            assert after[key].epochs[: len(trial.epochs)] == trial.epochs
        search.close()


def wait_for_text(process, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in output_of(process):
        assert process.poll() is None, output_of(process)
        assert time.monotonic() < deadline, output_of(process)
        time.sleep(0.02)


def test_a_read_only_run_directory_is_said(search):
    search.run.path.mkdir(parents=True)
    shutil.copy(Path(__file__).parents[1] / "data_of_0_1" / "run" / "search.json", search.run.path)
    with read_only(search.run.path):
        text = search.finish(search.start(), expected_code=2)
    assert "error: [Errno 30] Read-only file system" in text
    assert "Traceback" not in text


def test_a_search_goes_on_when_postgresql_restarts(search, tmp_path):
    run = search.run
    with start_postgres(tmp_path) as server:
        process = search.start(*FEW, "--storage", server.url())
        deadline = time.monotonic() + 120
        while sum(len(trial.epochs) for trial in snapshot(run, server.url()).values()) < 4:
            assert process.poll() is None, output_of(process)
            assert time.monotonic() < deadline, output_of(process)
            time.sleep(0.2)
        before = snapshot(run, server.url())
        server.stop()
        time.sleep(3.0)
        assert process.poll() is None
        server.start()
        text = search.finish(process)
        assert "the search cannot be recorded" in text
        after = snapshot(run, server.url())
        assert [after[f"trial-{number:04d}"].status for number in range(3)] == ["completed"] * 3
        for key, trial in after.items():
            assert [epoch.number for epoch in trial.epochs] == list(range(1, len(trial.epochs) + 1))
            if key in before:
                assert trial.epochs[: len(before[key].epochs)] == before[key].epochs
        assert after["retraining-0000-01"].test is not None
        undisturbed = train_undisturbed(run, after["trial-0000"], tmp_path)
        assert [epoch.val_loss for epoch in after["trial-0000"].epochs] == [m["val_loss"] for m in undisturbed]

        for path in run.path.rglob("*"):
            assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
        assert "needs its password" in search.finish(search.start(), expected_code=2)
        server.stop()
        started = time.monotonic()
        text = search.finish(search.start("--storage", server.url()), expected_code=2)
        assert time.monotonic() - started < 30
        assert "error: the database postgresql://searcher:***@127.0.0.1" in text
        assert "connection" in text
        assert "Traceback" not in text
        assert PASSWORD not in text
