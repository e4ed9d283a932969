"""The contract of strategies: a pure function of the history, in the space, that begins as told and ends."""

from dataclasses import replace

import pytest

from tests.support.curves import NUM_EPOCHS, make_curve
from tests.support.searching import make_journal, make_sampler, suggest
from tests.support.trials import train
from tests.support.untrained import make_job
from tune_sketch.backend.simulated import SimulatedBackend
from tune_sketch.config.seeds import derive_seed
from tune_sketch.events import Source, SourceKind
from tune_sketch.samplers import SAMPLERS, Sampler
from tune_sketch.schedulers.asha import ASHA, NEVER_STOP
from tune_sketch.schedulers.queue import TrialQueue
from tune_sketch.schedulers.recorder import Recorder
from tune_sketch.search_spaces import SPACES, SpaceLimits, configuration_of, paper_configuration
from tune_sketch.storage.history import History
from tune_sketch.storage.journal import Journal

LIMITS = SpaceLimits(max_epochs=NUM_EPOCHS, pretrained=True)
RUNGS = [1, 3, 9, 27]
pytestmark = pytest.mark.parametrize("strategy", SAMPLERS)


def run_search(sampler, num_workers=3):
    """A simulated search, brought to its end."""
    backend = SimulatedBackend(lambda job: make_curve(job.config, derive_seed("contract", job.seed)), num_workers)
    journal = Journal(clock=backend.clock)

    def propose():
        proposal = sampler.next(journal)
        seed = derive_seed(0, "trial", len(journal.trials))
        return None if proposal is None else journal.add_trial(proposal, seed)

    queue = TrialQueue(journal, [], propose, make_job)
    asha = ASHA(RUNGS, 3) if sampler.stops_trials else NEVER_STOP
    backend.simulate(queue, Recorder(journal, queue, asha))
    return journal


@pytest.fixture
def searched(strategy):
    sampler = make_sampler(strategy, limits=LIMITS, num_samples=26)
    return sampler, run_search(sampler)


def test_it_says_what_it_is(strategy):
    sampler = SAMPLERS[strategy]
    assert issubclass(sampler, Sampler)
    assert sampler.name == strategy
    assert sampler.summary
    assert 0 < sampler.expected_epochs(RUNGS, 3) <= RUNGS[-1]


def test_a_search_comes_to_its_end(strategy, searched):
    sampler, journal = searched
    assert not [trial for trial in journal.trials if trial.is_unfinished]
    most = sampler.most_trials or 26
    assert 10 < len(journal.trials) <= most
    assert sampler.most_trials or len(journal.trials) == 26
    assert {trial.status for trial in journal.trials} <= {"completed", "stopped"}
    assert ("stopped" in {trial.status for trial in journal.trials}) == sampler.stops_trials
    assert sampler.next(journal) is None


def test_the_first_proposals_come_first(strategy):
    warm = {**paper_configuration("baseline", LIMITS), "learning_rate": 0.05}
    first = [
        (paper_configuration("baseline", LIMITS), Source("paper")),
        (warm, Source("warm-start", run="earlier", trial=7)),
    ]
    journal, sampler = make_journal(), make_sampler(strategy, limits=LIMITS, first=first)
    for params, source in first:
        trial = suggest(sampler, journal)
        assert (trial.source, trial.params) == (source, params)
        assert trial.config == configuration_of("baseline", params, LIMITS)
    third = suggest(sampler, journal)
    assert third is None or third.source.kind not in ("paper", "warm-start")


def test_there_are_no_more_than_num_samples(strategy):
    journal, sampler = make_journal(), make_sampler(strategy, limits=LIMITS, num_samples=4)
    for _ in range(4):
        suggest(sampler, journal)
    assert len(journal.trials) == 4
    assert sampler.next(journal) is None
    assert make_sampler(strategy, limits=LIMITS, num_samples=5).next(journal) is not None or strategy == "one-factor"


