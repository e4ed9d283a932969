"""What a trial does: the networks by name, and (in the modules here) how one is trained."""

from trainables import baseline, densenet121, resnet50, sketch_a_net, squeezenet1_1
from trainables.architecture import Architecture, build_model

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

__all__ = ["ARCHITECTURES", "Architecture", "build_model"]
