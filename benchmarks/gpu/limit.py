"""How near is an epoch to the same network on one batch that lies on the device, and where does its time go?"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.context import Case, Context
from benchmarks.gpu.correct import contiguous_layout
from benchmarks.gpu.results import Note, Row, spread_of
from benchmarks.limit import CONFIG, NUM_CLASSES, fixed_batch_step, measure, run_steps, synthetic_splits
from tune_sketch.trainables.evaluation import normalise
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.speed import devices
from tune_sketch.trainables.speed.devices import move_to_device
from tune_sketch.trainables.training import fit

Pair = tuple[str, int, int]  # network, px, batch
TARGET = 0.90  # of the ceiling
AS_IT_IS, FLOAT32 = "as it is", "float32"
PASSES_OVER_A_MAP = 5  # at least: written and read forward, read once more and its gradient written and read backward


def cases(context: Context) -> Iterator[Case]:
    """The pairs that say most first, then what else could be tried, and the profile of the worse one."""
    pairs = first_pairs(context)
    ratios: dict[Pair, float] = {}
    for pair in pairs:
        yield Case(name_of(pair), 35, lambda pair=pair: against_ceiling(context, pair, ratios))
    for pair in pairs:
        yield Case(f"variants of {name_of(pair)}", 25, lambda pair=pair: compare_variants(context, pair))
    yield Case("roofs", 10, lambda: measure_roofs(context))
    yield Case("profile", 15, lambda: show_profile(context, min(ratios, key=ratios.__getitem__, default=pairs[0])))


def first_pairs(context: Context) -> list[Pair]:
    """The small network at the small side and the large one at the large side."""
    sizes = context.sizes
    return [(sizes.small, sizes.small_px, sizes.batches[0]), (sizes.large, sizes.large_px, sizes.batches[0])]


def name_of(pair: Pair) -> str:
    network, image_px, batch_size = pair
    return f"{network}, {image_px} px, batch {batch_size}"


def against_ceiling(context: Context, pair: Pair, ratios: dict[Pair, float]) -> Iterator[Row]:
    """Epochs of `fit` and steps on a fixed batch, in turns."""
    network, image_px, batch_size = pair
    row = measure(network, image_px, images_of(context, network), context.sizes.rounds, context.device, batch_size)
    ratios[pair] = row["ratio"]
    spread = {"lowest": row["lowest"], "highest": row["highest"], "n": row["n"]}
    yield Row("limit", name_of(pair), "epoch over ceiling", row["ratio"], at_least=TARGET, **spread)
    yield Row("limit", name_of(pair), "ceiling", row["ceiling"], "images/s")
    yield Row("limit", name_of(pair), "epoch", row["fit"], "images/s")


def images_of(context: Context, network: str) -> int:
    """Drawings of an epoch: a small network needs more of them to last."""
    return context.sizes.images_per_epoch * (4 if network == context.sizes.small else 1)


def compare_variants(context: Context, pair: Pair) -> Iterator[Row]:
    """Training steps on a fixed batch: as `fit` makes them, and otherwise."""
    network, image_px, batch_size = pair
    device = context.device
    make = (network, image_px, device, batch_size)
    steps = {way: fixed_batch_step(*make) for way in (AS_IT_IS, FLOAT32)}
    with contiguous_layout():
        steps["contiguous"] = fixed_batch_step(*make)
    if device.type == "cuda":
        steps["CUDA graph"] = graphed_step(*make)
    rates: dict[str, list[float]] = {way: [] for way in steps}
    num_steps = max(2, images_of(context, network) // batch_size)
    for number in range(context.sizes.rounds + 1):
        for way, step in steps.items():
            with float32_alone() if way == FLOAT32 else nullcontext():
                rate = num_steps * batch_size / run_steps(step, num_steps if number else 2, device)
            if number:  # the first round warms up
                rates[way].append(rate)
    for way, some in rates.items():
        yield Row("limit", name_of(pair), f"fixed batch, {way}", unit="images/s", **spread_of(some))
        if way != AS_IT_IS:
            ratios = [rate / ours for rate, ours in zip(some, rates[AS_IT_IS], strict=True)]
            yield Row("limit", name_of(pair), f"{way}, over as it is", **spread_of(ratios))


def float32_alone() -> Any:
    """A context without bfloat16."""
    return patch.object(devices, "uses_bfloat16", lambda model, device: False)


def graphed_step(network: str, image_px: int, device: torch.device, batch_size: int) -> Callable[[], None]:
    """A training step as one CUDA graph: the same kernels without their launches. Fixed shapes and learning rate."""
    model = build_model(network, NUM_CLASSES)
    move_to_device(model, device)
    model.train()
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, CONFIG["learning_rate"], fused=True, capturable=True)
    inputs = normalise(torch.rand(batch_size, 1, image_px, image_px, device=device), model, pretrained=False)
    labels = torch.arange(batch_size, device=device) % NUM_CLASSES

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        # Weights that autocast has cast are not kept from one graph to the next.
        with torch.autocast(device.type, torch.bfloat16, devices.uses_bfloat16(model, device), cache_enabled=False):
            logits = model(inputs)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # kernels are chosen before the graph is recorded
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay(kept: object = (step, model)) -> None:  # the graph reads memory of tensors that it does not hold
        graph.replay()

    return replay


def measure_roofs(context: Context) -> Iterator[Row]:
    """The best rates of the device for computing and moving, and the large network's share of both in a step."""
    device, side = context.device, context.sizes.product_side
    product = best_product_flops(device, side)
    copied = best_bytes_per_second(device, 16 * side**2)
    yield Row("limit", "roofs", f"bfloat16 product of {side} x {side}", product / 1e12, "TFLOP/s")
    yield Row("limit", "roofs", "copy within the device, read and written", copied / 1e9, "GB/s")
    pair = network, image_px, batch_size = first_pairs(context)[1]
    flops, num_bytes = count_work(network, image_px)
    step = fixed_batch_step(network, image_px, device, batch_size)
    run_steps(step, 3, device)
    num_steps = 2 if context.sizes.is_rehearsal else 30
    rate = num_steps * batch_size / run_steps(step, num_steps, device)
    name = name_of(pair)
    yield Row(
        "limit", name, "share of the arithmetic roof", rate * flops / product, note=f"{flops / 1e9:.1f} GFLOP each"
    )
    note = f"at least {num_bytes / 1e9:.2f} GB each: {PASSES_OVER_A_MAP} passes over every layer's map"
    yield Row("limit", name, "share of the bandwidth roof", rate * num_bytes / copied, note=note)


