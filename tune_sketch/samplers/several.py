"""Proposes for several networks: each has a strategy of its own, which sees its own trials as if it were alone."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tune_sketch.events import NETWORK, Proposal, Source, Trial
from tune_sketch.samplers.base import Sampler
from tune_sketch.schedulers.networks import Spent, Turn, measure_networks, take_turns
from tune_sketch.storage.history import History


class SeveralNetworks:
    """Asks the sampler of the network whose turn it is, a pure function of the history, as each sampler is.

    A trial that reaches a rung when the turn of its network is over is set aside there, and goes on in its next one.
    """

    def __init__(
        self,
        samplers: Mapping[str, Sampler],
        num_samples: int,
        take_turns: Callable[[Mapping[str, Spent]], Turn] = take_turns,
    ) -> None:
        """samplers: by network, in the order in which they take turns; num_samples: of all together."""
        self.samplers, self.num_samples, self.take_turns = samplers, num_samples, take_turns
        self.rungs = {name: sampler.task.rungs for name, sampler in samplers.items()}
        first = [[source.kind for _, source in sampler.task.first] for sampler in samplers.values()]
        self.num_first = max(len(kinds) - kinds.count("experience") for kinds in first)
        self.views = {name: View() for name in samplers}
        self.aside: set[str] = set()  # keys of the trials that wait at a rung

    @property
    def stops_trials(self) -> bool:
        return all(sampler.stops_trials for sampler in self.samplers.values())

    def begin(self, history: History) -> list[Trial]:
        """The trials that an earlier session left in the middle; those that it left at a rung wait for their turn."""
        unfinished = [trial for trial in history.trials if trial.is_unfinished]
        at_rungs = [trial for trial in unfinished if trial.epochs and trial.epochs[-1].decision is not None]
        self.aside = {trial.key for trial in at_rungs}
        return [trial for trial in unfinished if trial.key not in self.aside]

    def next(self, history: History) -> Proposal | Trial | None:
        """The next configuration, its network in it, or a trial that was set aside; None where there is none now."""
        turn = self.turn_of(history)
        for name in turn.order:
            own = [trial for trial in history.trials if trial.network == name]
            aside = [trial for trial in own if trial.key in self.aside]
            is_full = len(history.trials) >= self.num_samples
            if aside and (is_full or len(own) >= self.num_first):
                deepest = min(aside, key=lambda trial: (-len(trial.epochs), trial.number))
                self.aside.remove(deepest.key)
                return deepest
            if is_full:
                continue
            view = self.views[name]
            view.update(own)
            proposal = self.samplers[name].next(view)
            if proposal is not None:
                source = view.source_in_whole(proposal.source)
                source = replace(source, turn_seconds=turn.step_seconds, compared_seconds=turn.compared_seconds)
                return replace(proposal, config={NETWORK: name, **proposal.config}, source=source)
        return None

    def set_aside(self, trial: Trial, history: History) -> bool:
        """Whether a trial that may go on at a rung waits there, because it is not the turn of its network."""
        turn = self.turn_of(history, without=trial.key)
        if trial.network in turn.behind:
            return False
        self.aside.add(trial.key)
        return True

    def turn_of(self, history: History, without: str = "") -> Turn:
        """The network whose turn it is. without: a trial that may not go on."""
        still = self.aside | {without}
        trials = [replace(trial, status="paused") if trial.key in still else trial for trial in history.trials]
        return self.take_turns(measure_networks(trials, self.rungs, self.num_first))


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
