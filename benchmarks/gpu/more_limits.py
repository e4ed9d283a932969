"""The limit of the other networks, sides and batches, and what compiling a network gains and costs."""

import itertools
import statistics
import time
from collections.abc import Iterator

from benchmarks.gpu.context import Case, Context
from benchmarks.gpu.limit import Pair, against_ceiling, first_pairs, images_of, name_of
from benchmarks.gpu.results import Row, spread_of
from benchmarks.limit import fixed_batch_step, run_steps

TRAINING_DRAWINGS = 100_000  # of one training that a compiled network would be used for: 2,000 drawings for 50 epochs


def cases(context: Context) -> Iterator[Case]:
    """Compiling first."""
    sizes, first = context.sizes, first_pairs(context)
    for pair in first:
        yield Case(f"torch.compile of {name_of(pair)}", 60, lambda pair=pair: compare_compiled(context, pair))
    networks, sides = (sizes.small, sizes.large, sizes.third), (sizes.small_px, sizes.large_px)
    for pair in itertools.product(networks, sides, sizes.batches):
        if pair not in first:
            yield Case(name_of(pair), 20, lambda pair=pair: against_ceiling(context, pair, {}))


def compare_compiled(context: Context, pair: Pair) -> Iterator[Row]:
    """Steps of a compiled network: how long it compiles, what it gains, and after how many trainings that pays."""
    network, image_px, batch_size = pair
    device, name = context.device, name_of(pair)
    plain = fixed_batch_step(network, image_px, device, batch_size)
    start = time.perf_counter()
    compiled = fixed_batch_step(network, image_px, device, batch_size, compile_backend=context.sizes.compile_backend)
    run_steps(compiled, 2, device)
    seconds = time.perf_counter() - start
    yield Row("limit", name, "torch.compile", seconds, "s")
    run_steps(plain, 3, device)
    num_steps = max(2, images_of(context, network) // batch_size)
    pairs = [
        [num_steps * batch_size / run_steps(step, num_steps, device) for step in (plain, compiled)]
        for _ in range(context.sizes.rounds)
    ]
    yield Row("limit", name, "compiled over as it is", **spread_of([fast / slow for slow, fast in pairs]))
    slow, fast = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    saved = TRAINING_DRAWINGS / slow - TRAINING_DRAWINGS / fast
    what = f"trainings of {TRAINING_DRAWINGS:,} drawings until compiling has paid"
    if saved > 0:
        yield Row("limit", name, what, seconds / saved)
    else:
        yield Row("limit", name, what, None, note="never: compiled is not faster")
