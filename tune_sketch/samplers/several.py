"""Proposes for several networks: each has a strategy of its own, which sees its own trials as if it were alone."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tune_sketch.events import NETWORK, Proposal, Source, Trial
from tune_sketch.samplers.base import Sampler
from tune_sketch.schedulers.networks import Turn, measure_networks, take_turns
from tune_sketch.storage.history import History

TakeTurns = Callable[..., Turn]


class SeveralNetworks:
    """Asks the sampler of the network whose turn it is. A pure function of the history, as each sampler is."""

    def __init__(self, samplers: Mapping[str, Sampler], num_samples: int, take_turns: TakeTurns = take_turns) -> None:
        """samplers: by network, in the order in which they take turns; num_samples: of all together."""
        self.samplers, self.num_samples, self.take_turns = samplers, num_samples, take_turns
        self.rungs = {name: sampler.task.rungs for name, sampler in samplers.items()}
        self.num_first = max(len(sampler.task.first) for sampler in samplers.values())
        self.views = {name: View() for name in samplers}

    @property
    def stops_trials(self) -> bool:
        return all(sampler.stops_trials for sampler in self.samplers.values())

    def next(self, history: History) -> Proposal | None:
        """The next configuration, its network in it; None when there is none, or none yet."""
        if len(history.trials) >= self.num_samples:
            return None
        turn = self.take_turns(measure_networks(history.trials, self.rungs, self.num_first))
        for name in turn.order:
            view = self.views[name]
            view.update([trial for trial in history.trials if trial.network == name])
            proposal = self.samplers[name].next(view)
            if proposal is not None:
                source = view.source_in_whole(proposal.source)
                return replace(proposal, config={NETWORK: name, **proposal.config}, source=source)
        return None


class View(History):
    """The trials of one network, numbered from 0 and without its name, as its own search would have recorded them."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[Trial] = []  # the same trials as the search has them

    def update(self, whole: list[Trial]) -> None:
        """Take over what is new."""
        known = len(self.whole)
        for number, trial in enumerate(whole):
            if number < known and trial is self.whole[number]:
                continue
            config = {name: value for name, value in trial.config.items() if name != NETWORK}
            self.trials[number : number + 1] = [replace(trial, number=number, config=config)]
        self.whole = whole

    def source_in_whole(self, source: Source) -> Source:
        """A source with the numbers that trials have in the search."""
        numbers = [trial.number for trial in self.whole]
        return replace(
            source,
            parent=None if source.parent is None else numbers[source.parent],
            compared_with=None if source.compared_with is None else tuple(numbers[n] for n in source.compared_with),
        )
