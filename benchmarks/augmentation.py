"""Augmented drawings per CPU second: ours, torchvision v2 and kornia, on one thread, in turns.

python -m benchmarks.augmentation [--quick]     needs `pip install -e '.[bench]'`
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from benchmarks.limit import BATCH_SIZE, CONFIG
from benchmarks.machine import describe, result_path, write_result
from tune_sketch.storage.files import write_csv
from tune_sketch.trainables.augmentation import augment, draw_changes
from tune_sketch.trainables.speed.devices import keep_freed_memory

LEAST_RATIO = 1.0  # ours over the fastest other that changes each drawing in its own way
SIZES_PX = (64, 224)
SECONDS = 0.3  # of each measurement, at least one batch
OURS, ONE_BY_ONE, KORNIA = "ours, whole batch", "torchvision v2, one by one", "kornia, whole batch"
ALIKE = "torchvision v2, one change for the whole batch"


def main() -> int:
    """Measure, write the result, print the ratios; 1 when one is under its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds; writes no result file")
    quick = parser.parse_args().quick
    num_rounds = 3 if quick else 11
    keep_freed_memory()
    torch.set_num_threads(1)
    print(describe(), flush=True)
    lines = [
        f"Rotation, shift, zoom, shear and mirroring of a batch of {BATCH_SIZE} drawings, float32, one thread, in",
        f"turns; torchvision {version('torchvision')}, kornia {version('kornia')}. The ratio: ours over the way,",
        "round by round.",
        "",
        "| px | way | images per CPU second | ours over it, least / median / most | rounds |",
        "|---|---|---|---|---|",
    ]
    rows, texts, missed = [], [], False
    for image_px in SIZES_PX:
        rates = measure(image_px, num_rounds)
        for way, some in rates.items():
            ratios = sorted(ours / other for ours, other in zip(rates[OURS], some, strict=True))
            ratio = statistics.median(ratios)
            spread = f"{ratios[0]:.2f} / {ratio:.2f} / {ratios[-1]:.2f}"
            lines.append(f"| {image_px} | {way} | {statistics.median(some):.0f} | {spread} | {num_rounds} |")
            rows += [
                {"px": image_px, "way": way, "round": number, "images_per_cpu_second": f"{rate:.1f}"}
                for number, rate in enumerate(some)
            ]
            if way in (ONE_BY_ONE, KORNIA):
                missed |= ratio < LEAST_RATIO
                texts.append(f"{image_px} px, {way}: {ratio:.2f}x [{ratios[0]:.2f}, {ratios[-1]:.2f}]")
    print("\n".join(lines))
    if not quick:
        write_result("augmentation", "Augmentation of a batch, beside torchvision and kornia", lines)
        write_csv(result_path("augmentation", ".csv"), rows[0], rows)
    print("; ".join(texts) + f"; n = {num_rounds} rounds, target {LEAST_RATIO}")
    return int(missed)


def measure(image_px: int, num_rounds: int) -> dict[str, list[float]]:
    """{way: images per CPU second, one number a round}, after one round that warms up."""
    images = (torch.rand(BATCH_SIZE, 1, image_px, image_px) < 0.1).float()
    rates: dict[str, list[float]] = {way: [] for way in build_ways()}
    for number in range(num_rounds + 1):
        for way, change in build_ways().items():
            rate = images_per_second(change, images)
            if number:
                rates[way].append(rate)
    return rates


def build_ways() -> dict[str, Callable[[Tensor], Any]]:
    """The ways compared: functions of float [B, 1, H, W]. Pen width is left out, which only ours has."""
    import kornia.augmentation as kornia
    from torchvision.transforms import v2

    generator = torch.Generator().manual_seed(0)
    config = CONFIG | {"pen_width": 0.0}
    degrees, shift, zoom, shear = 10.0, (0.1, 0.1), (0.9, 1.1), (-5.0, 5.0)
    affine = v2.RandomAffine(degrees, shift, zoom, shear, interpolation=v2.InterpolationMode.BILINEAR)
    by_torchvision = v2.Compose([affine, v2.RandomHorizontalFlip()])
    by_kornia = torch.nn.Sequential(
        kornia.RandomAffine(degrees, shift, zoom, shear, p=1.0), kornia.RandomHorizontalFlip()
    )
    return {
        OURS: lambda images: augment(images, draw_changes(len(images), config, generator, images.device), True),
        KORNIA: by_kornia,
        ONE_BY_ONE: lambda images: torch.stack([by_torchvision(image) for image in images]),
        ALIKE: by_torchvision,
    }


def images_per_second(change: Callable[[Tensor], Any], images: Tensor) -> float:
    """Of this process's CPU time, over at least SECONDS."""
    start = time.process_time()
    num_batches = 0
    while time.process_time() - start < SECONDS:
        change(images)
        num_batches += 1
    return num_batches * len(images) / (time.process_time() - start)


if __name__ == "__main__":
    sys.exit(main())
