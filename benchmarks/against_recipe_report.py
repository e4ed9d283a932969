"""From trainings by the ordinary recipe and by ours to a table and ratios, by processor, and to the targets."""

import statistics
from typing import Any

IMAGE_PX = 64
MOST_OTHERS = 0.15  # of the processors' time for other programs, or what ended between two looks: else once more
WAYS = {
    "recipe": "ordinary recipe, PNG of 256 px",
    "recipe on small files": f"the same, PNG shrunk to {IMAGE_PX} px beforehand",
    "ours": "ours",
}
# Times the images per second of another way, on two cores, on the processor where it is least.
TARGETS = {("baseline", "recipe"): 3.0, ("baseline", "recipe on small files"): 3.0, ("resnet50", "recipe"): 1.3}


def report(rows: list[dict[str, Any]]) -> tuple[list[str], int]:
    """(lines of the table of medians and of the ratios by processor; 1 where the least of them misses a target)."""
    lines = [
        f"One training at a time on all cores, at {IMAGE_PX} px, through Ray Tune: same network, split, batches of 64,",
        "adam, augmentation, a checkpoint every epoch. Medians over trainings that take turns, of their epochs after",
        "the first. Seconds per epoch: from report to report, with validation and checkpoint. First epoch: from the",
        "start of the Tuner to the first report. Memory: the trial's process and its loaders, shared pages in part",
        f"(PSS). A round in which other programs took more than {MOST_OTHERS:.0%} of the processors was measured",
        "again, but at most two (the column `others` of the CSV). Whether top-1 differs by more than chance:",
        "recipe_accuracy.",
        "",
        "| network | on | way | workers | images/s | s per epoch | s to first epoch | peak MB | top-1 (spread) | n |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    texts, code = [], 0
    for model in dict.fromkeys(row["model"] for row in rows):
        of_model = [row for row in rows if row["model"] == model]
        ratios: dict[str, list[float]] = {}
        for processor in dict.fromkeys(row["processor"] for row in of_model):
            here = [row for row in of_model if row["processor"] == processor]
            by_way = {way: [row for row in here if row["way"] == way] for way in WAYS}
            lines += [table_line(model, processor, way, some) for way, some in by_way.items()]
            for way in list(WAYS)[:2]:
                ratio, text = compare_pairs(list(zip(by_way[way], by_way["ours"], strict=True)))
                ratios.setdefault(way, []).append(ratio)
                texts.append(f"{model} against {way}, {processor}: {text}")
            seconds = statistics.median(float(row["decode_seconds"]) for row in by_way["ours"])
            texts.append(f"{model}, {processor}: ours decodes the drawings once before all trials, in {seconds:.1f} s")
        for way, some in ratios.items():
            target = TARGETS.get((model, way))
            if target is not None:
                code |= min(some) < target
                texts.append(
                    f"{model} against {way}, least of {len(some)} processors: {min(some):.2f}x (target {target})"
                )
    lines += ["", *(f"- {text}" for text in texts)]
    return lines, int(code)


def table_line(model: str, processor: str, way: str, rows: list[dict[str, Any]]) -> str:
    """Medians of one way on one processor."""
    columns = ("images_per_second", "epoch_seconds", "first_epoch_seconds", "peak_mb", "val_top1")
    values = {column: sorted(float(row[column]) for row in rows) for column in columns}
    speed, seconds, first, memory, top1 = (statistics.median(values[column]) for column in columns)
    numbers = f"{speed:.0f} | {seconds:.2f} | {first:.1f} | {memory:.0f}"
    accuracy = f"{top1:.3f} ({values['val_top1'][0]:.3f} to {values['val_top1'][-1]:.3f})"
    workers = "none" if way == "ours" else ", ".join(sorted({str(row["num_workers"]) for row in rows}))
    return f"| {model} | {processor} | {WAYS[way]} | {workers} | {numbers} | {accuracy} | {len(rows)} |"


def compare_pairs(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> tuple[float, str]:
    """(median of our images per second over another way's, that with its spread, the gain of top-1 and n)."""
    ratios = sorted(float(our["images_per_second"]) / float(row["images_per_second"]) for row, our in pairs)
    gains = [float(our["val_top1"]) - float(row["val_top1"]) for row, our in pairs]
    ratio = statistics.median(ratios)
    text = f"{ratio:.2f}x [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
    text += f", top-1 {statistics.mean(gains):+.3f} [{min(gains):+.3f}, {max(gains):+.3f}], n = {len(pairs)}"
    return ratio, text
