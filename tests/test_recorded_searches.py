"""Simulated searches come out event by event as they were recorded: a change of structure changes no decision.

python -m tests.test_recorded_searches    records them anew, after a change of what is proposed or decided
"""

import gzip
import json
from pathlib import Path

import pytest

from tests.support.curves import NUM_EPOCHS, make_curve
from tests.support.untrained import make_job
from tune_sketch.backend.simulated import SimulatedBackend
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Source, Trial
from tune_sketch.samplers import SAMPLERS
from tune_sketch.samplers.base import SearchTask
from tune_sketch.schedulers.asha import ASHA, NEVER_STOP
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import SpaceLimits, known_space, paper_configuration
from tune_sketch.storage.journal import Journal

FILE = Path(__file__).parent / "recorded_searches.json.gz"
RECORDED = json.loads(gzip.decompress(FILE.read_bytes()))


class Events:
    """A callback that keeps everything in order."""

    def __init__(self, backend):
        self.backend, self.events = backend, []

    def on_proposal(self, trial: Trial):
        source = {name: value for name, value in vars(trial.source).items() if value is not None}
        self.add("suggest", trial.number, trial.config, trial.params, trial.seed, source)

    def on_epoch(self, trial: Trial):
        self.add("epoch", trial.number, trial.epochs[-1].number, trial.epochs[-1].val_top1)

    def on_end(self, trial: Trial):
        self.add("end", trial.number, trial.status)

    def add(self, what, *values):
        self.events.append(json.loads(json.dumps([what, round(self.backend.now, 6), *values])))


def search(recorded):
    """The events of one simulated search: strategy, model and number of workers are as recorded."""
    limits = SpaceLimits(max_epochs=NUM_EPOCHS, pretrained=recorded["pretrained"])
    rungs = rung_epochs(2, NUM_EPOCHS, 3)
    backend = SimulatedBackend(
        lambda job: make_curve(job.config, derive_seed("recorded", job.seed)), recorded["num_workers"]
    )
    journal, seen = Journal(clock=backend.clock), Events(backend)
    first = [(paper_configuration(recorded["model"], limits), Source("paper"))]
    first += [(params, Source(**source)) for params, source in recorded["earlier"]]
    space, seed = known_space(recorded["model"]).space, recorded["seed"]
    task = SearchTask(space, limits, rungs, recorded["num_samples"], seed, first, recorded["passes"])
    sampler = SAMPLERS[recorded["strategy"]](task)

    def propose():
        proposal = sampler.next(journal)
        if proposal is None:
            return None
        trial = journal.add_trial(proposal, derive_seed(seed, "trial", len(journal.trials)))
        seen.on_proposal(trial)
        return trial

    queue = TrialQueue(journal, [], propose, make_job)
    asha = ASHA(rungs, 3) if sampler.stops_trials else NEVER_STOP
    backend.simulate(queue, Recorder(journal, queue, asha, callbacks=[seen]))
    return seen.events


@pytest.mark.parametrize(
    "recorded", RECORDED, ids=[f"{r['strategy']}-{r['num_workers']}-{r['model']}" for r in RECORDED]
)
def test_the_same_events_come_out(recorded):
    for ours, theirs in zip(search(recorded), recorded["events"], strict=True):
        assert ours == theirs


if __name__ == "__main__":
    again = [recorded | {"events": search(recorded)} for recorded in RECORDED]
    FILE.write_bytes(gzip.compress(json.dumps(again, separators=(",", ":")).encode(), mtime=0))
