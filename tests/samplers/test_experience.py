"""The bundled experience: what it holds, where a search tries it, and how it is said."""

import pytest

from tests.support.facts import make_facts
from tests.support.searching import make_journal, suggest
from tune_sketch.config.settings import Settings
from tune_sketch.events import Source
from tune_sketch.samplers.experience import read_experience
from tune_sketch.samplers.of_search import choose_experience, make_sampler, make_strategy
from tune_sketch.samplers.several import SeveralNetworks
from tune_sketch.samplers.warm_start import adapt
from tune_sketch.search_spaces import SpaceLimits, paper_configuration, recipe_configuration
from tune_sketch.storage.facts import Network, WeightsFacts

LIMITS = SpaceLimits(max_epochs=80, pretrained=False)
WEIGHTS = WeightsFacts(None, "baseline: trained from scratch", False)


def facts_of(**choices):
    return make_facts(Settings("baseline", max_epochs=80, **choices), weights=WEIGHTS)


def test_each_is_a_configuration_of_the_space_that_is_not_tried_anyway():
    known = read_experience("baseline", False)
    assert len(known) == 4
    tried = [paper_configuration("baseline", LIMITS), recipe_configuration("baseline", LIMITS)]
    adapted = [adapt(one, "baseline", LIMITS) for one in known]
    for one, params in zip(known, adapted, strict=True):
        assert params == one.params | {"epochs": 80}, "nothing is changed but the length, which is the longest"
        assert params not in tried
    assert len({str(params) for params in adapted}) == 4


def test_it_has_the_parts_of_the_recipe_and_less_dropout():
    known = [one.params for one in read_experience("baseline", False)]
    parts = {(params["head"], params["averaging"], params["warmup_steps"]) for params in known}
    assert parts == {("normalised", True, 100)}
    assert all(params["dropout"] < 0.25 for params in known)


@pytest.mark.parametrize(
    ("model", "pretrained"), [("baseline", True), ("squeezenet1_1", True), ("resnet50", False), ("timm:resnet18", True)]
)
def test_of_most_networks_nothing_is_known(model, pretrained):
    assert read_experience(model, pretrained) == ()


@pytest.mark.parametrize("strategy", ["incumbent", "random", "tpe"])
def test_it_comes_after_the_paper_and_the_recipe(strategy):
    journal, sampler = make_journal(), make_sampler(facts_of(strategy=strategy))
    trials = [suggest(sampler, journal) for _ in range(6)]
    assert [trial.source.kind for trial in trials] == ["paper", "recipe", *["experience"] * 4]
    known = read_experience("baseline", False)[0]
    assert trials[2].source == Source("experience", run="doodles", trial=known.trial)
    assert trials[2].config["learning_rate"] == known.params["learning_rate"]


def test_a_search_can_do_without_and_the_papers_procedure_does():
    assert choose_experience(facts_of(experience=False)) == ()
    assert choose_experience(facts_of(strategy="one-factor")) == ()
    assert make_sampler(facts_of(strategy="one-factor")).task.first[1:] == []
    assert len(make_sampler(facts_of(experience=False)).task.first) == 2


def test_networks_take_turns_as_if_no_experience_were_there():
    networks = [("baseline", WEIGHTS), ("resnet50", WeightsFacts(None, "resnet50: from scratch", False))]
    each = tuple(Network(model, 80, 5, weights) for model, weights in networks)
    strategy = make_strategy(make_facts(Settings("baseline", max_epochs=80), weights=WEIGHTS, networks=each))
    assert isinstance(strategy, SeveralNetworks)
    assert [len(sampler.task.first) for sampler in strategy.samplers.values()] == [6, 2]
    assert strategy.num_first == 2
