"""Checks what may change when a run is resumed or extended, and that its data is still the same."""

from pathlib import Path
from typing import Any

from tune_sketch.config.settings import MOST_TRIALS_OF_A_PASS, SearchSettings
from tune_sketch.data import open_data, prepare_data, publish_data
from tune_sketch.storage.run_directory import RunDirectory, write_json

# What was trained stays comparable with what is trained next: data, splits, images and networks cannot change.
FIXED = (
    "model",
    "data",
    "classes",
    "per_class",
    "split_by",
    "protocol",
    "image_px",
    "invert",
    "skip_bad_images",
    "download",
    "weights",
    "strategy",
    "warm_start",
    "grace_epochs",
    "reduction_factor",
    "frozen_views",
    "seed",
)


def change_settings(run: RunDirectory, changes: dict[str, Any]) -> None:
    """Write the changed settings into search.json. Raises ValueError, naming each, for what cannot change."""
    search = run.read_search()
    settings = SearchSettings.from_json(search["settings"])
    now = settings.to_json()
    refused = [name for name in FIXED if name in changes and changes[name] != now[name]]
    if refused:
        raise ValueError(
            "these cannot change in a resumed search: "
            + ", ".join(f"--{name.replace('_', '-')} (is {now[name]!r}, got {changes[name]!r})" for name in refused)
            + ". Start a new search for them."
        )
    if changes.get("max_epochs", now["max_epochs"]) < now["max_epochs"]:
        raise ValueError(
            f"--max-epochs can only grow in a resumed search: is {now['max_epochs']}, got {changes['max_epochs']}"
        )
    if "passes" in changes:
        changes = {"num_samples": max(now["num_samples"], MOST_TRIALS_OF_A_PASS * changes["passes"])} | changes
    search["settings"] = SearchSettings.from_json(now | changes).to_json()
    if changes:
        write_json(run.search_json, search)


def check_data(run: RunDirectory) -> None:
    """Open the decoded data, decoding it again where the cache is gone, and note where trainings find it.

    Raises ValueError when the drawings are not those that the search began with.
    """
    search = run.read_search()
    wanted = search["data"]["fingerprint"]
    cache = Path(search["data"]["cache"])
    try:
        found = open_data(cache).fingerprint
    except ValueError:
        cache = prepare_data(run.read_settings().data_request())
        found = open_data(cache).fingerprint
    if found != wanted:
        raise ValueError(
            f"{run.path}: the drawings have changed since the search began "
            f"(fingerprint {found[:12]}, was {wanted[:12]}). Start a new search."
        )
    places = {"cache": str(cache), "published": publish_data(cache)}
    if search["data"] != search["data"] | places:
        search["data"] |= places
        write_json(run.search_json, search)
