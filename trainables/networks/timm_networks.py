"""Describes any network of the library timm, "timm:NAME", as timm itself describes it."""

import math
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import cache, partial
from typing import Any

import timm
import torch
from timm.models import group_parameters, model_entrypoint
from torch import Tensor, fx, nn

from tune_sketch.trainables.networks.architecture import (
    Architecture,
    HubWeights,
    ImageNetWeights,
    Normalisation,
)
from tune_sketch.trainables.networks.timm_names import PREFIX, check_name
from tune_sketch.trainables.networks.trace_layers import trace_layers

DEPTHS = {"quarter": 0.25, "half": 0.5, "three_quarters": 0.75}  # freeze points: the share of frozen layer groups
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
PATCHES_PX = (8, 14, 16, 28, 32, 64)  # sides whose multiples are tried when a network cannot take a size


class OwnPooling(nn.Module):
    """Passes on what the network's own pooling makes of its last features."""

    def forward(self, features: Tensor, pooled: Tensor) -> Tensor:
        """Last features, and [B, F] that the network pooled from them, to [B, F]."""
        return pooled


class WithMaxima(nn.Module):
    """Adds the maximum of each map to what the network's own pooling makes: [B, F] to [B, F + C].

    A few lines leave most of a map empty, so the mean alone says little about them.
    """

    def __init__(self, num_channels: int, num_prefix_tokens: int) -> None:
        super().__init__()
        self.num_channels, self.num_prefix_tokens = num_channels, num_prefix_tokens

    def forward(self, features: Tensor, pooled: Tensor) -> Tensor:
        maps = as_maps(features, self.num_channels, self.num_prefix_tokens)
        return torch.cat([pooled, maps.amax((2, 3))], dim=1)


