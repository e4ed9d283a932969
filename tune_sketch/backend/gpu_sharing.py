"""Finds out before a search how many trials share a GPU best, by measuring them there."""

import math
from dataclasses import replace

from tune_sketch.backend.base import Workers
from tune_sketch.backend.cluster import list_machines
from tune_sketch.backend.jobs import job_of
from tune_sketch.config.settings import Settings
from tune_sketch.events import Job, Trial
from tune_sketch.schedulers.rungs import expected_epochs_per_trial
from tune_sketch.search_spaces import largest_configuration
from tune_sketch.storage.facts import Facts, GpuSharing
from tune_sketch.storage.run_directory import RunDirectory

WORTH_MEASURING_IMAGES = 1_000_000  # a search that trains fewer is over before it would have paid to measure
WORTH_MEASURING_SECONDS = 600.0  # the same, where a budget ends it


def measure_gpu_sharing(run: RunDirectory, facts: Facts) -> GpuSharing:
    """How many trials to run on a GPU, with what was measured for it or the reason why nothing was.

    What an earlier session measured on the same kind of machines is taken again.
    """
    settings, machines = facts.settings, list_machines()
    kinds = tuple(sorted({name for have in machines for name in have if name.startswith("accelerator_type:")}))
    most = most_per_gpu(settings, machines)
    if most < 2:
        return GpuSharing(1, "no choice")
    if is_short(settings, facts.data.num_train):
        return GpuSharing(1, "a short search is not worth measuring")
    for session in facts.sessions:
        known = session.gpu_sharing
        if known is not None and known.images_per_second and (known.machines, known.most) == (kinds, most):
            return known
    cores_per_gpu = cores_of_a_gpu(machines)
    alone = Workers(1, 1, 1.0, 1.0, max(1, cores_per_gpu // most))
    measured = []
    for model, own in facts.of_each().items():
        largest = Trial("gpu-sharing", -1, largest_configuration(model, own.limits), settings.seed)
        measured.append(measure(job_of(largest, run, own, alone), most, cores_per_gpu))
    # Of several networks the one of which fewest fit: a worker trains any of them.
    return replace(min(measured, key=lambda sharing: sharing.trials_per_gpu), machines=kinds, most=most)


def most_per_gpu(settings: Settings, machines: list[dict[str, float]]) -> int:
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


def is_short(settings: Settings, num_train: int) -> bool:
    """Whether the search is expected to train on few drawings, each anew in every epoch, or not to last."""
    epochs = settings.num_samples * expected_epochs_per_trial(settings.rungs, settings.reduction_factor)
    budgets = settings.time_budget_seconds, settings.total_time_seconds, 3600 * (settings.gpu_hours or math.inf)
    seconds = min(budget for budget in budgets if budget is not None)
    return epochs * num_train < WORTH_MEASURING_IMAGES or seconds < WORTH_MEASURING_SECONDS


def measure(job: Job, most: int, cores: int) -> GpuSharing:
    """Measure on some machine's GPU, on which no trial runs yet. What fails is said as the reason for 1."""
    import ray
    from ray.exceptions import RayError

    from tune_sketch.trainables.trial import measure_job

    try:
        measured = ray.get(ray.remote(num_cpus=cores, num_gpus=1)(measure_job).remote(job, most))
    except RayError as error:
        return GpuSharing(1, f"measuring failed: {str(error).strip().splitlines()[-1]}")
    return GpuSharing(
        measured.trials_per_device,
        images_per_second=tuple(measured.images_per_second),
        memory_bytes=measured.memory_bytes,
        batch_size=int(job.config["batch_size"]),
    )


def describe_sharing(sharing: GpuSharing, workers: Workers) -> str:
    """The measurement in words, or why there was none; nothing where there was no choice."""
    rates = sharing.images_per_second
    if rates:
        text = f" (measured on one GPU, batches of {sharing.batch_size}: "
        text += ", ".join(f"{rate:.0f}" for rate in rates) + " images/s"
        text += " for 1, 2, ... trials" if len(rates) > 1 else " for one trial"
        if sharing.memory_bytes:
            used, of_device = (number / 2**30 for number in sharing.memory_bytes)
            text += f", {used:.1f} of {of_device:.1f} GiB for one"
        return text + ")"
    return f" ({sharing.reason})" if workers.gpus and sharing.reason != "no choice" else ""
