"""Lists the networks by name: a new one is a file beside this one and a line here."""

from tune_sketch.trainables.networks import baseline, densenet121, resnet50, sketch_a_net, squeezenet1_1
from tune_sketch.trainables.networks.architecture import Architecture

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        baseline.ARCHITECTURE,
        resnet50.ARCHITECTURE,
        densenet121.ARCHITECTURE,
        sketch_a_net.ARCHITECTURE,
        squeezenet1_1.ARCHITECTURE,
    )
}


def known_architecture(name: str, image_px: int | None = None) -> Architecture:
    """The architecture called `name`; ValueError that lists the known ones.

    image_px: of the drawings, for networks of timm that are built for one size; None: that of their weights. Only
    "timm:NAME" imports timm, and with it torch.
    """
    if name.startswith("timm:"):
        from tune_sketch.trainables.networks.timm_networks import describe

        return describe(name, image_px)
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown model {name!r}; known models: {', '.join(ARCHITECTURES)}, timm:NAME")
    return ARCHITECTURES[name]