def best_product_flops(device: torch.device, side: int) -> float:
    """Floating-point operations per second of a square product in bfloat16."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    run_steps(lambda: left @ right, 3, device)
    return max(10 * 2 * side**3 / run_steps(lambda: left @ right, 10, device) for _ in range(3))


def best_bytes_per_second(device: torch.device, num_bytes: int) -> float:
    """Bytes read and written per second by a copy."""
    source = torch.ones(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    run_steps(lambda: target.copy_(source), 3, device)
    return max(10 * 2 * num_bytes / run_steps(lambda: target.copy_(source), 10, device) for _ in range(3))


def count_work(network: str, image_px: int) -> tuple[float, float]:
    """(floating-point operations, bytes in bfloat16) of one drawing's training step, counted on shapes alone."""
    with torch.device("meta"):
        model = build_model(network, NUM_CLASSES)
        inputs = torch.empty(2, 3, image_px, image_px)
    num_values = 0

    def add(module: nn.Module, given: Any, output: Tensor) -> None:
        nonlocal num_values
        num_values += output.numel()

    hooks = [m.register_forward_hook(add) for m in model.modules() if not list(m.children())]
    with FlopCounterMode(display=False) as counter:
        model(inputs).sum().backward()
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() / 2, PASSES_OVER_A_MAP * 2 * num_values / 2


def show_profile(context: Context, pair: Pair) -> Iterator[Note]:
    """Where the time of an epoch goes, in the case that is furthest from its ceiling."""
    network, image_px, batch_size = pair
    splits = synthetic_splits(image_px, images_of(context, network))
    epochs = fit(
        build_model(network, NUM_CLASSES), splits, CONFIG | {"batch_size": batch_size}, seed=0, device=context.device
    )
    next(epochs)
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (context.device.type == "cuda")]
    with profile(activities=activities, acc_events=True) as profiled:
        next(epochs)
    averages = profiled.key_averages()
    name = f"{name_of(pair)}: one epoch of {len(splits.train)} drawings"
    for key in ("self_cpu_time_total", "self_device_time_total"):
        table = averages.table(sort_by=key, row_limit=16, max_name_column_width=60)
        yield Note("limit", f"{name}, by {key}", table)
