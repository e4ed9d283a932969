"""The network as tables: its parameters against the study's Table 1, and what several looks at a drawing gain."""

import time
from typing import Any

import numpy as np

from analysis import study
from analysis.run_data import RunData, percent_text

Rows = list[dict[str, Any]]
VOTE_SECONDS = 5.0  # roughly; larger networks are measured on part of the test split
PASSES_PER_VOTE = 16  # forward passes per drawing over all votes, the activation map counted as four


def tabulate_parameters(run: RunData) -> Rows:
    """Parameters of the chosen network, counted in its weights, and the way from them to the study's number."""
    if run.best_model is None:
        return []
    from trainables.architecture import known_architecture

    network = run.best_model.network
    trainable = sum(parameter.numel() for parameter in network.parameters())
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

    The interval is normal over drawings: mean and deviation of (right with the vote) - (right without).
    """
    from tune_sketch.voting import VOTES, predict_sections, vote_by_activation, vote_by_majority

    if run.data is None or run.splits is None or run.best_model is None or not run.predictions:
        return []
    model = run.best_model
    order = np.sort(np.random.default_rng(2).permutation(run.splits.test)[: count_affordable(run)])
    images, labels = np.asarray(run.data.images[order]), run.data.labels[order]
    plain = model.predict(images).argmax(axis=1) == labels
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
        change = right.astype(float) - plain
        half = 1.96 * float(change.std(ddof=1)) / len(change) ** 0.5 if len(change) > 1 else float("nan")
        gain = float(change.mean())
        rows.append(
            {"look": name, "num_drawings": len(order), "top1": float(right.mean()), "gain": gain}
            | {"gain_low": gain - half, "gain_high": gain + half}
        )
    return rows


def count_affordable(run: RunData) -> int:
    """How many test drawings can be voted on within VOTE_SECONDS, from the time of a first few: at least 32."""
    assert run.data is not None
    assert run.splits is not None
    assert run.best_model is not None
    few = np.asarray(run.data.images[run.splits.test[:32]])
    run.best_model.predict(few)  # the first pass is slower
    begun = time.perf_counter()
    run.best_model.predict(few)
    seconds_per_drawing = (time.perf_counter() - begun) / len(few)
    return max(32, int(VOTE_SECONDS / (PASSES_PER_VOTE * seconds_per_drawing)))


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
            "gain (points)": f"{100 * row['gain']:+.1f}" if "gain" in row else "",
            "95 % interval": f"{100 * row['gain_low']:+.1f} to {100 * row['gain_high']:+.1f}" if "gain" in row else "",
        }
        for row in rows
    ]
