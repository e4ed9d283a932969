"""Strategies to compare with: random search, and Optuna's TPE told each trial's last value."""

from tests.support.searching import make_journal, make_sampler, suggest
from tests.support.trials import train
from tune_sketch.events import Source
from tune_sketch.samplers.baselines import NUM_STARTUP
from tune_sketch.search_spaces import SpaceLimits

LIMITS = SpaceLimits(max_epochs=27, pretrained=False)


def test_random_ignores_what_it_saw():
    configs = []
    for num_epochs in (1, 9):
        journal, sampler = make_journal(), make_sampler("random", limits=LIMITS)
        for index in range(20):
            train(journal, suggest(sampler, journal), [0.1 * (index % 7)] * num_epochs)
        configs.append([trial.config for trial in journal.trials])
    assert configs[0] == configs[1]
    assert [trial.source for trial in journal.trials[1:]] == [Source("random")] * 19
    rates = [config["learning_rate"] for config in configs[0][1:]]
    assert min(rates) < 1e-4
    assert max(rates) > 1e-2


def test_tpe_is_told_last_values_of_any_epoch_in_the_order_in_which_they_came():
    journal, sampler = make_journal(), make_sampler("tpe", limits=LIMITS)
    trials = [suggest(sampler, journal) for _ in range(12)]
    for trial in reversed(trials):
        train(journal, trial, [0.01 * trial.number + 0.1 * e for e in range((1, 3, 9)[trial.number % 3])], "stopped")
    proposal = sampler.next(journal)
    assert proposal.source == Source("tpe", num_values=12)
    told = [trial.value for trial in sampler.study.trials if trial.value is not None]
    assert told == [trial.epochs[-1].val_top1 for trial in reversed(journal.trials)]


def test_tpe_draws_at_random_before_it_was_told_enough():
    journal, sampler = make_journal(), make_sampler("tpe", limits=LIMITS)
    for number in range(NUM_STARTUP + 3):
        trial = suggest(sampler, journal)
        if number:
            assert trial.source == Source("tpe" if number >= NUM_STARTUP else "random", num_values=number)
        train(journal, trial, [0.5], "stopped")


def test_what_runs_or_never_trained_is_not_told():
    journal, sampler = make_journal(), make_sampler("tpe", limits=LIMITS)
    train(journal, suggest(sampler, journal), [0.5])
    train(journal, suggest(sampler, journal), [], "failed")
    assert sampler.next(journal).source.num_values == 0
    journal.end("trial-0000", "diverged")
    assert sampler.next(journal).source.num_values == 1
