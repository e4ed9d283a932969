"""The timeline: which training ran where and when, and how much of the workers' time and of the GPUs was used."""

import itertools
from collections.abc import Hashable
from dataclasses import asdict

from matplotlib.figure import Figure as Drawing

from tune_sketch.analysis.figures.base import Figure
from tune_sketch.analysis.figures.style import COLORS, STATUS_COLORS, new_figure
from tune_sketch.analysis.rows import Row, Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.events import Trial, Worker

UNKNOWN = Worker(node="", process=0)  # of an epoch whose process was not recorded
GAP_SECONDS = 5.0  # between two epochs: longer is not training (checkpoints, waiting for a process)
PAUSE_SECONDS = 120.0  # without any training anywhere: the search stood still
MAX_NAMED_LANES = 24


def tabulate_timeline(run: RunData) -> Rows:
    """One row per stretch of epochs that a training spent in one process, with the worker that it was.

    Seconds count from the first epoch's start. A worker is a slot for one process on one machine and GPU: when a
    process ends (a kill, a resume) the next one there takes its place. A training whose process was not recorded takes
    the first slot that is free.
    """
    rows = [row for r in [*run.trials, *run.retrainings, *run.last_steps] for row in find_stretches(r)]
    if not rows:
        return []
    begun = min(row["start_seconds"] for row in rows)
    for row in rows:
        row["start_seconds"] -= begun
        row["end_seconds"] -= begun
    number_workers(rows)
    return sorted(rows, key=lambda row: (row["start_seconds"], row["worker"]))


def find_stretches(trial: Trial) -> Rows:
    """Stretches of one training's epochs in one process without a gap; seconds since 1970."""
    rows: Rows = []
    what = "last step" if trial.is_last_step else "retraining" if trial.is_retraining else "trial"
    for epoch in trial.epochs:
        worker = asdict(epoch.worker or UNKNOWN)
        end = epoch.recorded_at
        start = end - epoch.seconds
        last = rows[-1] if rows else None
        is_same = last is not None and all(last[name] == value for name, value in worker.items())
        if last is not None and is_same and start - last["end_seconds"] < GAP_SECONDS:
            last |= {"end_seconds": max(end, last["end_seconds"]), "last_epoch": epoch.number}
            last["train_seconds"] += epoch.seconds
            continue
        row: Row = {"training": trial.key, "what": what, "status": trial.status, "first_epoch": epoch.number}
        row |= {"last_epoch": epoch.number, **worker, "start_seconds": start, "end_seconds": end}
        rows.append(row | {"train_seconds": epoch.seconds})
    return rows


def number_workers(rows: Rows) -> None:
    """Write "worker", from 1, and its "worker_name" into each row, machine by machine and GPU by GPU."""
    processes: dict[Hashable, Rows] = {}
    for index, row in enumerate(sorted(rows, key=lambda row: row["start_seconds"])):
        known = (row["node"], row["gpus"], row["process"]) if row["process"] else index
        processes.setdefault(known, []).append(row)
    groups: dict[tuple[str, str], list[Rows]] = {}
    for own in processes.values():
        groups.setdefault((own[0]["node"], own[0]["gpus"]), []).append(own)
    has_nodes = len({node for node, _ in groups}) > 1
    num_before = 0
    for node, gpus in sorted(groups):
        free_at: list[float] = []  # when each slot of this group is free again
        for own in groups[node, gpus]:
            start, end = own[0]["start_seconds"], max(row["end_seconds"] for row in own)
            slot = next((slot for slot, at in enumerate(free_at) if at <= start + GAP_SECONDS / 10), len(free_at))
            free_at[slot : slot + 1] = [end]
            for row in own:
                row["worker"] = num_before + slot + 1
        name = " ".join([*[node] * has_nodes, *[f"GPU {gpus.replace(' ', ', ')}"] * bool(gpus)])
        for row in (row for own in groups[node, gpus] for row in own):
            is_alone = bool(name) and len(free_at) == 1
            row["worker_name"] = name if is_alone else f"{name} worker {row['worker'] - num_before}".strip()
        num_before += len(free_at)


def find_pauses(rows: Rows) -> list[tuple[float, float]]:
    """(start, end) in seconds of the times in which nothing trained for long: between two sessions of a search."""
    pauses, latest = [], 0.0
    for row in sorted(rows, key=lambda row: row["start_seconds"]):
        if row["start_seconds"] - latest > PAUSE_SECONDS:
            pauses.append((latest, row["start_seconds"]))
        latest = max(latest, row["end_seconds"])
    return pauses


