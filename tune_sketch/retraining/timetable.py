"""Keeps a run within --total-time: says when the search and when the retrainings must stop, from what was measured."""

import math
import statistics
import time
from collections.abc import Sequence

from tune_sketch.config.total_time import (
    ENDING_STARTS,
    KEPT_LAST_STEP_LENGTH,
    LEAST_LAST_STEP_LENGTH,
    REPORT_SECONDS,
    START_SECONDS,
)
from tune_sketch.events import Trial
from tune_sketch.formatting import duration_text
from tune_sketch.retraining.last_step import growth_of_epochs, length_of_last_step
from tune_sketch.retraining.time_plan import Candidate, Planned, find_candidates, plan_retrainings
from tune_sketch.schedulers.rungs import best_own_network
from tune_sketch.schedulers.stop_signal import SPENT, StopSignal
from tune_sketch.search_spaces.common import fewest_epochs
from tune_sketch.storage.facts import Facts
from tune_sketch.storage.history import History
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.spent import measure_spent

PLAN_NOTE = "retraining_plan"  # in the journal: with it the search is over, until there is more time
SPARE_EPOCHS = 2  # of the best trial, from the moment at which the search must stop until it does
NUM_PAUSES = 20  # between two looks at the search's end, each as long as a look


class Timetable:
    """When the parts of a run must end, as seconds of time.monotonic. The time of earlier sessions counts."""

    def __init__(self, facts: Facts, journal: Journal, num_workers: int) -> None:
        assert facts.division is not None
        self.facts, self.num_workers = facts, num_workers
        self.history: History = journal
        data = facts.data
        self.growth = growth_of_epochs(data.num_train, data.num_validation)  # of an epoch's time, in the last step
        # The time of the last step over that of the retraining which it follows; 0: there is none.
        self.last_step = length_of_last_step(data.num_train, data.num_validation) if facts.settings.last_step else 0.0
        spent = measure_spent(facts.sessions, journal, journal.clock())
        self.end = time.monotonic() + facts.division.total_seconds - spent.total

    def candidates(self) -> list[Candidate]:
        settings, history = self.facts.settings, self.history
        fewest = {own.model: fewest_epochs(self.facts.of(own.model).limits) for own in self.facts.networks}
        return find_candidates(
            history.trials,
            settings.finalists,
            history.retrainings.values(),
            fewest_epochs=fewest or fewest_epochs(self.facts.limits),
        )

    def start_seconds(self) -> float:
        """From a process's start to its first epoch: the slowest of the first ones, where there were any."""
        starts = [session.started_at for session in self.facts.sessions]
        measured = [
            first.recorded_at - trial.started_at - first.seconds
            for trial in self.history.trials[: self.num_workers]
            for first in trial.epochs[:1]
            if not any(trial.started_at < start < first.recorded_at for start in starts)  # begun in another session
        ]
        return max(0.0, *measured) if measured else START_SECONDS

    def ending_seconds(self, num_networks: int) -> float:
        """Of test and report: as many starts, and the test at the speed of validation."""
        rounds = -(-num_networks // self.num_workers)
        return REPORT_SECONDS + ENDING_STARTS * self.start_seconds() + rounds * self.test_seconds()

    def test_seconds(self) -> float:
        """Of one network on the test split, from what an epoch takes beside its training."""
        data = self.facts.data
        validations = [
            max(0.0, epoch.seconds - data.num_train / rate)
            for trial in self.history.trials
            for epoch in trial.epochs
            if (rate := epoch.metrics.get("images_per_second", 0.0)) > 0
        ]
        return statistics.median(validations) * data.num_test / max(1, data.num_validation) if validations else 0.0

    def plan(self, seconds: float, num_cold: int | None = None) -> list[Planned]:
        """The retrainings that fit into the given seconds."""
        return plan_retrainings(
            self.candidates(),
            self.history.retrainings,
            seconds=seconds,
            num_workers=self.num_workers,
            mean_seeds=self.facts.settings.retraining_seeds,
            start_seconds=self.start_seconds(),
            num_cold=num_cold,
            last_step=self.last_step,
        )

    def search_end(self) -> float:
        """When the search must stop: all retrainings and the last step have time, or as much as is kept for them.

        Where not even one retraining fits into its share, time is kept for the last step of the search's own network;
        where not even a short one fits into its share, the search may have it all.
        """
        division = self.facts.division
        assert division is not None
        if self.is_search_over():
            return float("-inf")
        wanted = self.plan(float("inf"))
        seconds = max((planned.ends_after for planned in wanted), default=0.0)
        kept = min(division.retraining_seconds, seconds) + min(division.last_step_seconds, self.last_step_seconds())
        if not self.plan(kept) and not any(trial.is_unfinished for trial in self.history.retrainings.values()):
            lengths = (LEAST_LAST_STEP_LENGTH, KEPT_LAST_STEP_LENGTH)
            least, most = (self.own_last_step_seconds(length) for length in lengths)
            kept = min(division.last_step_seconds, most) if least <= division.last_step_seconds else 0.0
        return self.retraining_end(max(1, len(wanted))) - kept

    def last_step_seconds(self) -> float:
        """Kept for the last step of the best: as long as its retraining, where that was begun."""
        candidates = self.candidates()
        if not self.last_step or not candidates:
            return 0.0
        best = candidates[0]
        begun = [int(t.config["epochs"]) for t in self.history.retrainings.values() if t.number == best.number]
        return self.last_step * (begun[-1] if begun else best.epochs) * best.epoch_seconds

    def own_last_step_seconds(self, length: float) -> float:
        """Of a last step of the best network that the search itself has; its trial may go on for SPARE_EPOCHS."""
        best = best_own_network(self.history.trials)
        if not self.last_step or best is None:
            return 0.0
        seconds = best.train_seconds * (1 + SPARE_EPOCHS / len(best.epochs))
        return self.start_seconds() + length * self.growth * seconds

    def is_search_over(self) -> bool:
        return is_search_over(self.history, self.total_seconds)

    def retraining_end(self, num_retrainings: int) -> float:
        """When a number of retrainings must stop, and the last step after them, so that all can be tested."""
        return self.end - self.ending_seconds(num_retrainings + bool(self.last_step))

    def last_step_epochs(self, retraining: Trial) -> int:
        """How many epochs of a last step fit that follows such a retraining."""
        seconds = self.retraining_end(len(self.history.retrainings)) - time.monotonic() - self.start_seconds()
        return math.floor(max(0.0, seconds) * len(retraining.epochs) / (self.growth * retraining.train_seconds))

    def text(self) -> str:
        """Where the time went until now, for the screen."""
        return f"{duration_text(max(0.0, self.end - time.monotonic()))} of {duration_text(self.total_seconds)} are left"

    @property
    def total_seconds(self) -> float:
        assert self.facts.division is not None
        return self.facts.division.total_seconds


def is_search_over(history: History, total_seconds: float) -> bool:
    """Whether retraining was begun, in this session or an earlier one, with no more time since."""
    note = history.notes.get(PLAN_NOTE)
    return note is not None and note["total_seconds"] >= total_seconds


class SearchEnd:
    """Sets the time at which the search stops, anew after epochs. A callback of the search.

    Before the first epoch nothing stops it: a search without a single one has no network. A look goes over all epochs
    so far, so it waits NUM_PAUSES times as long as the last one took: at most a twentieth of the driver's time.
    """

    def __init__(self, timetable: Timetable, stop: StopSignal, trials: Sequence[Trial]) -> None:
        self.timetable, self.stop, self.trials = timetable, stop, trials
        self.budget_end, stop.deadline = stop.deadline, None  # of --time-budget
        self.next_look = 0.0
        self.look()

    def on_epoch(self, trial: Trial) -> None:
        if (begun := time.monotonic()) >= self.next_look:
            self.look()
            now = time.monotonic()
            self.next_look = now + NUM_PAUSES * (now - begun)

    def on_end(self, trial: Trial) -> None:
        """Nothing: time is looked at after epochs."""

    def look(self) -> None:
        if not any(trial.epochs for trial in self.trials):
            return
        end = self.timetable.search_end()
        if self.budget_end is not None and self.budget_end < end:
            self.stop.deadline, self.stop.deadline_reason = self.budget_end, SPENT
            return
        if self.timetable.is_search_over():
            self.stop.deadline = end
            self.stop.deadline_reason = (
                f"the search has had its part of {duration_text(self.timetable.total_seconds)}; a longer --total-time "
                "goes on with it"
            )
            return
        kept = duration_text(min(self.timetable.end - end, self.timetable.total_seconds))
        self.stop.deadline = end
        self.stop.deadline_reason = (
            f"the search ends: the last {kept} of {duration_text(self.timetable.total_seconds)} are for retraining, "
            f"{'last step, ' * bool(self.timetable.last_step)}test and report; each training finishes its epoch"
        )
