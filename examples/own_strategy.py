"""A search strategy of one's own: change one parameter of the best trial so far.

    python examples/own_strategy.py
    TUNE_SKETCH_EXTENSIONS=examples/own_strategy.py python -m tune_sketch.search --model baseline --strategy one-change

It must be a function of the history alone, with randomness from the seed and the trial's number: then a resumed search
goes on as if it had not been interrupted.
"""

import random

from optuna.samplers import PartialFixedSampler, RandomSampler

from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Source
from tune_sketch.samplers import SAMPLERS, Sampler
from tune_sketch.samplers.base import propose_at_random, propose_from


class OneChange(Sampler):
    """Redraws one parameter, chosen by chance, of the best trial at the first rung."""

    name = "one-change"
    summary = "the best trial so far with one parameter redrawn"

    def propose(self, number, history):
        """The configuration of trial `number`. ASHA compares trials at rungs, and so does this."""
        rung = self.task.rungs[0]
        values = {trial.number: trial.epoch_at(rung).val_top1 for trial in history.trials if trial.epoch_at(rung)}
        if not values:
            return propose_at_random(self.task, number)
        best = history.trials[max(values, key=values.get)]
        seed = derive_seed(self.task.seed, "sampler", number)
        changed = random.Random(seed).choice(sorted(best.params))
        kept = {name: value for name, value in best.params.items() if name != changed}
        sampler = PartialFixedSampler(kept, RandomSampler(seed=seed))
        return propose_from(self.task, sampler, Source("mutated", rung=rung, parent=best.number))


SAMPLERS[OneChange.name] = OneChange


if __name__ == "__main__":
    from tune_sketch import Settings, extend, search

    extend(__file__)
    run = search(
        Settings(
            model="baseline",
            strategy="one-change",
            classes=3,
            per_class=20,
            image_px=32,
            num_samples=6,
            max_epochs=3,
            finalists=1,
            experience=False,  # it would be four of the six trials
        ),
        name="own_strategy",
    )
    print(run.trials[["trial", "source", "status", "best_val_top1"]])