def measure_use(rows: Rows) -> float:
    """Share of the workers' time that was training, each counted from its first to its last epoch without pauses."""
    pauses, there = find_pauses(rows), 0.0
    for worker in {row["worker"] for row in rows}:
        own = [row for row in rows if row["worker"] == worker]
        start, end = min(row["start_seconds"] for row in own), max(row["end_seconds"] for row in own)
        there += end - start - sum(b - a for a, b in pauses if a >= start and b <= end)
    return min(1.0, sum(row["train_seconds"] for row in rows) / there) if there else 1.0


def count_at_once(rows: Rows, pauses: list[tuple[float, float]]) -> tuple[list[float], list[int], bool]:
    """(times, number in use from each on, whether GPUs are counted or else workers); short gaps are bridged."""
    has_gpus = any(row["gpus"] for row in rows)
    spans: dict[Hashable, list[list[float]]] = {}  # of each GPU or worker
    for row in sorted(rows, key=lambda row: row["start_seconds"]):
        for unit in [(row["node"], gpu) for gpu in row["gpus"].split()] if has_gpus else [row["worker"]]:
            own = spans.setdefault(unit, [])
            if own and row["start_seconds"] - own[-1][1] < GAP_SECONDS:
                own[-1][1] = max(own[-1][1], row["end_seconds"])
            else:
                own.append([row["start_seconds"], row["end_seconds"]])
    every = [span for own in spans.values() for span in own]
    changes = [(without_pauses(at, pauses), step) for start, end in every for at, step in ((start, 1), (end, -1))]
    changes.sort()
    return [at for at, _ in changes], list(itertools.accumulate(step for _, step in changes)), has_gpus


def without_pauses(seconds: float, pauses: list[tuple[float, float]]) -> float:
    """A moment on a clock that stands still during pauses."""
    return seconds - sum(min(seconds, end) - start for start, end in pauses if start < seconds)


def plot_timeline(rows: Rows, run: RunData) -> Drawing:
    """One bar per stretch on its worker; below, how many GPUs or workers were in use."""
    num_workers, pauses = max(row["worker"] for row in rows), find_pauses(rows)
    lane_inches = min(0.3, max(0.12, 6 / num_workers))
    figure, (lanes, load) = new_figure(
        2.2 + lane_inches * num_workers, 2, 1, sharex=True, height_ratios=[max(0.9, lane_inches * num_workers), 0.9]
    )
    length = max(without_pauses(row["end_seconds"], pauses) for row in rows)
    scale, unit = (3600, "hours") if length > 3 * 3600 else (60, "minutes") if length > 180 else (1, "seconds")
    drawn: set[str] = set()
    for row in rows:
        kind = "retraining" if row["what"] == "retraining" else row["status"]
        start = without_pauses(row["start_seconds"], pauses)
        width = without_pauses(row["end_seconds"], pauses) - start
        label = kind.replace("_", " ") if kind not in drawn else None
        color = COLORS[4] if kind == "retraining" else STATUS_COLORS.get(kind, COLORS[6])
        lanes.barh(
            row["worker"],
            width / scale,
            left=start / scale,
            height=0.8,
            color=color,
            edgecolor="w",
            linewidth=0.4,
            label=label,
        )
        drawn.add(kind)
    names = {row["worker"]: row["worker_name"] for row in rows}
    if num_workers <= MAX_NAMED_LANES:
        lanes.set_yticks(sorted(names), [names[worker] for worker in sorted(names)])
    else:
        lanes.set_ylabel(f"{num_workers} workers")
    lanes.set_ylim(num_workers + 0.6, 0.4)
    lanes.grid(axis="y", visible=False)
    lanes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, borderaxespad=0.1)
    for start, end in pauses:
        at = without_pauses(start, pauses) / scale
        for axis in (lanes, load):
            axis.axvline(at, color="#222222", linestyle="--", linewidth=0.8)
        lanes.annotate(
            f"pause, {(end - start) / 60:.0f} min", (at, 0.4), (3, -8), textcoords="offset points", fontsize=7
        )
    times, counts, has_gpus = count_at_once(rows, pauses)
    load.fill_between([at / scale for at in times], counts, step="post", color=COLORS[0], alpha=0.35, linewidth=0)
    load.step([at / scale for at in times], counts, where="post", color=COLORS[0], linewidth=1)
    load.set(xlabel=f"{unit} since the first epoch began", ylim=(0, max(counts) * 1.15))
    load.set_ylabel("GPUs in use" if has_gpus else "workers\nin use")
    load.set_title(f"{100 * measure_use(rows):.0f} % of the workers' time was training", loc="right", fontsize=8.5)
    return figure


TIMELINE = Figure(
    "timeline",
    "search",
    "Timeline of the workers",
    "Each bar is one training in one process, from its first epoch there to its last; between bars nothing was "
    "trained. A training whose process was not recorded is drawn on the first free worker.",
    tabulate_timeline,
    plot_timeline,
    is_of_all=True,
)
