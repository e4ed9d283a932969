"""Gets ready what a search needs before Ray starts, data, splits and initial weights, and says the plan."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from tune_sketch.config.settings import BUDGETS, FLAGS, Settings
from tune_sketch.config.total_time import LAST_STEP_LENGTH, divide, division_text
from tune_sketch.data import SketchData, open_data, prepare_data, publish_data
from tune_sketch.data.describe import (
    class_sizes_text,
    copies_text,
    count_shared_groups,
    find_copies_across,
    frames_text,
    group_text,
    largest_and_smallest,
    paper_warning,
    split_warnings,
)
from tune_sketch.data.describe_copies import NAMED_IN_PLAN, near_copies_across, near_copies_lines
from tune_sketch.data.quickdraw_classes import QUICKDRAW_CLASSES
from tune_sketch.data.splits import Splits, hash_splits, split_data
from tune_sketch.data.staging import hash_file
from tune_sketch.formatting import duration_text
from tune_sketch.samplers import SAMPLERS
from tune_sketch.samplers.of_search import choose_experience
from tune_sketch.search_spaces import MAX_EVEN_RATIO
from tune_sketch.storage.facts import ClassSize, DataFacts, Facts, Network, SkippedFile, WeightsFacts
from tune_sketch.trainables.networks.find_weights import resolve_weights
from tune_sketch.trainables.networks.registry import known_architecture

CLASSES_OF_PEOPLE = 10  # that the plan names at most


@dataclass(frozen=True)
class Inputs:
    """Inputs shared by every trial of a search."""

    cache: Path
    published: str  # where trainings on any machine find the cache: its path, or a URL
    data: SketchData
    splits: Splits
    weights: WeightsFacts
    networks: tuple[Network, ...] = ()  # of a search over several


def prepare_inputs(settings: Settings, others: Sequence[Settings] = ()) -> Inputs:
    """Decode (or reuse) the data, split it, find the weights. Raises ValueError for anything that is wrong.

    others: of the other networks of a search over several.
    """
    each = [settings, *others]
    for own in each:
        check_network(own)
    cache = prepare_data(settings.data_request())
    data = open_data(cache)
    splits = split_data(data, protocol=settings.protocol, split_by=settings.split_by, seed=settings.seed)
    networks = tuple(Network(own.model, own.max_epochs, own.grace_epochs, find_initial_weights(own)) for own in each)
    published = publish_data(cache)
    return Inputs(cache, published, data, splits, networks[0].weights, networks if others else ())


def find_initial_weights(settings: Settings) -> WeightsFacts:
    """The weights that the trainings of a network begin with."""
    weights = resolve_weights(settings.model, settings.weights, settings.image_px)
    digest = hash_file(Path(weights.path)) if weights.path is not None else None
    return WeightsFacts(weights.path, weights.description, weights.pretrained, digest, weights.scaled_as_new)


def check_network(settings: Settings) -> None:
    """ValueError where there is no such network, or it cannot take the drawings' size."""
    least_px = known_architecture(settings.model, settings.image_px).min_image_px
    if settings.image_px < least_px:
        raise ValueError(f"--image-px must be at least {least_px} for {settings.model}, got {settings.image_px}")


def describe_data(settings: Settings, inputs: Inputs) -> DataFacts:
    """The facts about the data that search.json keeps."""
    data, splits = inputs.data, inputs.splits
    largest, smallest = largest_and_smallest(data)
    return DataFacts(
        fingerprint=data.fingerprint,
        cache=str(inputs.cache),
        published=inputs.published,
        synthetic=data.synthetic,
        num_images=len(data.labels),
        class_names=tuple(data.class_names),
        has_photos=data.has_photos,
        num_train=len(splits.train),
        num_validation=len(splits.validation),
        num_test=len(splits.test),
        skipped=tuple(SkippedFile(**entry) for entry in data.skipped),
        largest_class=ClassSize(*largest),
        smallest_class=ClassSize(*smallest),
        num_near_copies=None if data.near_copies is None else len(data.near_copies),
        num_near_copies_across=None if data.near_copies is None else len(near_copies_across(data, splits)),
        leaky_split=data.has_groups and count_shared_groups(data, splits) > 0,
        split_origin=splits.origin,
        num_copies=len(data.copies),
        num_copies_across=len(find_copies_across(data, splits)),
        split_warnings=tuple(split_warnings(data, splits)),
        splits_sha256=hash_splits(data, splits),
    )


