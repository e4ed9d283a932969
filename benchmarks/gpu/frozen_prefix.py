"""Measures the gain of keeping the activations of frozen layers on a device: seconds of an epoch, in turns."""

from collections.abc import Iterator

from benchmarks.gpu.context import Case, Context, configure
from benchmarks.gpu.results import Row, spread_of
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.speed.feature_cache import CachePolicy
from tune_sketch.trainables.training import fit


def cases(context: Context) -> Iterator[Case]:
    for freeze in context.sizes.frozen:
        yield Case(f"{context.sizes.large}, {freeze}", 35, lambda freeze=freeze: compare(context, freeze))


def compare(context: Context, freeze: str) -> Iterator[Row]:
    """Epochs from drawings against epochs from the store, after the one that fills it."""
    network = context.sizes.large
    image_px, rounds = context.sizes.large_px, context.sizes.rounds
    splits, _ = context.inputs.splits(image_px)
    config = configure(
        network, 3 + rounds, pretrained=True, recipe=False, freeze=freeze, batch_size=context.sizes.batches[0]
    )
    policy = CachePolicy(1, 0, least_speedup=0.0, root=context.folder / f"store-{freeze}")

    def begin(views: CachePolicy | None):
        model = build_model(network, splits.num_classes, freeze=freeze, head=config["head"])
        options = {"seed": 0, "device": context.device, "pretrained": True, "cache_policy": views}
        return fit(model, splits, config, **options)

    ordinary, reusing = begin(None), begin(policy)
    next(ordinary), next(reusing)  # both begin with an ordinary epoch
    filling = next(reusing)[0]["epoch_seconds"]
    pairs = [[next(epochs)[0]["epoch_seconds"] for epochs in (ordinary, reusing)] for _ in range(rounds)]
    name = f"{network}, {freeze}, {image_px} px"
    for way, seconds in zip(("from drawings", "from the store"), zip(*pairs, strict=True), strict=True):
        yield Row("frozen prefix", name, f"epoch {way}", unit="s", **spread_of(seconds))
    yield Row("frozen prefix", name, "epoch that fills the store", filling, "s")
    speedups = [slow / fast for slow, fast in pairs]
    yield Row("frozen prefix", name, "speedup", **spread_of(speedups), at_least=context.sizes.frozen[freeze])
