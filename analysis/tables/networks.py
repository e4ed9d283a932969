"""The network as tables: its parameters against the study's Table 1, and what several looks at a drawing gain."""

import time
from typing import Any

import numpy as np
from tune_sketch.statistics.intervals import paired_interval

from tune_sketch.analysis import paper as study
from tune_sketch.analysis.run_data import RunData, percent_text, signed_interval_text

Rows = list[dict[str, Any]]
VOTE_SHARE, LEAST_VOTE_SECONDS, MOST_VOTE_SECONDS = 0.02, 5.0, 120.0  # of the run's training time, for measuring votes
PASSES_PER_VOTE = 16  # forward passes per drawing over all votes, the activation map counted as four


def count_parameters(run: RunData) -> int | None:
    """Trainable parameters of the chosen network, None before there is one."""
    if run.best_model is None:
        return None
    return sum(parameter.numel() for parameter in run.best_model.network.parameters())


def tabulate_parameters(run: RunData) -> Rows:
    """Parameters of the chosen network, counted in its weights, and the way from them to the study's number."""
    if run.best_model is None:
        return []
    from tune_sketch.trainables.networks.registry import known_architecture

    network, trainable = run.best_model.network, count_parameters(run)
    assert trainable is not None
    name, num_classes = run.settings.model, len(run.class_names)
    rows = [{"what": f"{name}: trainable parameters with {num_classes} classes", "num_parameters": trainable}]
    if name not in study.PARAMETERS:
        return rows
    outputs = study.NUM_OUTPUTS[name]
    head = network.get_submodule(known_architecture(name).head)
    per_class = sum(parameter.numel() for parameter in head.parameters()) // num_classes
    total = trainable + (outputs - num_classes) * per_class
    rows.append({"what": f"the same with the study's {outputs} outputs", "num_parameters": total})
    statistics = sum(b.numel() for key, b in network.named_buffers() if key.endswith(("running_mean", "running_var")))
    if statistics:
        rows.append({"what": "running statistics of batch norm, which Keras counts", "num_parameters": statistics})
    biases = 0
    if name in study.HAS_BIASES_IN_CONVOLUTIONS:
        biases = sum(parameter.shape[0] for parameter in network.parameters() if parameter.ndim == 4)
        rows.append({"what": "biases of convolutions, which Keras has here", "num_parameters": biases})
    ours = total + statistics + biases
    return [
        *rows,
        {"what": "sum", "num_parameters": ours},
        {"what": "reported in the study, Table 1", "num_parameters": study.PARAMETERS[name]},
        {"what": "difference", "num_parameters": ours - study.PARAMETERS[name]},
    ]


def show_parameters(rows: Rows) -> Rows:
    return [{"": row["what"], "parameters": f"{row['num_parameters']:,}"} for row in rows]


def tabulate_votes(run: RunData) -> Rows:
    """Top-1 of each kind of vote on test drawings, and its paired difference to one look, with a 95 % interval.

    num_gained drawings are right with the vote alone, num_lost without it alone.
    """
    from tune_sketch.inference.test_time_augmentation import (
        VOTES,
        predict_sections,
        vote_by_activation,
        vote_by_majority,
    )

    if run.data is None or run.splits is None or run.best_model is None or not run.predictions:
        return []
    model = run.best_model
    order = np.sort(np.random.default_rng(2).permutation(run.splits.test)[: count_affordable(run)])
    images, labels = np.asarray(run.data.images[order]), run.data.labels[order]
    plain = model.compute_probabilities(images).argmax(axis=1) == labels
    rows: Rows = [{"look": "one", "num_drawings": len(order), "top1": float(plain.mean())}]
    by_section = predict_sections(model, images)
    for name, vote in VOTES.items():
        if name == "sections":
            scores = vote_by_majority(by_section)
        elif name == "cam":
            scores = vote_by_activation(model, images, by_section)
        else:
            scores = vote(model, images)
        right = scores.argmax(axis=1) == labels
        gained, lost = int((right & ~plain).sum()), int((plain & ~right).sum())
        low, high = paired_interval(gained, lost, len(order))
        row = {"look": name, "num_drawings": len(order), "top1": float(right.mean())}
        row |= {"num_gained": gained, "num_lost": lost, "gain": (gained - lost) / len(order)}
        rows.append(row | {"gain_low": low, "gain_high": high})
    return rows


def count_affordable(run: RunData) -> int:
    """How many test drawings can be voted on in a fiftieth of the run's training time; at least 32.

    From the time that the first few take: a large network after a short search is measured on part of the split.
    """
    assert run.data is not None
    assert run.splits is not None
    assert run.best_model is not None
    seconds_per_drawing = 0.0
    for number in (8, 32, 256):  # the first pass is slower, and a small batch costs more for each drawing
        some = np.asarray(run.data.images[run.splits.test[:number]])
        begun = time.perf_counter()
        run.best_model.compute_probabilities(some)
        seconds = time.perf_counter() - begun
        seconds_per_drawing = seconds / len(some)
        if number > 8 and seconds > 0.5:
            break
    trained_seconds = sum(epoch["epoch_seconds"] for r in [*run.trials, *run.retrainings] for epoch in r.epochs)
    seconds = min(MOST_VOTE_SECONDS, max(LEAST_VOTE_SECONDS, VOTE_SHARE * trained_seconds))
    return max(32, int(seconds / (PASSES_PER_VOTE * seconds_per_drawing)))


LOOKS = {
    "one": "one look, as in the result",
    "sections": "--vote sections: majority of nine overlapping sections",
    "cam": "--vote cam: sections weighted by activation",
    "flips": "--vote flips: mean with the mirror image",
}


def show_votes(rows: Rows) -> Rows:
    return [
        {
            "look": LOOKS.get(row["look"], row["look"]),
            "test drawings": row["num_drawings"],
            "top-1": percent_text(row["top1"]),
            "right only so": row.get("num_gained", ""),
            "wrong only so": row.get("num_lost", ""),
            "gain (points)": f"{100 * row['gain']:+.1f}" if "gain" in row else "",
            "95 % interval": signed_interval_text(row["gain_low"], row["gain_high"]) if "gain" in row else "",
        }
        for row in rows
    ]
