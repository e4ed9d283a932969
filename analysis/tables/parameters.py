"""The parameters of the chosen network, counted, against those that the paper reported."""

import torch

from tune_sketch.analysis import paper
from tune_sketch.analysis.rows import Rows
from tune_sketch.analysis.run_data import RunData
from tune_sketch.analysis.tables.base import Table
from tune_sketch.trainables.networks.build import build_model
from tune_sketch.trainables.networks.registry import known_architecture


def count_parameters(run: RunData) -> int | None:
    """Trainable parameters of the chosen network, None before there is one."""
    if run.best_model is None:
        return None
    return sum(parameter.numel() for parameter in run.best_model.network.parameters())


def tabulate_parameters(run: RunData) -> Rows:
    """Parameters of the chosen network, counted in its weights, and the way from them to the paper's number."""
    if run.best_model is None:
        return []
    trainable = count_parameters(run)
    assert trainable is not None
    name, num_classes = run.model, len(run.class_names)
    rows: Rows = [{"what": f"{name}: trainable parameters with {num_classes} classes", "num_parameters": trainable}]
    if name not in paper.PARAMETERS:
        return rows
    outputs = paper.NUM_OUTPUTS[name]
    with torch.device("meta"):  # shapes alone are counted
        network = build_model(name, num_classes)
    plain = sum(parameter.numel() for parameter in network.parameters())
    if plain != trainable:
        rows.append({"what": "with the paper's plain head", "num_parameters": plain})
    head = network.get_submodule(known_architecture(name).head)
    per_class = sum(parameter.numel() for parameter in head.parameters()) // num_classes
    total = plain + (outputs - num_classes) * per_class
    rows.append({"what": f"the same with the paper's {outputs} outputs", "num_parameters": total})
    statistics = sum(b.numel() for key, b in network.named_buffers() if key.endswith(("running_mean", "running_var")))
    if statistics:
        rows.append({"what": "running statistics of batch norm, which Keras counts", "num_parameters": statistics})
    biases = 0
    if name in paper.HAS_BIASES_IN_CONVOLUTIONS:
        biases = sum(parameter.shape[0] for parameter in network.parameters() if parameter.ndim == 4)
        rows.append({"what": "biases of convolutions, which Keras has here", "num_parameters": biases})
    ours = total + statistics + biases
    return [
        *rows,
        {"what": "sum", "num_parameters": ours},
        {"what": "reported in the paper, Table 1", "num_parameters": paper.PARAMETERS[name]},
        {"what": "difference", "num_parameters": ours - paper.PARAMETERS[name]},
    ]


def show_parameters(rows: Rows) -> Rows:
    """The text of the cells."""
    return [{"": row["what"], "parameters": f"{row['num_parameters']:,}"} for row in rows]


PARAMETERS = Table(
    "parameters",
    "result",
    "Parameters, reconciled (paper: Table 1)",
    "Counted in best/weights.safetensors.",
    tabulate_parameters,
    show_parameters,
)