def facts_of(settings: Settings, inputs: Inputs, name: str = "plan", storage: str | None = None) -> Facts:
    """The facts of a search that has not begun."""
    data = describe_data(settings, inputs)
    return Facts(name, storage, settings, data, inputs.weights, networks=inputs.networks)


def expected_epochs(settings: Settings) -> float:
    """Mean epochs of a trial, roughly."""
    rungs = settings.rungs
    return SAMPLERS[settings.strategy].expected_epochs(rungs, settings.reduction_factor)


def expected_epochs_of_search(facts: Facts) -> float:
    """Mean epochs of a trial, roughly; of several networks as if each had as many trials."""
    return fmean(expected_epochs(own.settings) for own in facts.of_each().values())


def trials_lines(facts: Facts) -> list[str]:
    """How many trials there are and where they are compared, in words."""
    settings, sampler = facts.settings, SAMPLERS[facts.settings.strategy]
    each = {model: own.settings for model, own in facts.of_each().items()}
    at_most = "at most " * settings.has_budget
    if not sampler.stops_trials:
        trials = f"trials    at most {settings.num_samples}, none is stopped"
    elif not facts.networks:
        trials = (
            f"trials    {at_most}{settings.num_samples}, compared at epochs {', '.join(map(str, settings.rungs))}; "
            f"one in {settings.reduction_factor} goes on"
        )
    else:
        trials = (
            f"trials    {at_most}{settings.num_samples} of all networks together, compared within each at epochs "
            + "; ".join(f"{', '.join(map(str, own.rungs))} ({model})" for model, own in each.items())
            + f"; one in {settings.reduction_factor} goes on"
        )
    lines = [trials]
    if facts.networks:
        lines.append(
            f"turns     the {len(each)} networks are compared by the best validation top-1 within equal seconds of "
            "training; the better half goes on"
        )
    if settings.has_budget:
        lines.append(
            f"epochs    at most {most_epochs(facts)} of a trial, about {expected_epochs_of_search(facts):.1f} expected"
        )
    else:
        lines.append(
            f"epochs    at most {settings.num_samples * most_epochs(facts)}, "
            f"about {settings.num_samples * expected_epochs_of_search(facts):.0f} expected"
        )
    return [
        *lines,
        f"retrain   {facts.num_finalists} finalists raced in at most {facts.num_retrainings} retrainings on "
        f"fresh seeds, of at most {most_epochs(facts)} epochs each",
    ]


def most_epochs(facts: Facts) -> int:
    """Of any training."""
    return max(own.settings.max_epochs for own in facts.of_each().values())


def plan_lines(settings: Settings, inputs: Inputs, prepared_seconds: float = 0.0) -> list[str]:
    """The plan in words: data, splits, weights, trials, rungs, the most and the expected epochs.

    prepared_seconds: that the command took until now.
    """
    data, splits, sampler = inputs.data, inputs.splits, SAMPLERS[settings.strategy]
    search = facts_of(settings, inputs)
    facts = search.data
    largest, smallest = largest_and_smallest(data)
    searched = "; sampling them evenly is searched" if facts.class_ratio > MAX_EVEN_RATIO else ""
    synthetic = "  (synthetic drawings, to try the program with)" if data.synthetic else ""
    sizes = f"{smallest[1]} to {largest[1]}" if smallest[1] < largest[1] else f"{largest[1]} each"
    lines = [
        *(f"model     {own.weights.description}" for own in search.of_each().values()),
        f"data      {settings.data}: {len(data.labels)} drawings, {len(data.class_names)} classes of "
        f"{sizes}, at {settings.image_px} px{synthetic}",
        *([f"instead   drawings by people: {people_text(data)}"] if data.synthetic else []),
        *([f"classes   {class_sizes_text(largest, smallest)}{searched}"] if facts.class_ratio > 1 else []),
        f"splits    {len(splits.train)} train, {len(splits.validation)} validation, {len(splits.test)} test "
        f"({splits.origin})",
        f"strategy  {settings.strategy}: {sampler.summary}",
        *trials_lines(search),
    ]
    if settings.last_step:
        lines.append(
            f"last step the winner's network goes on with the validation drawings: at most "
            f"{math.ceil(LAST_STEP_LENGTH * most_epochs(search))} epochs of "
            f"{len(splits.train) + len(splits.validation)} drawings"
        )
    for model, own in search.of_each().items():
        if known := choose_experience(own):
            lines.append(f"known     begins with {len(known)} of {model} that were best on {known[0].run} too")
    if settings.warm_start:
        lines.append(f"warm      begins with the best of {', '.join(settings.warm_start)}")
    if settings.total_time_seconds is not None:
        division = divide(settings.total_time_seconds, prepared_seconds, last_step=settings.last_step)
        lines.append(f"total     {division_text(division)}")
    budgets = budget_texts(settings)
    if budgets:
        lines.append(f"budget    the search ends earlier after {', or '.join(budgets)}")
    if data.group_names is not None:
        lines.append(f"groups    {group_text(data)}")
    if data.copies:
        lines.append(f"copies    {copies_text(len(data.copies), facts.num_copies_across)}")
    if data.near_copies:
        first, *others = near_copies_lines(data, splits, NAMED_IN_PLAN)
        lines += [f"WARNING   {first}", *others]
    lines += [f"WARNING   {warning}" for warning in facts.split_warnings]
    if data.num_first_of_many:
        lines.append(f"WARNING   {frames_text(data.num_first_of_many)}")
    if data.paper_by_class:
        lines.append(f"WARNING   {paper_warning(data.paper_by_class)}")
    if data.skipped:
        lines.append(f"WARNING   {len(data.skipped)} bad files are left out (listed in search.json)")
    return lines


