"""Cuts a network of any library into layers that, applied in turn, are its forward pass, by tracing it."""

from collections.abc import Mapping

from torch import fx, nn


class GroupTracer(fx.Tracer):
    """Traces through modules whose parameters are of several groups, and takes each other module for one step.

    group_of: number of the group of each parameter.
    """

    def __init__(self, group_of: Mapping[str, int]) -> None:
        super().__init__()
        self.group_of = group_of

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether the module is one step."""
        return len({self.group_of.get(f"{name}.{parameter}") for parameter, _ in module.named_parameters()}) <= 1


def trace_layers(model: nn.Module, group_of: Mapping[str, int]) -> list[nn.Module]:
    """The layers between all points of the forward pass at which one tensor is all that is handed on.

    They share the model's modules and weights. Raises what tracing does where the forward pass depends on values or
    shapes in a way that it cannot follow.
    """
    graph = GroupTracer(group_of).trace(model)
    (images,) = (node for node in graph.nodes if node.op == "placeholder")
    (output,) = (node for node in graph.nodes if node.op == "output")
    # Parameters that are read outside modules are read again wherever they are used, so they cut nothing.
    steps = [node for node in graph.nodes if node.op not in ("placeholder", "output", "get_attr")]
    position = {node: index for index, node in enumerate([images, *steps, output])}
    last_use = {node: max((position[user] for user in node.users), default=0) for node in [images, *steps]}
    layers: list[nn.Module] = []
    source, segment = images, []
    latest = last_use[images]
    for node in steps:
        segment.append(node)
        # Of all values so far only this one may be used later.
        if latest <= position[node]:
            layers.append(as_layer(model, source, segment))
            source, segment = node, []
        latest = max(latest, last_use[node])
    assert output.args[0] is source, "the last value is the output"
    return layers


def as_layer(model: nn.Module, source: fx.Node, steps: list[fx.Node]) -> fx.GraphModule:
    """Some steps of a traced forward pass as a module from the value of `source` to that of the last step."""
    graph = fx.Graph()
    copies = {source: graph.placeholder("values")}

    def copy(node: fx.Node) -> fx.Node:
        if node not in copies:
            assert node.op == "get_attr"
            copies[node] = graph.node_copy(node)
        return copies[node]

    for node in steps:
        for needed in node.all_input_nodes:
            copy(needed)
        copies[node] = graph.node_copy(node, copy)
    graph.output(copies[steps[-1]])
    return fx.GraphModule(model, graph)
