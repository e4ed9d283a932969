"""One search over several networks: its budget flows to those that earn it, at equal seconds, through any kill."""

import itertools
import math
import time
from dataclasses import replace

import pytest

from tests.support.facts import make_facts
from tests.support.trials import make_trial
from tests.support.untrained import make_job
from tune_sketch.backend.simulated import Curve, SimulatedBackend
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Proposal, Source
from tune_sketch.formatting import duration_text, percent
from tune_sketch.samplers import SAMPLERS
from tune_sketch.samplers.base import SearchTask
from tune_sketch.samplers.several import SeveralNetworks
from tune_sketch.schedulers.asha import ASHA, NEVER_STOP, OfEachNetwork
from tune_sketch.schedulers.networks import FIRST_STEP, MOST_RATIO, measure_networks, take_turns
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.schedulers.rungs import rung_epochs
from tune_sketch.search_spaces import SpaceLimits, known_space, paper_configuration, recipe_configuration
from tune_sketch.standing.turns import explain_turn
from tune_sketch.storage.database import open_log
from tune_sketch.storage.facts import Network, WeightsFacts
from tune_sketch.storage.journal import Journal

EPOCHS = {"resnet50": 9, "densenet121": 9, "baseline": 18}  # most of a trial: rungs differ
RUNGS = {name: rung_epochs(max(1, most // 9), most, 3) for name, most in EPOCHS.items()}
SECONDS = {"resnet50": 6.0, "densenet121": 3.0, "baseline": 1.0}  # of an epoch


class Killed(BaseException):
    """The driver is gone."""


class Search:
    """A search over fake networks in memory. heights: the top-1 that each network's best configuration ends at."""

    def __init__(self, heights, *, path=None, num_workers=1, strategy="incumbent", hidden=""):
        """hidden: the network whose best configurations are far from those that are tried first."""
        self.heights, self.strategy, self.hidden = heights, strategy, hidden
        self.backend = SimulatedBackend(self.curve_of, num_workers)
        self.path = path
        if path is not None and path.exists():
            self.journal = Journal(open_log(path), clock=self.backend.clock)
            self.backend.now = max(epoch.recorded_at for trial in self.journal.trials for epoch in trial.epochs)
        else:
            self.journal = Journal(None if path is None else open_log(path), create=True, clock=self.backend.clock)

        self.spent = sum(trial.train_seconds for trial in self.journal.trials)

    def curve_of(self, job):
        name, config = job.config["network"], job.config
        best, steepness = (-4.9, 1.0) if name == self.hidden else (-3.0, 0.05)
        quality = self.heights[name] * math.exp(-steepness * abs(math.log10(config["learning_rate"]) - best))
        values = [quality * (1 - math.exp(-epoch / 2)) for epoch in range(1, config["epochs"] + 1)]
        return Curve(values, [1 - value for value in values], [SECONDS[name]] * len(values))

    def run(self, *, gpu_seconds=math.inf, num_samples=4000, kill_after=math.inf):
        """To the end of a budget in worker seconds, or until it is killed after a number of epochs."""
        samplers = {}
        for name in self.heights:
            limits = SpaceLimits(EPOCHS[name], pretrained=True)
            first = [(paper_configuration(name, limits), Source("paper"))]
            if self.strategy != "one-factor":
                first.append((recipe_configuration(name, limits), Source("recipe")))
            task = SearchTask(known_space(name).space, limits, RUNGS[name], num_samples, 0, first)
            samplers[name] = SAMPLERS[self.strategy](task)
        several, journal = SeveralNetworks(samplers, num_samples), self.journal

        def propose():
            proposed = several.next(journal)
            seed = derive_seed(0, "trial", len(journal.trials))
            return journal.add_trial(proposed, seed) if isinstance(proposed, Proposal) else proposed

        def is_spent():
            return self.spent >= gpu_seconds

        journal.pause_all()
        unfinished = several.begin(journal)
        queue = TrialQueue(journal, unfinished, propose, make_job, lambda: not is_spent())
        rules = {name: ASHA(own, 3) if several.stops_trials else NEVER_STOP for name, own in RUNGS.items()}
        recorder = Recorder(
            journal,
            queue,
            OfEachNetwork(rules),
            set_aside=lambda trial: several.set_aside(trial, journal),
            callbacks=[self],
            stop_requested=is_spent,
        )
        num_reports = itertools.count(1)

        def on_report(key, report):
            if next(num_reports) > kill_after:
                raise Killed
            return recorder(key, report)

        self.backend.simulate(queue, on_report)
        return self

    def on_epoch(self, trial):
        self.spent += trial.epochs[-1].seconds

    def on_end(self, trial):
        """Nothing: only epochs cost."""

    @property
    def shares(self):
        spent = {name: own.seconds for name, own in self.measured.items()}
        return {name: seconds / sum(spent.values()) for name, seconds in spent.items()}

    @property
    def measured(self):
        rungs = {name: RUNGS[name] for name in self.heights}
        return measure_networks(self.journal.trials, rungs, 1 if self.strategy == "one-factor" else 2)


HEIGHTS = {"resnet50": 0.8, "densenet121": 0.6, "baseline": 0.4}
STEP = FIRST_STEP * SECONDS["resnet50"]  # one epoch of the slowest is its first rung
UNIT = 4 * STEP


def decisions(search):
    """Proposals and decisions, without times."""
    return [
        (t.config, t.seed, t.source, t.params, t.status, [(e.number, e.val_top1, e.decision) for e in t.epochs])
        for t in search.journal.trials
    ]


@pytest.mark.parametrize("num_workers", [1, 4])
@pytest.mark.parametrize("best", HEIGHTS)
def test_the_budget_flows_to_the_best_network_whichever_it_is(best, num_workers):
    heights = dict.fromkeys(HEIGHTS, 0.5) | {best: 0.8}
    search = Search(heights, num_workers=num_workers, strategy="random").run(gpu_seconds=20 * UNIT)
    assert search.shares[best] > 0.7
    assert all(0.03 < share < 0.2 for name, share in search.shares.items() if name != best), search.shares


def test_networks_are_compared_at_equal_seconds_not_at_equal_epochs_or_trials():
    search = Search(HEIGHTS).run(gpu_seconds=3 * STEP)
    spent = {name: own.seconds for name, own in search.measured.items()}
    for name, seconds in spent.items():
        longest = max(b - a for a, b in itertools.pairwise([0, *RUNGS[name]])) * SECONDS[name]
        assert STEP - longest <= seconds <= STEP + longest, "not even by one training"
    epochs = {name: len(own.epochs) for name, own in search.measured.items()}
    assert epochs["baseline"] > 3 * epochs["resnet50"]


def test_what_a_network_reaches_later_does_not_count():
    """The baseline would win after more seconds than the step has."""
    spent = Search(HEIGHTS).run(gpu_seconds=6 * UNIT).measured
    turn = take_turns(spent)
    assert turn.compared_seconds is not None
    for name, value in turn.values.items():
        within = itertools.accumulate(seconds for *_, seconds, _ in spent[name].epochs)
        tops = [e[-1] for e, until in zip(spent[name].epochs, within, strict=True) if until <= turn.compared_seconds]
        assert value == max(tops)


def test_a_trial_waits_at_a_rung_for_the_next_turn_of_its_network_and_goes_on_then():
    search = Search(HEIGHTS).run(gpu_seconds=4 * UNIT)
    gaps = [
        (trial.network, before, after)
        for trial in search.journal.trials
        for before, after in itertools.pairwise(trial.epochs)
        if after.recorded_at - before.recorded_at > SECONDS[trial.network] + 1e-9
    ]
    assert gaps, "some waited"
    assert all(before.decision is not None and before.decision.verdict == "continue" for _, before, _ in gaps)


def test_nothing_is_left_unfinished_when_there_are_no_more_trials_to_come():
    for num_samples in (4, 20):
        search = Search(HEIGHTS).run(num_samples=num_samples)
        assert len(search.journal.trials) == num_samples
        assert {trial.status for trial in search.journal.trials} <= {"completed", "stopped"}


def test_a_turn_is_explained_by_what_was_recorded_when_it_was_given():
    search = Search(HEIGHTS).run(gpu_seconds=8 * UNIT)
    trials, facts = (
        search.journal.trials,
        make_facts(
            networks=tuple(
                Network(name, EPOCHS[name], RUNGS[name][0], WeightsFacts(None, name, pretrained=True))
                for name in HEIGHTS
            )
        ),
    )
    found = {"start": 0, "first": 0, "compared": 0}
    for trial in trials:
        first, *others = explain_turn(facts, trial, trials)
        assert first.startswith(f"network   {trial.network}: ")
        earlier = [e for t in trials for e in t.epochs if e.recorded_at <= trial.started_at and t.network == "baseline"]
        assert f"baseline {duration_text(len(earlier) * SECONDS['baseline'])}" in others[0]
        compared = trial.source.compared_seconds
        if compared is None:
            found["start" if trial.source.turn_seconds is None else "first"] += 1
            continue
        found["compared"] += 1
        within = sorted(earlier, key=by_time)[: int(compared / SECONDS["baseline"])]
        best = max(epoch.val_top1 for epoch in within)
        assert f"baseline {percent(best)}" in others[1]
    assert all(found.values()), found


def by_time(epoch):
    return epoch.recorded_at


def test_a_slow_starter_gets_another_look_and_wins():
    """Its first configurations are poor; the best that can be found is far better than any of the others."""
    heights = {"resnet50": 0.95, "densenet121": 0.5, "baseline": 0.45}
    search = Search(heights, strategy="random", hidden="resnet50").run(gpu_seconds=8 * UNIT)
    assert search.shares["resnet50"] < 0.2
    search.run(gpu_seconds=80 * UNIT)
    assert take_turns(search.measured).order[0] == "resnet50"
    assert search.shares["resnet50"] > 0.5


def test_those_left_behind_get_a_small_part_of_whatever_budget():
    for budget in (40, 70):
        search = Search(HEIGHTS, strategy="random").run(gpu_seconds=budget * UNIT)
        spent = {name: own.seconds for name, own in search.measured.items()}
        assert spent["resnet50"] / spent["baseline"] <= MOST_RATIO + 2
        assert spent["resnet50"] / spent["baseline"] >= MOST_RATIO / 4


@pytest.mark.parametrize("strategy", SAMPLERS)
def test_each_network_has_its_own_space_rungs_and_first_configurations(strategy):
    search = Search(HEIGHTS, strategy=strategy).run(gpu_seconds=8 * UNIT)
    kinds = ["paper"] if strategy == "one-factor" else ["paper", "recipe"]
    for name in HEIGHTS:
        own = [trial for trial in search.journal.trials if trial.network == name]
        assert [trial.source.kind for trial in own[: len(kinds)]] == kinds
        assert all(trial.is_baseline == (trial is own[0]) for trial in own)
        assert max(trial.config["epochs"] for trial in own) == EPOCHS[name]
        rungs = {e.number for trial in own for e in trial.epochs if e.decision is not None}
        assert rungs <= set(RUNGS[name])
        assert (
            own[0].epochs[RUNGS[name][0] - 1].decision is None
            or own[0].epochs[RUNGS[name][0] - 1].decision.num_compared == 0
        )
        for trial in own:
            assert set(trial.params) <= set(trial.config) | {"decay_kind"}
            if trial.source.parent is not None:
                assert search.journal.trials[trial.source.parent].network == name


def test_a_network_proposes_as_if_it_were_alone():
    """Its configurations are those of a search of it alone whose trials end as these did."""
    together = Search(HEIGHTS).run(gpu_seconds=20 * UNIT)
    own = [trial for trial in together.journal.trials if trial.network == "resnet50"]
    alone = Search({"resnet50": HEIGHTS["resnet50"]}).run(num_samples=len(own))
    assert [trial.config for trial in alone.journal.trials] == [trial.config for trial in own]


@pytest.mark.parametrize("kill_after", [1, 3, 7, 20, 61])
def test_a_search_that_is_killed_and_resumed_is_the_same_search(kill_after, tmp_path):
    straight = Search(HEIGHTS).run(gpu_seconds=8 * UNIT)
    killed = Search(HEIGHTS, path=tmp_path / "journal.log")
    with pytest.raises(Killed):
        killed.run(gpu_seconds=8 * UNIT, kill_after=kill_after)
    resumed = Search(HEIGHTS, path=tmp_path / "journal.log").run(gpu_seconds=8 * UNIT)
    assert decisions(resumed) == decisions(straight)


def test_a_search_that_is_extended_is_the_longer_search():
    straight = Search(HEIGHTS).run(gpu_seconds=16 * UNIT)
    extended = Search(HEIGHTS).run(gpu_seconds=5 * UNIT).run(gpu_seconds=16 * UNIT)
    assert decisions(extended) == decisions(straight)


def test_one_network_that_cannot_be_trained_gets_three_trials():
    search = Search(HEIGHTS)
    add = search.journal.add_trial

    def fail_resnet(proposal, seed):
        trial = add(proposal, seed)
        return search.journal.end(trial.key, "out_of_memory") if trial.network == "resnet50" else trial

    search.journal.add_trial = fail_resnet
    search.journal.resume = lambda key: search.journal.find(key)
    search.run(num_samples=60)
    assert search.measured["resnet50"].num_trials == 3
    assert len(search.journal.trials) == 60


def test_no_network_waits_for_another_that_is_training():
    """With more workers than networks, all have work from the start."""
    search = Search(HEIGHTS, num_workers=10)
    search.run(num_samples=10)
    assert {trial.started_at for trial in search.journal.trials} == {0.0}
    assert sorted(own.num_trials for own in search.measured.values()) == [3, 3, 4]


@pytest.mark.slow  # it measures time: no other tests beside it, and no coverage counted
def test_whose_turn_it_is_is_known_within_milliseconds_at_a_thousand_trials():
    trials = [make_trial(number, [0.5] * 5, recorded_at=number) for number in range(1000)]
    trials = [replace(t, config=t.config | {"network": n}) for t, n in zip(trials, itertools.cycle(HEIGHTS))]
    seconds = []
    for _ in range(5):
        begun = time.process_time()
        take_turns(measure_networks(trials, RUNGS, 2))
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.02
