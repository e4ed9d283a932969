"""Learning curves by formula: any configuration has one, the same on every machine."""

import math
import random

from tune_sketch.backend.simulated import Curve
from tune_sketch.events import Config

NUM_EPOCHS = 27
BEST_LOG_RATES = {"sgd": -1.6, "rmsprop": -3.2, "adam": -3.0, "adamw": -2.8}


def make_curve(config: Config, seed: int) -> Curve:
    """The curve of a configuration; the seed is its noise."""
    rng = random.Random(seed)
    rate = math.log10(config["learning_rate"])
    best = BEST_LOG_RATES[config["optimizer"]]
    quality = 0.85 * math.exp(-0.35 * (rate - best) ** 2) - 0.3 * abs(config["dropout"] - 0.3) + 0.1 * config["flip"]
    quality -= 0.002 * config["rotation_degrees"] + 0.5 * config["label_smoothing"] * (config["label_smoothing"] > 0.1)
    quality = min(0.95, max(0.01, quality + rng.gauss(0, 0.01)))
    tau = 1.5 + 60 * config["weight_decay"] + 0.02 * config["batch_size"]
    values, losses = [], []
    for epoch in range(1, NUM_EPOCHS + 1):
        value = quality * (1 - math.exp(-epoch / tau)) + rng.gauss(0, 0.004)
        values.append(round(min(1.0, max(0.0, value)), 6))
        losses.append(round(3 * (1 - value), 6))
    return Curve(values, losses, [1 + 32 / config["batch_size"]] * NUM_EPOCHS)