def people_text(data: SketchData) -> str:
    """The flags that get people's drawings of the same things, at a size and within a time that suit a laptop."""
    names = [name for name in data.class_names if name in QUICKDRAW_CLASSES][:CLASSES_OF_PEOPLE]
    return f"--data quickdraw --download --classes {shlex.join(names)} --image-px 64 --total-time 30m"


def budget_texts(settings: Settings) -> list[str]:
    """The limits that end the search before its last trial, in words."""
    texts = []
    if settings.time_budget_seconds is not None:
        texts.append(f"{duration_text(settings.time_budget_seconds)} of searching")
    if settings.gpu_hours is not None:
        texts.append(f"{settings.gpu_hours:g} GPU-hours of training (worker-hours without a GPU)")
    if settings.min_gain is not None:
        texts.append(f"a trial from which on ten more may gain less than {100 * settings.min_gain:g} points of top-1")
    return texts


def flags_to_extend(settings: Settings, num_trials: int) -> str:
    """The flags that a finished search of so many trials is to be resumed with: more of what bounded it."""
    if SAMPLERS[settings.strategy].most_trials:
        return "--passes N"
    names = ["num_samples"] * (num_trials >= settings.num_samples)
    names += [name for name in BUDGETS if getattr(settings, name) is not None]
    return " ".join(f"{FLAGS[name].spelling(name)} {FLAGS[name].metavar}" for name in names or ["num_samples"])


def expected_hours_lines(facts: Facts, epoch_seconds: Mapping[str, float], num_workers: int, gpus: float) -> list[str]:
    """The plan's cost, from the measured time of one epoch of each network's paper's configuration.

    gpus: of each worker. A budget bounds what it is the budget of.
    """
    settings, each = facts.settings, facts.of_each()
    num_trainings = facts.num_retrainings + LAST_STEP_LENGTH * settings.last_step  # after the search
    search = settings.num_samples * fmean(epoch_seconds[m] * expected_epochs(own.settings) for m, own in each.items())
    later = num_trainings * fmean(epoch_seconds[m] * own.settings.max_epochs for m, own in each.items())
    if settings.time_budget_seconds is not None:
        search = min(search, settings.time_budget_seconds * num_workers)
    if settings.gpu_hours is not None:
        search = min(search, 3600 * settings.gpu_hours / (gpus or 1.0))
    worker_seconds = search + later
    if settings.total_time_seconds is not None:
        worker_seconds = min(worker_seconds, settings.total_time_seconds * num_workers)
    return [
        *(
            f"one epoch {f'of {model} ' * bool(facts.networks)}takes {seconds:.2f} s on one worker (measured now, the "
            "paper's configuration)"
            for model, seconds in epoch_seconds.items()
        ),
        f"expected  {duration_text(worker_seconds)} of worker time, {duration_text(worker_seconds / num_workers)} "
        f"with {num_workers} worker{'s' if num_workers > 1 else ''}",
    ]
