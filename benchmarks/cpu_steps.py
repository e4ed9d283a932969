"""Measures choices in training steps on a CPU: products over small maps, kept memory, the number format.

python -m benchmarks.cpu_steps [--quick] [--pairs N]     each choice on and off in turn, a process of one thread each
"""

import argparse
import statistics
import subprocess
import sys
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.limit import BATCH_SIZE, fixed_batch_step, run_steps
from benchmarks.machine import write_result
from tune_sketch.trainables.speed.devices import cpu_multiplies_bfloat16, keep_freed_memory, uses_bfloat16

NUM_STEPS = 4
# network, px, what is left out beside the choice, the least that the choice has to gain
CASES = (
    ("resnet50", 32, "products", 1.2),
    ("resnet50", 64, "products", 1.0),
    ("baseline", 64, "kept memory", 1.0),
    ("resnet50", 32, "kept memory", 1.0),
    ("baseline", 64, "format", 1.0),
    ("sketch_a_net", 128, "format", 1.0),
    ("squeezenet1_1", 128, "format", 1.0),
    ("resnet50", 64, "format", 1.0),
    ("densenet121", 64, "format", 1.0),
    ("timm:vit_tiny_patch16_224", 224, "format", 1.0),
    ("timm:efficientnet_lite0", 128, "format", 1.0),
    ("timm:convnext_atto", 64, "format", 1.0),
    ("timm:mobilevit_xxs", 128, "format", 1.0),
    ("timm:efficientnet_lite0", 128, "adapted", 1.0),
    ("timm:mobilevit_xxs", 128, "adapted", 1.0),
    ("timm:vit_tiny_patch16_224", 224, "adapted", 1.0),
)


def main() -> int:
    """Measure, write the result, print the ratios; 1 when one is under its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three pairs instead of seven; writes no result file")
    parser.add_argument("--pairs", type=int, default=7, help="of each case (default 7)")
    parser.add_argument("--child", nargs=3, metavar=("NETWORK", "PX", "WITHOUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(images_per_second(arguments.child[0], int(arguments.child[1]), arguments.child[2]))
        return 0
    num_pairs = 3 if arguments.quick else arguments.pairs
    lines = [
        f"Images per CPU second of one thread, batch of {BATCH_SIZE}, adam, one fixed batch, {NUM_STEPS} steps after a "
        "first. Medians; the ratio pair by pair. Format: the one that is chosen, here "
        f"{'bfloat16' if cpu_multiplies_bfloat16() else 'float32'}, against the other. Adapted: depthwise convolutions "
        "in float32 and short attention as products, against bfloat16 throughout.",
        "",
        "| network | px | choice | without | with | ratio, least / median / most | target | pairs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    short, missed = [], False
    for network, image_px, choice, target in CASES:
        pairs = [[run(network, image_px, without) for without in (choice, "nothing")] for _ in range(num_pairs)]
        ratios = sorted(with_it / without for without, with_it in pairs)
        ratio = statistics.median(ratios)
        without, with_it = (statistics.median(column) for column in zip(*pairs, strict=True))
        spread = f"{ratios[0]:.2f} / {ratio:.2f} / {ratios[-1]:.2f}"
        lines.append(
            f"| {network} | {image_px} | {choice} | {without:.0f} | {with_it:.0f} | {spread} | {target} | {num_pairs} |"
        )
        short.append(f"{network} {image_px} px, {choice}: {ratio:.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]")
        missed |= ratio < target
    print("\n".join(lines))
    if not arguments.quick:
        write_result("cpu_steps", "What choices gain in training steps on a CPU", lines)
    print("; ".join(short) + f"; n = {num_pairs}")
    return int(missed)


def run(network: str, image_px: int, without: str) -> float:
    command = [sys.executable, "-m", "benchmarks.cpu_steps", "--child", network, str(image_px), without]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def images_per_second(network: str, image_px: int, without: str) -> float:
    """Of this process, which leaves out one of the choices, or "nothing"."""
    torch.set_num_threads(1)
    if without != "kept memory":
        keep_freed_memory()
    device = torch.device("cpu")
    left_out: dict[str, Any] = {
        "products": ("use_products_for_small_maps", lambda model: None),
        "adapted": ("adapt_to_bfloat16", lambda model: None),
        "format": ("uses_bfloat16", lambda model, device: not uses_bfloat16(model, device)),
    }
    name, stand_in = left_out.get(without, ("uses_bfloat16", uses_bfloat16))
    with patch(f"tune_sketch.trainables.speed.devices.{name}", stand_in):
        step = fixed_batch_step(network, image_px, device)
        step()
        return NUM_STEPS * BATCH_SIZE / run_steps(step, NUM_STEPS, device)


if __name__ == "__main__":
    sys.exit(main())
