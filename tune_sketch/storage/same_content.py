"""Finds the drawings and the initial weights of a search again, wherever they lie now: their content decides."""

import os
from dataclasses import replace
from pathlib import Path

from tune_sketch.config.settings import WEIGHTS, Settings
from tune_sketch.data import DATASETS, SketchData, open_data, prepare_data
from tune_sketch.data.sketch_data import is_whole
from tune_sketch.data.staging import hash_file
from tune_sketch.storage.facts import Facts, WeightsFacts
from tune_sketch.storage.files import read_csv
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.trainables.networks.find_weights import ResolvedWeights, resolve_weights

NUM_DIGITS = 12  # of a fingerprint, in messages


def find_data(run: RunDirectory, facts: Facts, settings: Settings) -> Path:
    """The folder of the decoded drawings, decoded again where they were given anew or their cache is gone.

    settings: those of the search, with the place where the drawings lie now. Raises ValueError when they are not those
    that the search began with.
    """
    cache, is_moved = Path(facts.data.cache), settings.data != facts.settings.data
    if is_moved or not is_whole(cache):
        if not is_moved and settings.data not in DATASETS and not os.path.exists(settings.data):
            raise ValueError(
                f"{run.path}: its drawings are no longer in {settings.data}, and their decoded copy is not in {cache}. "
                "If they have moved, give their new place: --data PLACE"
            )
        cache = prepare_data(settings.data_request())
    data = open_data(cache)
    if data.fingerprint != facts.data.fingerprint:
        place = f"those in {settings.data} are others" if is_moved else "they have changed since the search began"
        raise ValueError(
            f"{run.path}: its drawings cannot be replaced, {place} (fingerprint {data.fingerprint[:NUM_DIGITS]}, "
            f"was {facts.data.fingerprint[:NUM_DIGITS]}): {describe_difference(run, facts, data)}. Start a new search."
        )
    return cache


def describe_difference(run: RunDirectory, facts: Facts, data: SketchData) -> str:
    """Why drawings are not those of the search."""
    before, now = set(facts.data.class_names), set(data.class_names)
    for what, names in (("lack the class", before - now), ("have another class,", now - before)):
        if names:
            return f"they {what} {min(names)}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    differing = {row["image"] for row in read_csv(run.splits_csv)}.symmetric_difference(data.names)
    if differing:
        return f"{len(differing)} are in one of both only, for example {min(differing)}"
    return "they have the same names, but other content or another version's preparation"


def find_weights(run: RunDirectory, facts: Facts, settings: Settings) -> WeightsFacts:
    """The initial weights with the place where they lie now. Raises ValueError when they are not the same."""
    known, is_moved = facts.weights, settings.weights != facts.settings.weights
    is_there = known.path is None or os.path.isfile(known.path)
    found: WeightsFacts | ResolvedWeights
    if is_moved:
        found = resolve_weights(settings.model, settings.weights)
    elif is_there:
        found = known
    elif settings.weights in WEIGHTS:
        found = resolve_weights(settings.model, "imagenet")
    else:
        raise ValueError(
            f"{run.path}: its weights are no longer in {known.path}. If they have moved, give their new place: "
            "--weights FILE"
        )
    hashes = [known.sha256 or hash_of(known.path), hash_of(found.path)]
    if hashes[0] is None and known.path is not None and Path(known.path).name == Path(found.path or "").name:
        hashes[0] = hashes[1]  # an older search of ImageNet's weights: their hash is in the file's name
    if hashes[0] != hashes[1]:
        before, now = (text[:NUM_DIGITS] if text else "none" for text in hashes)
        raise ValueError(
            f"{run.path}: its initial weights cannot be replaced, those of --weights {settings.weights} are others "
            f"(SHA-256 {now}, was {before}). Start a new search."
        )
    return replace(known, path=found.path, description=found.description, sha256=hashes[1])


def hash_of(path: str | None) -> str | None:
    """SHA-256 of a file's content, None where there is none."""
    return hash_file(Path(path)) if path is not None and os.path.isfile(path) else None
