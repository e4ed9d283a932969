"""Samplers over journals in memory, and trials that they propose."""

import itertools

from tune_sketch.events import Source, Trial
from tune_sketch.samplers import SAMPLERS, Sampler
from tune_sketch.samplers.base import SearchTask
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import SPACES, SpaceLimits, paper_configuration
from tune_sketch.storage.journal import Journal

LIMITS = SpaceLimits(max_epochs=9, pretrained=False)


def make_journal() -> Journal:
    """A journal in memory whose clock ticks with every look: nothing happens at one time."""
    ticks = itertools.count(1.0)
    return Journal(clock=lambda: next(ticks))


def make_sampler(
    strategy: str, model: str = "baseline", *, limits: SpaceLimits = LIMITS, num_samples: int = 1000, **task: object
) -> Sampler:
    """A sampler of a model's space that begins with the paper's configuration."""
    how = {"first": [(paper_configuration(model, limits), Source("paper"))], "space": SPACES[model].space} | task
    rungs = rung_epochs(1, limits.max_epochs, 3)
    return SAMPLERS[strategy](SearchTask(limits=limits, rungs=rungs, num_samples=num_samples, **how))


def suggest(sampler: Sampler, journal: Journal) -> Trial | None:
    """Record what the sampler proposes next, if anything."""
    proposal = sampler.next(journal)
    return None if proposal is None else journal.add_trial(proposal, seed=0)
