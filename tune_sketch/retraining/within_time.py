"""Retrains what time allows, so that there is a network when it is over."""

import shutil
import time
from dataclasses import asdict, replace

from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import OF_SEARCH, Trial
from tune_sketch.formatting import duration_text, name_of
from tune_sketch.retraining.time_plan import Planned, plan_text
from tune_sketch.retraining.timetable import PLAN_NOTE, Timetable
from tune_sketch.schedulers.rungs import best_own_network
from tune_sketch.storage.journal import Journal
from tune_sketch.storage.run_directory import RunDirectory


class TimedRace:
    """The retrainings that fit into the time that is left, decided anew whenever a worker is free."""

    def __init__(self, journal: Journal, timetable: Timetable, *, seed: int) -> None:
        self.journal, self.timetable, self.seed = journal, timetable, seed
        self.known = set(journal.retrainings)  # before this session

    def plan(self) -> list[Planned]:
        """The retrainings to begin from now on."""
        num_begun = len(set(self.journal.retrainings) - self.known)
        num_cold = max(0, self.timetable.num_workers - num_begun)
        return self.timetable.plan(self.end - time.monotonic(), num_cold)

    @property
    def end(self) -> float:
        """When the retrainings must stop, and the last step after them, were one more begun."""
        return self.timetable.retraining_end(max(len(self.journal.retrainings) + 1, self.timetable.num_workers))

    def unfinished(self) -> list[Trial]:
        """Retrainings that an earlier session began, of those that are finalists still."""
        numbers = {candidate.number for candidate in self.timetable.candidates()}
        return [
            trial
            for trial in self.journal.retrainings.values()
            if trial.number in numbers and trial.is_unfinished and not trial.is_of_search
        ]

    def propose(self) -> Trial | None:
        """The next retraining, recorded; None where no other fits."""
        for planned in self.plan():
            config = self.journal.trials[planned.number].config | {"epochs": planned.num_epochs}
            seed = derive_seed(self.seed, "confirm", planned.seed_index)
            return self.journal.add_retraining(planned.number, planned.seed_index, config, seed)
        return None

    def begin(self) -> str:
        """Note what is planned, with which the search is over; in words."""
        candidates, planned = self.timetable.candidates(), self.plan()
        text = plan_text(candidates, planned)
        self.journal.note(
            PLAN_NOTE,
            {
                "total_seconds": self.timetable.total_seconds,
                "planned": [asdict(one) for one in planned],
                "text": text,
            },
        )
        going_on = [f"{name_of(trial)} goes on" for trial in self.unfinished()]
        seconds = max(0.0, self.end - time.monotonic())
        return f"retraining within {duration_text(seconds)}: {', '.join([*going_on, text])}"

    def settle(self, run: RunDirectory) -> str:
        """End what time has cut and is no shorter than any may be; where there is no network, take the search's own.

        What was done, in words.
        """
        least = {candidate.number: candidate.least_epochs for candidate in self.timetable.candidates()}
        cut = [trial for trial in self.unfinished() if len(trial.epochs) >= least[trial.number]]
        lines = [
            f"{name_of(trial)} counts with the {len(trial.epochs)} of {trial.config['epochs']} epochs that it had"
            for trial in cut
        ]
        for trial in cut:
            self.journal.end(trial.key, "completed")
        if not self.has_network():
            adopted = adopt_best(run, self.journal)
            if adopted is not None:
                lines.append(
                    f"no retraining fitted into the time: trial {adopted.number}'s own network is taken, with the "
                    f"{len(adopted.epochs)} epochs that it had in the search"
                )
        return "\n".join(lines) or f"retrained; {self.timetable.text()}"

    def has_network(self) -> bool:
        """Whether any retraining has come to its end."""
        return any(trial.status == "completed" for trial in self.journal.retrainings.values())

    def insist(self) -> Trial:
        """A retraining of the best, as short as it may be, whatever time it is."""
        best = self.timetable.candidates()[0]
        indices = [t.seed_index or 0 for t in self.journal.retrainings.values() if t.number == best.number]
        index = 1 + max(indices, default=0)
        config = self.journal.trials[best.number].config | {"epochs": best.least_epochs}
        return self.journal.add_retraining(best.number, index, config, derive_seed(self.seed, "confirm", index))


def adopt_best(run: RunDirectory, journal: Journal) -> Trial | None:
    """Take the best network that the search itself trained for a retraining, with its own seed and epochs.

    It is the best of those whose checkpoint is there. None where none is.
    """
    trial = best_own_network([trial for trial in journal.trials if run.checkpoints(trial.key).is_dir()])
    if trial is None:
        return None
    config = trial.config | {"epochs": len(trial.epochs)}
    adopted = journal.add_retraining(trial.number, OF_SEARCH, config, trial.seed)
    shutil.copytree(run.checkpoints(trial.key), run.checkpoints(adopted.key), dirs_exist_ok=True)
    for epoch in trial.epochs:
        journal.record_epoch(adopted.key, replace(epoch, decision=None))
    adopted = journal.find(adopted.key)
    return journal.end(adopted.key, "completed") if adopted.is_unfinished else adopted
