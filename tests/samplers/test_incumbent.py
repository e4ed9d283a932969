"""The default strategy: from the history alone, never mixing epochs, and at once even after a thousand trials."""

import math
import random
import time
from dataclasses import replace

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tests.support.searching import LIMITS, make_journal, make_sampler, suggest
from tests.support.trials import make_metrics
from tests.support.trials import train as record
from tune_sketch.events import Epoch, Source, Trial
from tune_sketch.samplers.incumbent import RECIPE_STEP, IncumbentSampler, MutationSampler, holds, take_step, value_at
from tune_sketch.search_spaces import SPACES, SpaceLimits, configuration_of, paper_configuration, recipe_configuration
from tune_sketch.storage.history import History

RUNGS = [1, 3, 9]
MIN_VALUES = IncumbentSampler.min_values


@pytest.fixture
def journal():
    return make_journal()


def train(journal, trial, num_epochs, status=None, value=None):
    """Record a curve that rises with epochs and is best near a learning rate of 1e-3, and the ending."""
    num_epochs = min(num_epochs, trial.config["epochs"])
    quality = 0.9 - 0.1 * abs(math.log10(trial.config["learning_rate"]) + 3) if value is None else value
    status = status or ("completed" if num_epochs == trial.config["epochs"] else "stopped")
    return record(journal, trial, [quality * (1 - math.exp(-e / 3)) for e in range(1, num_epochs + 1)], status)


def run_trials(journal, sampler, lengths):
    """Suggest and train one trial per length in turn."""
    for num_epochs in lengths:
        train(journal, suggest(sampler, journal), num_epochs)


def values_known(trials, rung):
    return {t.number: epoch.val_top1 for t in trials if (epoch := t.epoch_at(rung)) is not None}


def test_the_first_suggestion_is_the_papers_configuration(journal):
    for model in SPACES:
        for limits in (LIMITS, SpaceLimits(max_epochs=30, pretrained=True)):
            proposal = make_sampler("incumbent", model, limits=limits).next(journal)
            assert proposal.source == Source("paper")
            assert proposal.config == configuration_of(model, paper_configuration(model, limits), limits)


def test_it_asks_the_deepest_rung_with_enough_values(journal):
    sampler = make_sampler("incumbent")
    for index in range(60):
        trial = suggest(sampler, journal)
        for rung in RUNGS:
            num_known = len(values_known(journal.trials[:-1], rung))
            if trial.source.rung == rung:
                assert num_known >= MIN_VALUES
            elif trial.source.kind in ("mutated", "tpe") and rung > trial.source.rung:
                assert num_known < MIN_VALUES
        train(journal, trial, (1, 1, 3, 1, 3, 9)[index % 6])
    assert all(trial.source.kind == "random" for trial in journal.trials[1:MIN_VALUES])
    assert {trial.source.rung for trial in journal.trials} == {None, 1, 3, 9}


def test_until_a_rung_has_enough_values_most_proposals_mutate_the_recipe(journal):
    first = [
        (paper_configuration("baseline", LIMITS), Source("paper")),
        (recipe_configuration("baseline", LIMITS), Source("recipe")),
    ]
    sampler = make_sampler("incumbent", first=first)
    kept = []
    for _ in range(200):
        trial = suggest(sampler, journal)  # none ends: no rung ever has a value
        if trial.source.kind == "mutated":
            assert (trial.source.rung, trial.source.parent) == (None, 1)
            assert trial.params != journal.trials[1].params, "the recipe is trained already"
            kept += [trial.params[name] == value for name, value in first[1][0].items() if name in trial.params]
    kinds = [trial.source.kind for trial in journal.trials]
    assert kinds[:2] == ["paper", "recipe"]
    assert 0.72 < kinds[2:].count("mutated") / 198 < 0.88
    assert kinds[2:].count("mutated") + kinds[2:].count("random") == 198
    assert 0.83 < sum(kept) / len(kept) < 0.92, "six in seven, and of few choices some that are drawn again"


