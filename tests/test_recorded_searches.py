"""Simulated searches come out event by event as they were recorded: a change of structure changes no decision."""

import gzip
import json
from pathlib import Path

import pytest

from tests.support.curves import NUM_EPOCHS, make_curve
from tests.support.untrained import make_job
from tune_sketch.backend.simulated import SimulatedBackend
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Epoch, Source, Trial
from tune_sketch.samplers import SAMPLERS
from tune_sketch.samplers.base import SearchTask
from tune_sketch.schedulers.asha import ASHA, NEVER_STOP
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import SpaceLimits, known_space, paper_configuration
from tune_sketch.storage.journal import Journal

RECORDED = json.loads(gzip.decompress((Path(__file__).parent / "recorded_searches.json.gz").read_bytes()))


class Events:
    """A callback that keeps everything in order."""

    def __init__(self, backend: SimulatedBackend) -> None:
        self.backend, self.events = backend, []

    def on_epoch(self, trial: Trial) -> None:
        epoch: Epoch = trial.epochs[-1]
        self.events.append(["epoch", round(self.backend.now, 6), trial.number, epoch.number, epoch.val_top1])

    def on_end(self, trial: Trial) -> None:
        self.events.append(["end", round(self.backend.now, 6), trial.number, trial.status])


@pytest.mark.parametrize(
    "recorded", RECORDED, ids=[f"{r['strategy']}-{r['num_workers']}-{r['model']}" for r in RECORDED]
)
def test_the_same_events_come_out(recorded):
    limits = SpaceLimits(max_epochs=NUM_EPOCHS, pretrained=recorded["pretrained"])
    rungs = rung_epochs(2, NUM_EPOCHS, 3)
    backend = SimulatedBackend(
        lambda job: make_curve(job.config, derive_seed("recorded", job.seed)), recorded["num_workers"]
    )
    journal = Journal(clock=backend.clock)
    first = [(paper_configuration(recorded["model"], limits), Source("paper"))]
    first += [(params, Source(**source)) for params, source in recorded["earlier"]]
    sampler = SAMPLERS[recorded["strategy"]](
        SearchTask(
            known_space(recorded["model"]).space,
            limits,
            rungs,
            recorded["num_samples"],
            recorded["seed"],
            first,
            recorded["passes"],
        )
    )
    seen = Events(backend)

    def propose():
        proposal = sampler.next(journal)
        if proposal is None:
            return None
        trial = journal.add_trial(proposal, derive_seed(recorded["seed"], "trial", len(journal.trials)))
        source = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(trial.source).items() if v is not None}
        seen.events.append(
            ["suggest", round(backend.now, 6), trial.number, trial.config, trial.params, trial.seed, source]
        )
        return trial

    queue = TrialQueue(journal, [], propose, make_job)
    asha = ASHA(rungs, 3) if sampler.stops_trials else NEVER_STOP
    backend.simulate(queue, Recorder(journal, queue, asha, callbacks=[seen]))
    for ours, theirs in zip(seen.events, recorded["events"], strict=True):
        assert ours == theirs
