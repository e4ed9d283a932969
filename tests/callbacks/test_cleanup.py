"""While trainings run the tables are kept current, and the disk space of ended trials is given back."""

from tests.support.trials import add_trial, make_epoch
from tune_sketch.callbacks import cleanup
from tune_sketch.callbacks.cleanup import Cleanup
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.kept_checkpoints import MOST_FAILED
from tune_sketch.storage.run_directory import RunDirectory


class Stop:
    def __init__(self):
        self.seen = []

    def check_failures(self, trials):
        self.seen.append(len(trials))


def make_checkpoint(run, key):
    run.checkpoints(key).mkdir(parents=True)
    (run.checkpoints(key) / "epoch_0001.pt").write_bytes(b"x")


def test_tables_are_written_now_and_then(tmp_path, monkeypatch):
    run, journal = RunDirectory(tmp_path), Journal()
    now = [1000.0]
    monkeypatch.setattr(cleanup.time, "monotonic", lambda: now[0])
    callback, key = Cleanup(run, journal, Stop()), add_trial(journal).key
    num_rows = []
    for epoch, seconds in ((1, 0.0), (2, 1.0), (3, cleanup.TABLE_SECONDS)):
        now[0] += seconds
        callback.on_epoch(journal.record_epoch(key, make_epoch(epoch)))
        num_rows.append(len(read_csv(run.epochs_csv)))
    assert num_rows == [1, 1, 3]


def test_the_checkpoints_of_an_ended_trial_go_and_those_of_a_retraining_stay(tmp_path):
    run, journal, stop = RunDirectory(tmp_path), Journal(), Stop()
    trial, retraining = add_trial(journal), journal.add_retraining(0, 1, {"epochs": 1}, seed=1)
    for training in (trial, retraining):
        make_checkpoint(run, training.key)
        Cleanup(run, journal, stop).on_end(journal.end(training.key, "completed"))
    assert not run.checkpoints(trial.key).exists()
    assert run.checkpoints(retraining.key).exists(), "it holds the weights that will be tested"
    assert stop.seen == [1]


def test_the_last_trials_that_failed_can_go_on(tmp_path):
    """The machine may have been to blame: they keep their checkpoints, and no more of them than a few."""
    run, journal = RunDirectory(tmp_path), Journal()
    endings = ("failed", "diverged", "out_of_memory", "stopped", *["failed"] * MOST_FAILED)
    for ending in endings:
        trial = add_trial(journal)
        make_checkpoint(run, trial.key)
        Cleanup(run, journal, Stop()).on_end(journal.end(trial.key, ending))
    there = [trial.number for trial in journal.trials if run.checkpoints(trial.key).exists()]
    assert there == list(range(len(endings) - MOST_FAILED, len(endings)))


def test_what_a_kill_left_of_ended_trials_is_swept(tmp_path):
    run, journal = RunDirectory(tmp_path), Journal()
    trials = [add_trial(journal) for _ in range(4)]
    for trial, value in zip(trials[:3], (0.3, 0.6, 0.5), strict=True):
        journal.record_epoch(trial.key, make_epoch(1, value))
        journal.end(trial.key, "stopped")
    for trial in trials:
        make_checkpoint(run, trial.key)
    for keeps_best, expected in ((True, [1, 3]), (False, [3])):  # the best, and the one that goes on
        Cleanup(run, journal, Stop(), keeps_best=keeps_best).sweep()
        assert [trial.number for trial in trials if run.checkpoints(trial.key).exists()] == expected


def test_where_time_may_not_suffice_for_another_the_best_ended_trial_keeps_its_network(tmp_path):
    run, journal, stop = RunDirectory(tmp_path), Journal(), Stop()
    callback = Cleanup(run, journal, stop, keeps_best=True)
    for value in (0.3, 0.6, 0.5, None):
        trial = add_trial(journal)
        make_checkpoint(run, trial.key)
        if value is not None:
            journal.record_epoch(trial.key, make_epoch(1, value))
        callback.on_end(journal.end(trial.key, "diverged" if value is None else "stopped"))
    assert [trial.number for trial in journal.trials if run.checkpoints(trial.key).exists()] == [1]