def test_a_rung_holds_the_values_of_its_own_epoch_alone(journal):
    sampler = make_sampler("incumbent")
    run_trials(journal, sampler, [1, 3, 9, 1, 3, 9, 2, 5, 9] * 2)
    sampler.learn(journal)
    for rung, study in {rung: values.study for rung, values in sampler.values.items()}.items():
        expected = []
        for trial in journal.trials:
            if len(trial.epochs) >= rung:
                expected.append(trial.epochs[rung - 1].val_top1)
            elif trial.status == "completed":
                expected.append(trial.epochs[-1].val_top1)  # it ended by itself before this rung
        told = [trial.value for trial in study.get_trials(deepcopy=False) if trial.value is not None]  # not: asked for
        assert sorted(told) == sorted(expected)
    short = [trial for trial in journal.trials if trial.status == "completed" and len(trial.epochs) < 9]
    assert short, "the case of a trial that ended by itself must be part of this test"


def test_failed_and_diverged_trials_give_no_value(journal):
    sampler = make_sampler("incumbent")
    for status in ("failed", "diverged", "out_of_memory"):
        train(journal, suggest(sampler, journal), 0, status)
    sampler.learn(journal)
    assert [len(known) for known in sampler.known.values()] == [0, 0, 0]
    # One that diverged at epoch 3 was fine at epoch 1, and that was measured.
    train(journal, suggest(sampler, journal), 2, "diverged")
    sampler.learn(journal)
    assert [len(known) for known in sampler.known.values()] == [1, 0, 0]


def test_one_in_five_is_random_and_three_in_five_are_mutations(journal):
    run_trials(journal, make_sampler("incumbent"), [1] * 200)
    kinds = [trial.source.kind for trial in journal.trials[MIN_VALUES + 1 :]]
    assert 0.13 < kinds.count("random") / len(kinds) < 0.28
    assert 0.5 < kinds.count("mutated") / len(kinds) < 0.7
    assert set(kinds) == {"random", "mutated", "tpe"}


@pytest.mark.parametrize("model", SPACES)
def test_a_mutation_keeps_most_of_the_best_and_is_another_one(journal, model):
    run_trials(journal, make_sampler("incumbent", model), [1, 1, 3, 1, 3, 9] * 20)
    shares = []
    for trial in journal.trials:
        if trial.source.kind == "mutated":
            rung, parent = trial.source.rung, journal.trials[trial.source.parent]
            known = values_known(journal.trials[: trial.number], rung)
            assert known[parent.number] == max(known.values())
            assert trial.params != parent.params
            drawn = [name for name in trial.params if name in parent.params]
            shares.append(sum(trial.params[name] == parent.params[name] for name in drawn) / len(drawn))
    assert len(shares) > 20
    assert 0.66 < sum(shares) / len(shares) < 0.86, "0.7 of it is kept, and a choice can be drawn as it was"


def position(distribution, value):
    """Where in its range a value is, from 0 to 1, on its own scale."""
    to_scale = math.log if distribution.log else float
    low, high = to_scale(distribution.low), to_scale(distribution.high)
    return (to_scale(value) - low) / (high - low)


def test_eight_random_proposals_in_a_row_cover_every_range_evenly(journal):
    sampler = make_sampler("incumbent", "resnet50")
    suggest(sampler, journal)  # the paper's; no value is ever known, so all others are random
    for _ in range(3):
        drawn = [suggest(sampler, journal).params for _ in range(8)]
        like = journal.trials[-1].distributions
        for name in ("learning_rate", "weight_decay", "rotation_degrees", "zoom"):
            parts = sorted(int(8 * position(like[name], params[name])) for params in drawn)
            assert parts == list(range(8)), name
        assert sorted(params["optimizer"] for params in drawn) == sorted(["sgd", "rmsprop", "adam", "adamw"] * 2)
    rates = [trial.params["learning_rate"] for trial in journal.trials[1:]]
    assert len(set(rates)) == 24, "another one in every block"


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (IntDistribution(3, 6), [3, 4, 5, 6]),
        (IntDistribution(2, 8, step=2), [2, 4, 6, 8]),
        (FloatDistribution(0.0, 0.6, step=0.2), [0.0, 0.2, 0.4, 0.6]),
        (CategoricalDistribution(("a", "b", "c", "d")), ["a", "b", "c", "d"]),
    ],
)
def test_each_value_of_a_grid_has_its_share(distribution, values):
    found = [value_at(distribution, (i + 0.5) / 400) for i in range(400)]
    assert [found.count(value) for value in dict.fromkeys(found)] == [100] * 4
    assert list(dict.fromkeys(found)) == pytest.approx(values) if values[0] != "a" else values
    if not isinstance(distribution, CategoricalDistribution):
        steps = {take_step(distribution, distribution.low, step / 100) for step in range(100)}
        assert sorted(steps) == pytest.approx(values), "a step ends on the grid"


