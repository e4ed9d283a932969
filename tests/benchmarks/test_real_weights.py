"""Real ImageNet weights out of a package: their values, their meaning, and nothing run while they are read."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.real_weights import CAFFE_MEAN_BGR, ArrayUnpickler, fold_normalisation, packaged_file, read_squeezenet
from tests.support.real_weights import needs_real_weights
from tune_sketch.trainables.networks.architecture import IMAGENET
from tune_sketch.trainables.networks.find_weights import resolve_weights


def read_packaged() -> dict[str, Tensor]:
    file = packaged_file()
    assert file is not None
    return read_squeezenet(file)


@needs_real_weights
def test_shapes_and_values() -> None:
    from torchvision.models import squeezenet1_1

    weights = read_packaged()
    assert {name: tensor.shape for name, tensor in weights.items()} == {
        name: tensor.shape for name, tensor in squeezenet1_1().state_dict().items()
    }
    assert sum(tensor.numel() for tensor in weights.values()) == 1_235_496
    assert all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in weights.values())
    assert weights["classifier.1.weight"].std() == pytest.approx(0.0417, abs=1e-4)
    assert weights["features.0.bias"].mean() == pytest.approx(0.0376, abs=1e-4)


@needs_real_weights
def test_a_photo_of_a_temple_is_seen_as_one() -> None:
    from sklearn.datasets import load_sample_image
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    model = squeezenet1_1().eval()
    model.load_state_dict(read_packaged())
    photo = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)  # uint8 [3, H, W]
    published = SqueezeNet1_1_Weights.IMAGENET1K_V1
    with torch.inference_mode():
        best = model(published.transforms(antialias=True)(photo)[None]).topk(5).indices[0]
    assert {"stupa", "dome", "palace"} <= {published.meta["categories"][index] for index in best}


@needs_real_weights
def test_a_search_takes_the_file(real_squeezenet) -> None:
    resolved = resolve_weights("squeezenet1_1", str(real_squeezenet))
    assert resolved.pretrained
    assert resolved.path == str(real_squeezenet)


def test_the_normalisation_moves_into_the_first_layer() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 3, stride=2)
    photo = torch.rand(2, 3, 9, 9)  # RGB in [0, 1]
    as_caffe = 255 * photo.flip(1) - torch.tensor(CAFFE_MEAN_BGR).view(1, 3, 1, 1)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
    as_torchvision = (photo - mean) / deviation
    kernel, bias = fold_normalisation(layer.weight.detach(), layer.bias.detach())
    assert torch.allclose(F.conv2d(as_torchvision, kernel, bias, stride=2), layer(as_caffe), rtol=1e-4, atol=1e-3)


def test_only_arrays_are_unpickled(tmp_path) -> None:
    arrays, code = tmp_path / "arrays.pkl", tmp_path / "code.pkl"
    arrays.write_bytes(pickle.dumps({"conv1": [np.ones(2)]}, protocol=3).replace(b"numpy._core.", b"numpy.core."))
    with arrays.open("rb") as file:
        assert ArrayUnpickler(file).load() == {"conv1": [pytest.approx(np.ones(2))]}
    code.write_bytes(pickle.dumps(print))
    with code.open("rb") as file, pytest.raises(pickle.UnpicklingError, match=r"builtins\.print"):
        ArrayUnpickler(file).load()