def test_it_is_a_pure_function_of_the_history(strategy, searched):
    """At every moment a fresh sampler proposes what the one that saw it all does; a proposal changes nothing."""
    _, journal = searched
    moments = sorted(trial.started_at for trial in journal.trials)
    grown = make_sampler(strategy, limits=LIMITS, num_samples=26)
    for number in (1, 5, 12, len(journal.trials) - 1):
        past = as_it_was(journal, moments[number], number)
        before = History(list(past.trials))
        proposal = grown.next(past)
        assert proposal == make_sampler(strategy, limits=LIMITS, num_samples=26).next(past)
        assert proposal == grown.next(past)
        assert past == before
        if proposal is not None:
            assert (proposal.config, proposal.source) == (
                journal.trials[number].config,
                journal.trials[number].source,
            )


def as_it_was(journal, moment, number):
    """The history when trial `number` was proposed, but for what happened at that very moment."""
    trials = []
    for trial in journal.trials[:number]:
        epochs = tuple(epoch for epoch in trial.epochs if epoch.recorded_at <= moment)
        has_ended = trial.ended_at <= moment
        trials.append(
            replace(
                trial,
                epochs=epochs,
                status=trial.status if has_ended else "running",
                ended_at=trial.ended_at if has_ended else None,
            )
        )
    return History(trials)


def test_another_seed_is_another_search_where_chance_has_a_part(strategy):
    configs = []
    for seed in (0, 1):
        journal, sampler = make_journal(), make_sampler(strategy, limits=LIMITS, seed=seed)
        for _ in range(4):
            suggest(sampler, journal)
        configs.append([trial.config for trial in journal.trials[1:]])
    assert (configs[0] == configs[1]) == (strategy == "one-factor")


@pytest.mark.parametrize("model", SPACES)
def test_proposals_lie_in_the_space_with_its_conditional_parameters(strategy, model):
    """momentum is there with sgd alone, decay with a decay alone; each parameter is in its distribution."""
    limits = SpaceLimits(max_epochs=9, pretrained=True)
    journal, sampler = make_journal(), make_sampler(strategy, model, limits=limits, num_samples=40)
    while (trial := suggest(sampler, journal)) is not None:
        assert set(trial.params) == set(trial.distributions)
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            assert distribution._contains(distribution.to_internal_repr(value)), (name, value)
        assert ("momentum" in trial.config) == ("momentum" in trial.params) == (trial.config["optimizer"] == "sgd")
        assert (
            ("decay" in trial.params) == (trial.params["decay_kind"] == "inverse_time") == (trial.config["decay"] > 0)
        )
        assert 1 <= trial.config["epochs"] <= 9
        if strategy != "one-factor":  # whose curves are shorter than the space's trials
            assert trial.config == configuration_of(model, trial.params, limits)
        quality = 0.5 + 0.1 * (trial.config["optimizer"] == "sgd") + 0.1 * (trial.config["decay"] > 0)
        num_epochs = (1, 3, 9)[trial.number % 3] if sampler.stops_trials else 9
        num_epochs = min(num_epochs, trial.config["epochs"])
        status = "completed" if num_epochs == trial.config["epochs"] else "stopped"
        train(journal, trial, [quality * epoch / 9 for epoch in range(1, num_epochs + 1)], status)
    assert {"sgd"} < {trial.config["optimizer"] for trial in journal.trials}
    assert {trial.config["decay"] > 0 for trial in journal.trials} == {True, False}


def test_every_source_says_its_kind_and_refers_to_earlier_trials(strategy, searched):
    _, journal = searched
    for trial in journal.trials:
        source = trial.source
        assert source.kind in SourceKind.__args__
        assert (source.kind == "paper") == (trial.number == 0)
        assert source.parent is None or source.parent < trial.number
        assert source.rung is None or source.rung in RUNGS
        assert all(number < trial.number for number in source.compared_with or ())


def test_failures_do_not_end_a_search_before_its_time(strategy):
    journal, sampler = make_journal(), make_sampler(strategy, limits=LIMITS, num_samples=15)
    while (trial := suggest(sampler, journal)) is not None:
        train(
            journal, trial, [0.5] if trial.number % 3 else [], ("failed", "diverged", "out_of_memory")[trial.number % 3]
        )
    assert len(journal.trials) >= 10