def test_of_equal_values_the_first_is_the_incumbent(journal):
    sampler = make_sampler("incumbent")
    for _ in range(30):
        train(journal, suggest(sampler, journal), 1, value=0.5)
    assert {trial.source.parent for trial in journal.trials if trial.source.kind == "mutated"} == {0}


def test_tpe_finds_the_better_learning_rates(journal):
    run_trials(journal, make_sampler("incumbent"), [9] * 120)

    def distance(kind):
        found = [trial.config["learning_rate"] for trial in journal.trials[40:] if trial.source.kind == kind]
        return sum(abs(math.log10(rate) + 3) for rate in found) / len(found)

    assert distance("tpe") < 0.7 * distance("random")


@pytest.mark.parametrize("model", SPACES)
def test_a_search_with_more_epochs_goes_on_from_the_old_values(journal, model):
    """Old values outside the new ranges neither break TPE nor bring suggestions outside them."""
    run_trials(journal, make_sampler("incumbent", model), [1, 3, 9] * 12)
    assert all(trial.config["epochs"] <= 9 for trial in journal.trials)
    sampler = make_sampler("incumbent", model, limits=SpaceLimits(max_epochs=81, pretrained=False))
    for index in range(40):
        trial = suggest(sampler, journal)
        assert 27 <= trial.config["epochs"] <= 81
        assert trial.distributions["epochs"] == IntDistribution(27, 81)
        assert all(math.isfinite(value) for value in trial.config.values() if isinstance(value, float))
        train(journal, trial, (1, 3, 9, 27, 81)[index % 5])
    later = journal.trials[36:]
    assert any(trial.source.rung == 81 for trial in later)
    assert len({trial.config["epochs"] for trial in later}) > 5, "epochs must vary again"


def test_a_value_that_is_no_longer_in_the_range_is_drawn_anew():
    assert holds(IntDistribution(3, 9), 9)
    assert not holds(IntDistribution(3, 9), 10)
    assert not holds(FloatDistribution(0.1, 1.0), 0.05)
    assert holds(CategoricalDistribution(("a", "b")), "b")
    assert not holds(CategoricalDistribution(("a", "b")), "c")

    def draw(params, distribution, seed):
        return MutationSampler(params, seed, 0.5).sample_independent(None, None, "n", distribution)

    assert {draw({"n": 50}, IntDistribution(3, 9), seed) for seed in range(50)} <= set(range(3, 10))
    kept = [draw({"n": 5}, IntDistribution(1, 10**9), seed) for seed in range(90)]
    assert 30 < kept.count(5) < 60


