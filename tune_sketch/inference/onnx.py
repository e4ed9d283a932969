"""Writes a run's network as ONNX and checks that onnxruntime computes the same probabilities."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tune_sketch.data.doodles import CATEGORIES, render_doodle
from tune_sketch.data.names import written_name
from tune_sketch.inference.model import Classifier
from tune_sketch.trainables.evaluation import normalise, to_unit

TOLERANCE = 1e-4
NUM_CHECKED = 8


class _WholeNetwork(nn.Module):
    """Preprocessing, network, temperature and softmax in one: uint8 [N, H, W] to float32 [N, num_classes]."""

    def __init__(self, network: nn.Module, pretrained: bool, temperature: float) -> None:
        super().__init__()
        self.network, self.pretrained, self.temperature = network, pretrained, temperature

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(normalise(to_unit(images), self.network, self.pretrained))
        return (logits / self.temperature).softmax(dim=1)


def export_onnx(model: Classifier, path: Path) -> float:
    """Write the network to `path` and return the largest difference of a probability to torch's.

    Its input "images" is uint8 [N, image_px, image_px] with the run's polarity. Its output "probabilities" is float32
    [N, num_classes] in the order of the classes, which are listed in the file's metadata. The file appears only if the
    check holds. Raises ValueError when the extra `onnx` is not installed or the check fails.
    """
    try:
        import onnx  # this and the next two are the extra `onnx`
        import onnxruntime
        import onnxscript  # noqa: F401  # needed by torch's exporter
    except ModuleNotFoundError as error:
        raise ValueError(f"ONNX needs {error.name}; install it with: pip install '.[onnx]'") from error

    whole = _WholeNetwork(model.network, model.pretrained, model.temperature).to("cpu").eval()
    images = check_images(model.image_px)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        whole(torch.from_numpy(images[:2]))  # LeViT keeps its position biases from here on, which export must not see
    try:
        torch.onnx.export(
            whole,
            (torch.from_numpy(images[:2]),),
            str(temporary),
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes={"images": {0: torch.export.Dim("N", min=1, max=65536)}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        onnx_model = onnx.load(str(temporary))
        onnx.helper.set_model_props(
            onnx_model,
            {
                "class_names": "\n".join(map(written_name, model.class_names)),
                "ink": "255 on 0" if model.invert else "0 on 255",
            },
        )
        onnx.checker.check_model(onnx_model)
        onnx.save(onnx_model, str(temporary))
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        (computed,) = session.run(["probabilities"], {"images": images})
        with torch.inference_mode():
            expected = whole(torch.from_numpy(images)).numpy()
        difference = float(np.abs(computed - expected).max())
        if not difference <= TOLERANCE:
            raise ValueError(
                f"the exported network differs from torch's by {difference:.2g} in a probability, "
                f"more than {TOLERANCE:g}"
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return difference


def check_images(image_px: int) -> np.ndarray:
    """uint8 [N, image_px, image_px]: doodles at the network's size, one each of different categories."""
    names = sorted(CATEGORIES)[:NUM_CHECKED]
    return np.stack([render_doodle(name, 0, seed=0, image_px=image_px) for name in names])
