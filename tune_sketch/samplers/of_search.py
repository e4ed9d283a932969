"""Makes the strategy of a search and its stopping rule from the search's facts, for each of its networks."""

from tune_sketch.events import Source
from tune_sketch.samplers import SAMPLERS, Sampler
from tune_sketch.samplers.base import SearchTask
from tune_sketch.samplers.experience import read_experience
from tune_sketch.samplers.several import SeveralNetworks
from tune_sketch.samplers.warm_start import adapt, source_of
from tune_sketch.schedulers.asha import ASHA, NEVER_STOP, OfEachNetwork, Rule
from tune_sketch.search_spaces import known_space, paper_configuration, recipe_configuration
from tune_sketch.storage.facts import EarlierTrial, Facts


def make_strategy(facts: Facts) -> Sampler | SeveralNetworks:
    """The strategy of a search: that of its network, or one of each network's own."""
    if not facts.networks:
        return make_sampler(facts)
    samplers = {model: make_sampler(own) for model, own in facts.of_each().items()}
    return SeveralNetworks(samplers, facts.settings.num_samples)


def make_sampler(facts: Facts) -> Sampler:
    """The strategy of one network, which begins with the paper's configuration, the recipe, the bundled experience, and
    what --warm-start gave.

    The paper's own procedure begins with the paper's configuration alone.
    """
    settings, limits = facts.settings, facts.limits
    first = [(paper_configuration(settings.model, limits), Source("paper"))]
    if settings.strategy != "one-factor":
        first.append((recipe_configuration(settings.model, limits), Source("recipe")))
    first += [
        (adapt(known, settings.model, limits), Source("experience", run=known.run, trial=known.trial))
        for known in choose_experience(facts)
    ]
    first += [(adapt(earlier, settings.model, limits), source_of(earlier)) for earlier in facts.warm_start]
    task = SearchTask(
        known_space(settings.model).space,
        limits,
        settings.rungs,
        num_samples=settings.num_samples,
        seed=settings.seed,
        first=first,
        passes=settings.passes,
    )
    return SAMPLERS[settings.strategy](task)


def count_first(facts: Facts) -> int:
    """The configurations that every network begins with; some have experience, which does not count."""
    return (1 if facts.settings.strategy == "one-factor" else 2) + len(facts.warm_start)


def choose_experience(facts: Facts) -> tuple[EarlierTrial, ...]:
    """The best known of the network from other drawings, where the search may use it."""
    settings = facts.settings
    return read_experience(settings.model, facts.weights.pretrained) if settings.experience else ()


def make_rule(facts: Facts) -> Rule:
    """ASHA over the rungs of each network; none where the strategy trains every trial to its end."""
    if not SAMPLERS[facts.settings.strategy].stops_trials:
        return NEVER_STOP
    rules = {m: ASHA(own.settings.rungs, own.settings.reduction_factor) for m, own in facts.of_each().items()}
    return OfEachNetwork(rules) if facts.networks else rules[facts.settings.model]