@pytest.mark.parametrize(
    ("distribution", "value", "step", "moved"),
    [
        (FloatDistribution(0.0, 2.0), 0.5, 0.25, 1.0),
        (FloatDistribution(1e-4, 1e-2, log=True), 1e-3, -0.25, 10**-3.5),  # in the widths of its logarithm
        (IntDistribution(10, 30), 20, 0.12, 22),
        (FloatDistribution(0.0, 1.0), 0.9, 0.3, 0.8),  # thrown back by the upper end
        (FloatDistribution(0.0, 1.0), 0.1, -0.3, 0.2),
        (FloatDistribution(0.0, 1.0), 0.0, 1.0, 1.0),
        (FloatDistribution(1e-6, 1e-2, log=True), 1e-2, 0.0, 1e-2),  # not out of the range by rounding
        (IntDistribution(7, 7), 7, 0.4, 7),
    ],
)
def test_a_step_by_hand(distribution, value, step, moved):
    assert take_step(distribution, value, step) == pytest.approx(moved, rel=1e-9)
    assert holds(distribution, take_step(distribution, value, step))


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("model", SPACES)
def test_the_recipe_is_mutated_nearby(journal, model, pretrained):
    """Numbers stay within some steps of the recipe's, where a mutation of the best one draws from the whole range."""
    limits = SpaceLimits(max_epochs=30, pretrained=pretrained)
    recipe = recipe_configuration(model, limits)
    first = [(paper_configuration(model, limits), Source("paper")), (recipe, Source("recipe"))]
    sampler = make_sampler("incumbent", model, limits=limits, first=first)
    steps, distances = [], []
    for _ in range(80):
        trial = suggest(sampler, journal)
        for name, distribution in trial.distributions.items() if trial.source.kind == "mutated" else ():
            assert holds(distribution, trial.params[name])
            if name not in recipe or isinstance(distribution, CategoricalDistribution) or distribution.single():
                continue
            to_scale = math.log if distribution.log else float
            low, high, now, before = map(
                to_scale, (distribution.low, distribution.high, trial.params[name], recipe[name])
            )
            distances.append(abs(now - before) / (high - low))
            steps += [distances[-1]] if distances[-1] > 1e-9 else []
    assert 0.1 < len(steps) / len(distances) < 0.2, "of seven six stay as they are"
    assert sum(step < 2.5 * RECIPE_STEP for step in steps) > 0.95 * len(steps)
    assert 0.08 < sum(steps) / len(steps) < 0.2, "0.16 in the mean, less where an end throws back; 0.35 anywhere"


def make_past(all_are_long, num_trials=1000):
    """A history of trials stopped as ASHA does, or all trained fully, without asking a sampler for each."""
    rng, sampler, journal = random.Random(0), make_sampler("random"), make_journal()
    like = [suggest(sampler, journal) for _ in range(50)]
    trials = []
    for number in range(num_trials):
        parent = like[number] if number < 50 else like[rng.randrange(1, 50)]
        length = 9 if all_are_long else 1 if rng.random() < 2 / 3 else 3 if rng.random() < 2 / 3 else 9
        length, value = min(length, parent.config["epochs"]), rng.random()
        epochs = tuple(
            Epoch(epoch, make_metrics(value * (1 - math.exp(-epoch / 3))), recorded_at=100.0 * number + epoch)
            for epoch in range(1, length + 1)
        )
        status = "completed" if length == parent.config["epochs"] else "stopped"
        trials.append(replace(parent, key=f"trial-{number:04d}", number=number, epochs=epochs, status=status))
    return History(trials)


@pytest.mark.slow  # it measures time: no other tests beside it, and no coverage counted
@pytest.mark.parametrize("all_are_long", [False, True])
def test_a_thousand_trials_are_suggested_from_in_no_time(all_are_long):
    """Mean of all kinds of suggestions after 1,000 trials; one in five is TPE's, which takes most of it."""
    past = make_past(all_are_long)
    sampler = make_sampler("incumbent", num_samples=2000)
    sampler.next(past)
    means = []
    for first in (1000, 1040, 1080):
        started = time.process_time()
        kinds = [sampler.propose(number, past).source.kind for number in range(first, first + 40)]
        means.append((time.process_time() - started) / len(kinds))
        assert "tpe" in kinds
    print(f"\n{1000 * min(means):.1f} ms of processor time per suggestion after 1,000 trials")
    assert min(means) < 0.02  # about twice what was measured; the least of three, for the machine may be busy


def test_what_was_learned_is_not_looked_at_again(journal):
    """Only new trials and those that may still reach a rung: a search of ten thousand stays fast."""
    sampler = make_sampler("incumbent")
    run_trials(journal, sampler, [1, 3, 9] * 5)
    running = suggest(sampler, journal)
    sampler.learn(journal)

    looked_at = []

    class Watched(list):
        def __getitem__(self, index):
            found = super().__getitem__(index)
            looked_at.extend([found.number] if isinstance(found, Trial) else [trial.number for trial in found])
            return found

    sampler.learn(History(Watched(journal.trials)))
    assert looked_at == [running.number]
