"""Finds out before a search how many trials share a GPU best, by measuring them there."""

import math
from typing import Any

from tune_sketch.backend.execution import Workers, list_machines, make_job
from tune_sketch.config.settings import SearchSettings
from tune_sketch.schedulers.rungs import expected_epochs_per_trial, rung_epochs
from tune_sketch.search_spaces import SpaceLimits, largest_configuration
from tune_sketch.storage.journal import Record
from tune_sketch.storage.run_directory import RunDirectory

WORTH_MEASURING_IMAGES = 1_000_000  # a search that trains fewer is over before it would have paid to measure


def find_trials_per_gpu(run: RunDirectory, search: dict[str, Any], settings: SearchSettings) -> dict[str, Any]:
    """{"trials_per_gpu": n, and what was measured for it, or the "reason" why nothing was}, for search.json.

    What an earlier sitting measured on the same kind of machines is taken again.
    """
    machines = list_machines()
    kinds = sorted({name for have in machines for name in have if name.startswith("accelerator_type:")})
    most = most_per_gpu(settings, machines)
    images = count_planned_images(settings, search["data"]["num_train"])
    if most < 2 or images < WORTH_MEASURING_IMAGES:
        return {"trials_per_gpu": 1, "reason": "no choice" if most < 2 else "a short search is not worth measuring"}
    for sitting in search["sittings"]:
        known = sitting.get("packing", {})
        if "images_per_second" in known and (known["machines"], known["most"]) == (kinds, most):
            return known
    limits = SpaceLimits(max_epochs=settings.max_epochs, pretrained=search["weights"]["pretrained"])
    largest = Record("packing", -1, largest_configuration(settings.model, limits), settings.seed)
    cores_per_gpu = cores_of_a_gpu(machines)
    job = make_job(largest, run, search, settings, max(1, cores_per_gpu // most), 1.0)
    return measure(job, most, cores_per_gpu) | {"machines": kinds, "most": most}


def most_per_gpu(settings: SearchSettings, machines: list[dict[str, float]]) -> int:
    """The most trials that could share a GPU: each needs a core, and no GPU goes without; 1 where it is not open."""
    num_gpus = int(sum(have.get("GPU", 0.0) for have in machines))
    if settings.gpus_per_trial is not None or num_gpus == 0:
        return 1
    at_once = min(settings.num_samples, settings.max_concurrent or settings.num_samples)
    cores = int(settings.cpus_per_trial or 1)
    return max(1, min(cores_of_a_gpu(machines) // max(1, cores), math.ceil(at_once / num_gpus)))


def cores_of_a_gpu(machines: list[dict[str, float]]) -> int:
    """CPU cores for each GPU, on the machine that has fewest."""
    return int(min(have.get("CPU", 0.0) // have["GPU"] for have in machines if have.get("GPU", 0.0) >= 1))


def count_planned_images(settings: SearchSettings, num_train: int) -> float:
    """Drawings that the search is expected to train on, each anew in every epoch."""
    rungs = rung_epochs(settings.grace_epochs, settings.max_epochs, settings.reduction_factor)
    return settings.num_samples * expected_epochs_per_trial(rungs, settings.reduction_factor) * num_train


def measure(job: dict[str, Any], most: int, cores: int) -> dict[str, Any]:
    """Measure on some machine's GPU, on which no trial runs yet. What fails is said as the reason for 1."""
    import ray
    from ray.exceptions import RayError

    from tune_sketch.trainables.speed.throughput import measure_job

    try:
        measured = ray.get(ray.remote(num_cpus=cores, num_gpus=1)(measure_job).remote(job, most))
    except RayError as error:
        return {"trials_per_gpu": 1, "reason": f"measuring failed: {str(error).strip().splitlines()[-1]}"}
    return {"trials_per_gpu": measured.pop("trials_per_device"), "batch_size": job["config"]["batch_size"], **measured}


def placement_text(workers: Workers, packing: dict[str, Any]) -> str:
    """How the trials are placed, and why, in words."""
    text = f"{workers.num_workers} trial{'s' if workers.num_workers > 1 else ''} at once, each with "
    if workers.gpus:
        text += f"{workers.gpus:.3g} GPU and "
    text += f"{workers.num_threads} thread{'s' if workers.num_threads > 1 else ''}"
    if "images_per_second" in packing:
        rates = ", ".join(f"{rate:.0f}" for rate in packing["images_per_second"])
        text += f" (measured on one GPU, batches of {packing['batch_size']}: {rates} images/s"
        text += " for 1, 2, ... trials" if len(packing["images_per_second"]) > 1 else " for one trial"
        if packing["memory_bytes"]:
            used, of_device = (number / 2**30 for number in packing["memory_bytes"])
            text += f", {used:.1f} of {of_device:.1f} GiB for one"
        text += ")"
    elif workers.gpus and packing["reason"] != "no choice":
        text += f" ({packing['reason']})"
    return text
