"""Logistic regression on the frozen features of SqueezeNet 1.1; C and the drawings' polarity chosen on validation."""

import numpy as np
import torch
from job import Job
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torchvision.models import squeezenet1_1

CANDIDATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
MEAN, DEVIATION = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def describe(job: Job, network: torch.nn.Module, split: str, light_ink: bool) -> tuple[np.ndarray, np.ndarray]:
    """(mean and maximum of the last feature map, labels) of a split."""
    files, features = job.files(split), []
    with torch.inference_mode():
        for first in range(0, len(files), 64):
            greys = [Image.open(file).convert("L") for file, _ in files[first : first + 64]]
            images = torch.stack([torch.from_numpy(np.array(grey)) for grey in greys]).float() / 255
            images = 1 - images if light_ink else images
            inputs = (images[..., None] - MEAN) / DEVIATION
            maps = network(inputs.permute(0, 3, 1, 2))
            features.append(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1).numpy())
    return np.concatenate(features), np.array([job.classes.index(label) for _, label in files])


def main() -> None:
    job = Job()
    torch.set_num_threads(job.num_cores)
    network = squeezenet1_1()
    network.load_state_dict(torch.load(job.weights, weights_only=True))
    network = network.features.eval()
    best: tuple[float, bool, float] = (-1.0, False, 0.0)
    described = {}
    for light_ink in (False, True):
        described[light_ink] = [describe(job, network, split, light_ink) for split in ("train", "val")]
        (train, labels), (validation, validation_labels) = described[light_ink]
        scaler = StandardScaler().fit(train)
        for strength in CANDIDATES:
            regression = LogisticRegression(C=strength, max_iter=300).fit(scaler.transform(train), labels)
            top1 = float((regression.predict(scaler.transform(validation)) == validation_labels).mean())
            best = max(best, (top1, light_ink, strength))
    _, light_ink, strength = best
    both, labels = (np.concatenate(parts) for parts in zip(*described[light_ink], strict=True))
    scaler = StandardScaler().fit(both)
    regression = LogisticRegression(C=strength, max_iter=300).fit(scaler.transform(both), labels)
    test, _ = describe(job, network, "test", light_ink)
    job.answer(
        [job.classes[index] for index in regression.classes_],
        regression.predict_proba(scaler.transform(test)),
        f"C = {strength:g}, {'light on dark' if light_ink else 'dark on light'}",
        ("torch", "torchvision", "scikit-learn"),
    )


if __name__ == "__main__":
    main()
