"""Allocates workers: the number of concurrent trainings and the resources of each."""

import math

from tune_sketch.backend.base import Workers
from tune_sketch.backend.cluster import list_machines
from tune_sketch.config.settings import Settings

MOST_THREADS = 8  # of one training on a CPU, though cores be idle: more were not measured


def allocate_workers(
    settings: Settings, num_trainings: int, *, trials_per_gpu: int = 1, may_grow: bool = False
) -> Workers:
    """Workers for a number of trainings; each training is on one machine.

    trials_per_gpu: what was measured, for where --gpus-per-trial does not say. may_grow: machines may join later, as in
    a cluster that starts them when trials wait. Raises ValueError when no machine can take one training, unless a
    cluster may grow and was told what a training needs.
    """
    machines = list_machines()
    at_once = min(num_trainings, settings.max_concurrent or num_trainings)
    gpus = settings.gpus_per_trial
    if gpus is None:
        num_gpus = sum(int(have.get("GPU", 0.0)) for have in machines)
        # Ray counts in ten-thousandths. Rather every GPU with one training than one GPU with all.
        gpus = 10_000 // min(trials_per_gpu, math.ceil(at_once / num_gpus)) / 10_000 if num_gpus else 0.0
    cpus = settings.cpus_per_trial
    if cpus is None:
        cpus = share_of_cores(machines, gpus, at_once)
    num_workers = count_slots(machines, cpus, gpus)
    if num_workers == 0 and not (may_grow and settings.gpus_per_trial is not None):
        raise ValueError(describe_shortage(machines, settings, cpus, gpus, may_grow=may_grow))
    most = settings.max_concurrent if may_grow else min(num_workers, settings.max_concurrent or num_workers)
    return Workers(max(1, min(num_workers, most or num_workers)), most, cpus, gpus, max(1, int(cpus)))


def describe_shortage(
    machines: list[dict[str, float]], settings: Settings, cpus: float, gpus: float, *, may_grow: bool
) -> str:
    """Why no machine takes one training, and only what helps against it."""
    most_cpus = max((have.get("CPU", 0.0) for have in machines), default=0.0)
    most_gpus = max((have.get("GPU", 0.0) for have in machines), default=0.0)
    text = (
        f"one trial asks for {cpus:g} CPUs and {gpus:g} GPUs, the largest machine has {most_cpus:g} CPUs and "
        f"{most_gpus:g} GPUs: "
    )
    # A share of the cores that nobody gave follows the GPUs.
    asked = [("cpus", settings.cpus_per_trial or 0.0, most_cpus), ("gpus", gpus, most_gpus)]
    too_many = [flag for flag, wanted, most in asked if wanted > most] or ["cpus", "gpus"]
    advice = " or ".join(f"lower --{flag}-per-trial" for flag in too_many)
    if not most_cpus:  # as of a head whose only task is to be one
        advice = "add a machine with cores to the cluster, or start Ray there with --num-cpus"
    if may_grow:
        advice += "; or give --gpus-per-trial to wait for machines that have as many"
    return text + advice


def has_room(workers: Workers, num_running: int) -> bool:
    """Whether another training may begin beside those running: machines join and leave a cluster."""
    most = workers.most if workers.most is not None else count_slots(list_machines(), workers.cpus, workers.gpus) + 1
    return num_running < most


def share_of_cores(machines: list[dict[str, float]], gpus: float, at_once: int) -> float:
    """Cores of one training, which has as many threads.

    With GPUs, its GPU's share, so that none of a machine's GPUs is left without. Else one core, for trainings beside
    each other use cores better than threads do (benchmarks/packing.py), and more only where cores would be idle. Then
    one core of each machine stays free: threads wait for each other at every operation, so a single busy program on the
    core of one of them makes the training many times slower, where one thread is as fast as before.
    """
    if gpus:
        shares = [have.get("CPU", 0.0) * gpus // have["GPU"] for have in machines if have.get("GPU", 0.0)]
        return max(1.0, min(shares, default=1.0))
    free = [max(0, int(have.get("CPU", 0.0)) - 1) for have in machines]
    fitting = (threads for threads in range(MOST_THREADS, 1, -1) if sum(cpus // threads for cpus in free) >= at_once)
    return float(next(fitting, 1))


def count_slots(machines: list[dict[str, float]], cpus: float, gpus: float) -> int:
    """How many trainings the machines can take at once."""
    slots = (min(have.get("CPU", 0.0) // cpus, count_on_gpus(have.get("GPU", 0.0), gpus)) for have in machines)
    return sum(map(int, slots))


def count_on_gpus(num_gpus: float, gpus: float) -> float:
    """The number of trainings that these GPUs take: one is on whole GPUs, or on a fraction of a single one."""
    if gpus >= 1 or not gpus:
        return num_gpus // gpus if gpus else math.inf
    return int(num_gpus) * int(1 / gpus + 1e-9)


def describe_workers(workers: Workers) -> str:
    """The workers in words."""
    text = f"{workers.num_workers} trial{'s' if workers.num_workers > 1 else ''} at once, each with "
    if workers.gpus:
        text += f"{workers.gpus:.3g} GPU and "
    return text + f"{workers.num_threads} thread{'s' if workers.num_threads > 1 else ''}"
