"""Finds the drawings and the initial weights of a search again, wherever they lie now: their content decides."""

import json
import os
import shutil
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
    cache = Path(facts.data.cache)
    is_moved = (settings.data, settings.splits) != (facts.settings.data, facts.settings.splits)
    if is_moved or not is_unharmed(cache):
        check_locations(run, settings, cache)
        if not is_moved:
            shutil.rmtree(cache, ignore_errors=True)  # what is left of it
        cache = prepare_data(settings.data_request())
    data = open_data(cache)
    if data.fingerprint != facts.data.fingerprint:
        table = f" by {settings.splits}" if settings.splits is not None else ""
        problem = (
            f"those in {settings.data}{table} are others" if is_moved else "they have changed since the search began"
        )
        raise ValueError(
            f"{run.path}: its drawings cannot be replaced, {problem} (fingerprint {data.fingerprint[:NUM_DIGITS]}, "
            f"was {facts.data.fingerprint[:NUM_DIGITS]}): {describe_difference(run, facts, data)}. Start a new search."
        )
    return cache


def is_unharmed(cache: Path) -> bool:
    """Whether the decoded drawings are there and as they were written."""
    if not is_whole(cache):
        return False
    files = json.loads((cache / "meta.json").read_text())["files"]
    return all(hash_file(cache / name) == file["sha256"] for name, file in files.items())


def check_locations(run: RunDirectory, settings: Settings, cache: Path) -> None:
    """Raises ValueError where the drawings, or the table that divides them, are not where they were."""
    locations = {"--data": (settings.data, "drawings are"), "--splits": (settings.splits, "table of the drawings is")}
    for flag, (location, noun) in locations.items():
        if location is not None and location not in DATASETS and not os.path.exists(location):
            raise ValueError(
                f"{run.path}: its {noun} no longer in {location}, and the decoded copy is not in {cache}. If "
                f"that has moved, give the new place: {flag} PLACE"
            )


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
        found = resolve_weights(settings.model, settings.weights, settings.image_px)
    elif is_there:
        found = known
    elif settings.weights in WEIGHTS:
        found = resolve_weights(settings.model, "imagenet", settings.image_px)
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