class TimmNetwork(nn.Module):
    """timm's network without its classifier, and ours. Float [B, 3, H, W] to logits [B, classes]."""

    def __init__(self, body: nn.Module, num_features: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.body, self.pooling = body, OwnPooling()
        self.head = nn.Sequential(OrderedDict(dropout=nn.Dropout(dropout), linear=nn.Linear(num_features, num_classes)))

    def forward(self, images: Tensor) -> Tensor:
        features = self.body.forward_features(images)  # type: ignore[operator]
        pooled = self.body.forward_head(features, pre_logits=True)  # type: ignore[operator]
        logits: Tensor = self.head(self.pooling(features, pooled))
        return logits


class Features(nn.Module):
    """The first of two layers of a network that cannot be traced: up to its last features."""

    def __init__(self, model: TimmNetwork) -> None:
        super().__init__()
        self.body = model.body

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body.forward_features(images)  # type: ignore[operator]
        return features


class Rest(nn.Module):
    """The second: from the last features to the logits."""

    def __init__(self, model: TimmNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        pooled = self.model.body.forward_head(features, pre_logits=True)  # type: ignore[operator]
        logits: Tensor = self.model.head(self.model.pooling(features, pooled))
        return logits


@cache
def describe(name: str, image_px: int | None = None) -> Architecture:
    """The network called "timm:NAME" or "timm:NAME.TAG" for drawings of a size, by default that of its weights.

    Freeze points, from which rates by depth follow too, are timm's layer groups, which its own layer decay uses.
    Raises ValueError for an unknown name, and for a size that the network cannot take.
    """
    check_name(name)
    own = name.removeprefix(PREFIX)
    config = timm.get_pretrained_cfg(own) or timm.models.PretrainedCfg()
    size_px = image_px or config.input_size[-1]
    try:
        body, outputs, features, pooled = rehearse(own, size_px)
    except Exception as error:
        raise ValueError(describe_misfit(name, size_px, error)) from error
    num_prefix_tokens = getattr(body, "num_prefix_tokens", 0) or 0
    groups = [[f"body.{parameter}" for parameter in group] for group in group_by_layer(body)]
    num_channels = channels_of(body, features)
    channels = {f"body.{info['module']}": int(info["num_chs"]) for info in stages_of(body)}

    def to_maps(layer: str, output: Tensor) -> Tensor:
        return as_maps(output, channels.get(layer), num_prefix_tokens)

    fixed = bool(config.fixed_input_size)
    return Architecture(
        name=name,
        build=partial(build, own, size_px, pooled.shape[1]),
        layers=partial(layers_of, groups),
        freeze_points=freeze_points_of(groups),
        head="head",
        pooling="pooling",
        cam_layers=map_layers(outputs, channels, to_maps, num_prefix_tokens > 0),
        first_layer=first_convolution(body, config.first_conv),
        imagenet=weights_of(own, config),
        min_image_px=1 if fixed else max([info["reduction"] for info in stages_of(body)], default=32),
        source=f"timm {timm.__version__}, {own}",
        normalisation=Normalisation(tuple(config.mean), tuple(config.std)),  # type: ignore[arg-type]
        fixed_image_px=size_px if fixed else None,
        body="body.",
        other_head=tuple(f"body.{parameter}" for parameter in classifier_of(own, size_px, body)),
        convert=partial(convert, own),
        to_maps=to_maps,
        pool_both=OwnPooling if num_channels is None else partial(WithMaxima, num_channels, num_prefix_tokens),
        num_maxima=num_channels or 0,
    )


def create_body(own: str, image_px: int, **options: Any) -> nn.Module:
    """timm's network for a size, without its classifier unless the options say how many classes."""
    config = timm.get_pretrained_cfg(own)
    if config is not None and config.fixed_input_size:
        options["img_size"] = image_px
    body: nn.Module = timm.create_model(own, **({"num_classes": 0} | options))
    return body


def build(own: str, image_px: int, num_features: int, num_classes: int, dropout: float) -> TimmNetwork:
    """timm's network with a head for our classes, new weights.

    Dropout acts before the classifier alone, as in our other networks. What timm drops inside some networks unasked is
    switched off: it is no part of the configuration, and would make frozen layers differ from epoch to epoch.
    """
    body = create_body(own, image_px)
    for module in body.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        elif getattr(module, "drop_prob", None):  # timm's stochastic depth
            module.drop_prob = 0.0  # type: ignore[assignment]
    return TimmNetwork(body, num_features, num_classes, dropout)


def rehearse(own: str, image_px: int) -> tuple[nn.Module, dict[str, Any], Any, Tensor]:
    """(network, its modules' outputs by name, its last features, those pooled [2, F]), all without values."""
    outputs: dict[str, Any] = {}
    with torch.device("meta"), torch.no_grad():
        body = create_body(own, image_px).eval()
        for name, module in body.named_modules():
            module.register_forward_hook(lambda _, __, output, name=name: outputs.__setitem__(f"body.{name}", output))
        features = body.forward_features(torch.zeros(2, 3, image_px, image_px))  # type: ignore[operator]
        pooled = body.forward_head(features, pre_logits=True)  # type: ignore[operator]
    if not isinstance(pooled, Tensor) or pooled.ndim != 2:
        raise TypeError("its features are not one vector for each picture")
    return body, outputs, features, pooled


def describe_misfit(name: str, image_px: int, error: Exception) -> str:
    """The message for a size that a network cannot take, with the nearest that it can."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    near = {multiple for px in PATCHES_PX for multiple in (image_px // px * px, -(-image_px // px) * px)}
    config = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    sizes = sorted(near | ({config.input_size[-1]} if config is not None else set()))
    below = next((px for px in reversed(sizes) if 0 < px < image_px and can_take(name, px)), None)
    above = next((px for px in sizes if px > image_px and can_take(name, px)), None)
    fitting = " or ".join(str(px) for px in (below, above) if px is not None)
    if not fitting:
        return f"{name} cannot be used here: {reason}"
    return f"{name} cannot take images of {image_px} px ({reason}): use --image-px {fitting}"


def can_take(name: str, image_px: int) -> bool:
    """Whether a network works with this size."""
    try:
        rehearse(name.removeprefix(PREFIX), image_px)
    except Exception:  # timm has no one error for it
        return False
    return True


def stages_of(body: nn.Module) -> list[dict[str, Any]]:
    """timm's description of stages: the module whose output they are, its channels, its reduction."""
    stages = getattr(body, "feature_info", None) or []
    known = dict(body.named_modules())
    return [info for info in getattr(stages, "info", stages) if info.get("module") in known and "reduction" in info]


def group_by_layer(body: nn.Module) -> list[list[str]]:
    """Names of the parameters in groups from the first layer to the last: timm's, or in the order of its modules."""
    if hasattr(body, "group_matcher"):
        groups = group_parameters(body, body.group_matcher(coarse=False))  # type: ignore[operator]
        return [groups[number] for number in sorted(groups)]
    blocks = [
        f"{name}.{block}" if block else name
        for name, child in body.named_children()
        for block in ([n for n, _ in child.named_children()] if isinstance(child, nn.Sequential) else [""])
    ]
    named = [[f"{block}.{n}" for n, _ in body.get_submodule(block).named_parameters()] for block in blocks]
    grouped = {parameter for group in named for parameter in group}
    alone = [parameter for parameter, _ in body.named_parameters() if parameter not in grouped]
    return [group for group in [alone, *named] if group]


def freeze_points_of(groups: list[list[str]]) -> dict[str, tuple[str, ...]]:
    """The freeze points, whose names are the same for all networks, so that one search space does."""
    ends = [1]
    points: dict[str, tuple[str, ...]] = {"none": ()}
    for share in DEPTHS.values():
        ends.append(min(len(groups), max(ends[-1] + 1, round(share * len(groups)))))
    for point, end in zip(("stem", *DEPTHS, "head_only"), (*ends, len(groups)), strict=True):
        points[point] = tuple(parameter for group in groups[:end] for parameter in group)
    return points


def layers_of(groups: list[list[str]], model: TimmNetwork) -> list[nn.Module]:
    """The network as layers, by tracing it; as two, or one, where that cannot be done."""
    group_of = {parameter: number for number, group in enumerate(groups) for parameter in group}
    group_of |= {f"head.{parameter}": len(groups) for parameter, _ in model.head.named_parameters()}
    try:
        return trace_layers(model, group_of)
    except (fx.proxy.TraceError, TypeError, AttributeError, RuntimeError, ValueError):
        # Of some networks the way depends on values or shapes. Their last features are the one point that all have.
        return [Features(model), Rest(model)] if getattr(model.pooling, "num_channels", 1) else [model]


def as_maps(output: Tensor, num_channels: int | None, num_prefix_tokens: int) -> Tensor:
    """[B, C, h, w] of maps [B, C, h, w] or [B, h, w, C], or of tokens [B, prefix + h * h, C].

    Some networks add their class token late, or do not count it. ValueError where there is no square of tokens.
    """
    if output.ndim == 4:
        channels_last = output.shape[1] != num_channels and output.shape[3] == num_channels
        return output.permute(0, 3, 1, 2) if channels_last else output
    if output.ndim == 3:
        for num_prefix in (num_prefix_tokens, 0, 1):
            side = math.isqrt(max(0, output.shape[1] - num_prefix))
            if side and side**2 == output.shape[1] - num_prefix:
                tokens = output[:, num_prefix:].transpose(1, 2)
                return tokens.reshape(*tokens.shape[:2], side, side)
    raise ValueError(f"[{', '.join(map(str, output.shape))}] is no map of places")


def map_layers(
    outputs: dict[str, Any], stages: Collection[str], to_maps: Callable[[str, Tensor], Tensor], has_tokens: bool
) -> tuple[str, ...]:
    """Modules whose outputs show places of the drawing, the deepest of each size, deepest first.

    They are timm's stages, or any module where these show none.
    """
    shown = []
    for name, output in outputs.items():
        try:
            if isinstance(output, Tensor) and to_maps(name, output).shape[2] > 0:
                shown.append(name)
        except ValueError:
            continue
    layers = [name for name in shown if name in stages] or shown
    if has_tokens and len(layers) > 1:
        del layers[-1]  # after the last block only the class token is read: the other tokens have no gradient
    of_side = {to_maps(name, outputs[name]).shape[2]: name for name in layers}
    return tuple(of_side[side] for side in sorted(of_side))


def channels_of(body: nn.Module, features: Any) -> int | None:
    """The channels of the last features; None where they are no maps."""
    if not isinstance(features, Tensor) or features.ndim not in (3, 4):
        return None
    last = features.ndim == 3 or getattr(body, "output_fmt", None) == "NHWC"
    num_channels = features.shape[-1 if last else 1]
    try:
        as_maps(features, num_channels, getattr(body, "num_prefix_tokens", 0) or 0)
    except ValueError:
        return None
    return num_channels


def first_convolution(body: nn.Module, named: str | tuple[str, ...] | None) -> str:
    """The first convolution that sees the picture: timm's own word for it, else the first there is."""
    candidates = [named] if isinstance(named, str) else [*(named or ())]
    for name, module in [*((n, m) for n, m in body.named_modules() if n in candidates), *body.named_modules()]:
        if isinstance(module, nn.Conv2d):
            return f"body.{name}"
    return "body"


def classifier_of(own: str, image_px: int, body: nn.Module) -> list[str]:
    """Names that the network has with a classifier, and has not without."""
    with torch.device("meta"):
        whole = create_body(own, image_px, num_classes=2)
    return sorted(set(whole.state_dict()) - set(body.state_dict()))


def weights_of(own: str, config: Any) -> ImageNetWeights | HubWeights | None:
    """Where timm says that the weights are."""
    name = f"{config.architecture}.{config.tag}" if config.tag else own
    if config.hf_hub_id:
        files = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
        return HubWeights(name, config.hf_hub_id, files)
    return ImageNetWeights(name, config.url) if config.url else None


def convert(own: str, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """timm's own conversion of published weights: old names, and tables of positions for another size of image."""
    module = __import__(model_entrypoint(own).__module__, fromlist=["checkpoint_filter_fn"])
    convert_file = getattr(module, "checkpoint_filter_fn", None) or getattr(module, "_filter_fn", None)
    converted: dict[str, Tensor] = weights if convert_file is None else convert_file(dict(weights), model.body)
    return converted
