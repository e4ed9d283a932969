"""Any sequence of suggestions, epochs, kills and resumes: nothing recorded is lost, changed or written twice."""

import collections
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from optuna.storages.journal._storage import JournalOperation

from tests.support.trials import add_trial, make_metrics, make_trial
from tests.support.untrained import make_job
from tune_sketch.events import DeathReport, EndingReport, EpochReport, Trial, Worker
from tune_sketch.schedulers.asha import ASHA
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.storage.database import open_log
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.reading import load

ASHA_OF_TESTS = ASHA([1, 3, 6], 2)
NUM_SAMPLES = 8
MAX_DEATHS = 2
VALUES = st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5])


class Killed(BaseException):
    """The driver is gone at this moment."""


class SearchMachine(RuleBasedStateMachine):
    """A search over a log file, and a model of what it must have recorded: what each trial was told and when."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.path = self.folder / "journal.log"
        self.arrivals: list[tuple[str, int, float]] = []  # (trial, epoch, value) in the order of recording
        self.endings: dict[str, str] = {}
        self.training: dict[str, int] = {}  # epochs that the process of each handed-out job has trained
        self.stopping = False
        self.num_trials = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        self.open(Journal(open_log(self.path), "s", create=True))

    def open(self, journal: Journal) -> None:
        """Build the parts of a new or resumed session."""
        self.journal, self.stopping, self.training = journal, False, {}
        unfinished = [trial for trial in journal.trials if trial.is_unfinished]
        self.queue = TrialQueue(journal, unfinished, self.propose, make_job, lambda: not self.stopping)
        self.recorder = Recorder(
            journal,
            self.queue,
            ASHA_OF_TESTS,
            max_failures=MAX_DEATHS,
            stop_requested=lambda: self.stopping,
            say=lambda line: None,
        )

    def propose(self) -> Trial | None:
        return add_trial(self.journal, epochs=6) if len(self.journal.trials) < NUM_SAMPLES else None

    @rule(num_lost=st.integers(1, 3))
    def start_a_training(self, num_lost: int) -> None:
        """A process is free: it takes the next job, and trains the last recorded epochs again, or reports them."""
        job = next(self.queue, None)
        self.num_trials = len(self.journal.trials)
        if job is not None:
            assert job.key not in self.training, "one process for each training"
            assert job.key not in self.endings, "what has ended is not trained again"
            self.training[job.key] = max(0, len(self.journal.find(job.key).epochs) - num_lost)

    @precondition(lambda self: self.training)
    @rule(data=st.data(), value=VALUES)
    def train_an_epoch(self, data: st.DataObject, value: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.training)))
        epoch = self.training[key] + 1
        self.note_epoch(key, epoch, value)
        verdict = self.recorder(key, EpochReport(epoch, make_metrics(value), Worker("here", 1), epoch))
        self.act_on(key, epoch, verdict)

    def note_epoch(self, key: str, epoch: int, value: float) -> None:
        """Once only: an epoch that is trained again after a kill counts as it was."""
        if epoch > sum(other == key for other, _, _ in self.arrivals):
            self.arrivals.append((key, epoch, value))

    def act_on(self, key: str, epoch: int, verdict: str) -> None:
        """The verdict, as the model expects it."""
        has_news = epoch == sum(other == key for other, _, _ in self.arrivals)
        if has_news and self.is_stopped(key, epoch):
            self.endings[key] = "stopped"
        elif has_news and epoch == 6:
            self.endings[key] = "completed"
        ends = key in self.endings or (has_news and self.stopping)
        assert verdict == ("stop" if ends else "continue")
        self.training[key] = epoch
        if ends:
            del self.training[key]

    def is_stopped(self, key: str, epoch: int) -> bool:
        """ASHA's rule, over those that arrived at the rung before."""
        if epoch not in (1, 3):
            return False
        at_rung = [(other, value) for other, number, value in self.arrivals if number == epoch]
        rank = [other for other, _ in at_rung].index(key)
        before = [make_trial(number, [value] * epoch) for number, (_, value) in enumerate(at_rung[:rank])]
        decision = ASHA_OF_TESTS.decide(make_trial(99, [at_rung[rank][1]] * epoch), before)
        return decision is not None and decision.verdict == "stop"

    @precondition(lambda self: self.training)
    @rule(data=st.data(), status=st.sampled_from(["diverged", "failed", "out_of_memory"]))
    def end_by_itself(self, data: st.DataObject, status: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.training)))
        assert self.recorder(key, EndingReport(status, "why")) == "stop"
        self.endings[key] = status
        del self.training[key]

    @precondition(lambda self: self.training)
    @rule(data=st.data())
    def lose_a_process(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.training)))
        num_before = self.recorder.num_deaths.get(key, 0)
        assert self.recorder(key, DeathReport("its process died")) == "stop"
        del self.training[key]
        if num_before == MAX_DEATHS:
            self.endings[key] = "failed"

    @rule()
    def ask_to_stop(self) -> None:
        self.stopping = True

    @rule(torn=st.integers(0, 200))
    def kill_and_resume(self, torn: int) -> None:
        """The driver dies between two events, or in the middle of writing one."""
        with open(self.path, "ab") as file:
            file.write((b'{"op_code": 8, "worker_id": "' + b"x" * 200)[:torn])
        self.open(Journal(open_log(self.path), "s"))

    @precondition(lambda self: self.training)
    @rule(data=st.data(), value=VALUES, num_writes=st.integers(0, 5))
    def kill_in_the_middle_of_an_epoch(self, data: st.DataObject, value: float, num_writes: int) -> None:
        """The driver dies after some of the writes that an epoch and its ending take."""
        key = data.draw(st.sampled_from(sorted(self.training)))
        epoch, backend = self.training[key] + 1, self.journal.storage._backend
        append_logs, left = backend.append_logs, [num_writes]

        def write(logs: list) -> None:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            append_logs(logs)

        backend.append_logs = write
        num_before = len(self.journal.find(key).epochs)
        try:
            verdict = self.recorder(key, EpochReport(epoch, make_metrics(value), Worker("here", 1), epoch))
        except Killed:
            if len(load(open_log(self.path), "s").find(key).epochs) > num_before:
                self.note_epoch(key, epoch, value)
            self.open(Journal(open_log(self.path), "s"))
        else:
            del backend.append_logs
            self.note_epoch(key, epoch, value)
            self.act_on(key, epoch, verdict)

    @invariant()
    def the_journal_is_what_the_model_says(self) -> None:
        if not hasattr(self, "journal"):
            return
        epochs = collections.defaultdict(list)
        for key, number, value in self.arrivals:
            epochs[key].append((number, value))
        for trial in self.journal.trials:
            assert [(epoch.number, epoch.val_top1) for epoch in trial.epochs] == epochs.get(trial.key, [])
            if trial.is_unfinished:
                assert trial.key not in self.endings
                assert trial.status == "running" or trial.key not in self.training
            else:
                assert trial.status == self.endings[trial.key]
        assert len(self.journal.trials) == self.num_trials <= NUM_SAMPLES

    @invariant()
    def the_file_is_what_is_in_memory(self) -> None:
        if hasattr(self, "journal"):
            history = load(open_log(self.path, read_only=True), "s")
            assert history.trials == self.journal.trials

    @invariant()
    def decisions_are_those_of_the_order_of_arrival(self) -> None:
        """Stored with the epoch, and equal to ASHA's rule over what was recorded before it."""
        if not hasattr(self, "journal"):
            return
        known: dict[str, Trial] = {}
        for key, number, _ in self.arrivals:
            trial = self.journal.find(key)
            then = replace(trial, epochs=trial.epochs[:number], status="running")
            assert trial.epochs[number - 1].decision == ASHA_OF_TESTS.decide(then, known.values())
            known[key] = then

    @invariant()
    def nothing_is_written_twice(self) -> None:
        if not hasattr(self, "journal"):
            return
        written = collections.Counter()
        *lines, _ = self.path.read_bytes().split(b"\n")
        for event in map(json.loads, lines):
            if event["op_code"] == JournalOperation.SET_TRIAL_USER_ATTR:
                written.update((event["trial_id"], name) for name in event["user_attr"] if name.startswith("epoch_"))
        assert set(written.values()) <= {1}


TestSearch = SearchMachine.TestCase
TestSearch.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
