"""Real ImageNet weights out of a package: their values, their meaning, and nothing run while they are read."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.real_weights import (
    CAFFE_MEAN_BGR,
    LITE_FILE,
    LITE_PACKAGE,
    ArrayUnpickler,
    fold_normalisation,
    packaged_file,
    read_efficientnet,
    read_squeezenet,
)
from tests.support.real_weights import needs_efficientnet, needs_real_weights
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


# EfficientNet-Lite0


def run_packaged(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """The packaged network written down by itself (Tan and Le 2019, Table 1; Lite: ReLU6, no squeeze and excitation).

    As TensorFlow pads and normalises: float [B, 3, H, W] of pixels minus 0.5, over 0.5, to logits.
    """

    def convolve(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[f"{name}.weight"]
        missing = [max(0, (-(-side // stride) - 1) * stride + kernel.shape[2] - side) for side in x.shape[2:]]
        top, left = missing[0] // 2, missing[1] // 2
        return F.conv2d(F.pad(x, (left, missing[1] - left, top, missing[0] - top)), kernel, None, stride, groups=groups)

    def normalise(x: Tensor, name: str) -> Tensor:
        running = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        return F.batch_norm(x, *running, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-3)

    x = F.relu6(normalise(convolve(images, "_conv_stem", stride=2), "_bn0"))
    strides = {1: 2, 3: 2, 5: 2, 11: 2}  # of 16 blocks: the first of stages 2, 3, 4 and 6
    for number in range(16):
        block, stride, before = f"_blocks.{number}", strides.get(number, 1), x
        if f"{block}._expand_conv.weight" in weights:
            x = F.relu6(normalise(convolve(x, f"{block}._expand_conv"), f"{block}._bn0"))
        x = convolve(x, f"{block}._depthwise_conv", stride, groups=x.shape[1])
        x = normalise(convolve(F.relu6(normalise(x, f"{block}._bn1")), f"{block}._project_conv"), f"{block}._bn2")
        x = x + before if x.shape == before.shape else x
    x = F.relu6(normalise(convolve(x, "_conv_head"), "_bn1")).mean((2, 3))
    return F.linear(x, weights["_fc.weight"], weights["_fc.bias"])


@needs_efficientnet
def test_the_converted_network_computes_what_the_packaged_one_does() -> None:
    import timm

    file = packaged_file(LITE_FILE, LITE_PACKAGE)
    assert file is not None
    packaged = torch.load(file, weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(read_efficientnet(file, "tf_efficientnet_lite0"))
    assert sum(t.numel() for n, t in packaged.items() if not n.endswith("num_batches_tracked")) == 4_694_024
    torch.manual_seed(0)
    images = torch.rand(2, 3, 96, 96) * 2 - 1
    with torch.inference_mode():
        assert torch.allclose(model(images), run_packaged(packaged, images), atol=1e-3)


@needs_efficientnet
@pytest.mark.parametrize("network", ["efficientnet_lite0", "tf_efficientnet_lite0"])
def test_a_photo_of_a_temple_is_seen_as_one_by_timm(network: str) -> None:
    import timm
    from sklearn.datasets import load_sample_image
    from torchvision.models import SqueezeNet1_1_Weights

    file = packaged_file(LITE_FILE, LITE_PACKAGE)
    assert file is not None
    model = timm.create_model(network).eval()
    model.load_state_dict(read_efficientnet(file, network))
    config = model.pretrained_cfg
    photo = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None].float() / 255
    photo = F.interpolate(photo[..., :427], 224, mode="bilinear", antialias=True)
    mean, deviation = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        best = model((photo - mean) / deviation).topk(5).indices[0]
    named = {SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["categories"][index] for index in best}
    assert named & {"stupa", "palace", "monastery"}, named
