"""A search as in Ray Tune's PyTorch tutorial: its network, its space (sizes, rate, batch), ASHA, momentum SGD.

With weights the network is SqueezeNet 1.1 with a new last layer, and rate and batch are searched. The best trial's
last checkpoint is what counts, as in the tutorial; nothing is retrained.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from job import Job
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import squeezenet1_1

LENGTHS = 20  # trials of full length that the time would hold: how long one may last is found by that
LEAST_EPOCHS = 10  # the tutorial's max_num_epochs
LEAST_SECONDS = 60.0  # of search: in less no trial reports anything on a busy machine


class Net(nn.Module):
    """The tutorial's network: two convolutions of 5 px, three linear layers of l1, l2 and the classes."""

    def __init__(self, l1: int, l2: int, image_px: int, num_classes: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        side = ((image_px - 4) // 2 - 4) // 2
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * side**2, l1), nn.Linear(l1, l2), nn.Linear(l2, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = F.max_pool2d(F.relu(self.conv1(images)), 2)
        maps = F.max_pool2d(F.relu(self.conv2(maps)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(maps.flatten(1))))))


def build(config: dict[str, Any]) -> nn.Module:
    if config["weights"] is None:
        return Net(config["l1"], config["l2"], config["image_px"], config["num_classes"])
    network = squeezenet1_1()
    network.load_state_dict(torch.load(config["weights"], weights_only=True))
    network.classifier[1] = nn.Conv2d(512, config["num_classes"], 1)
    return network


def open_split(config: dict[str, Any], split: str) -> ImageFolder:
    statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if config["weights"] else ((0.5,) * 3, (0.5,) * 3)
    return ImageFolder(
        f"{config['folder']}/{split}", transforms.Compose([transforms.ToTensor(), transforms.Normalize(*statistics)])
    )


def epochs(config: dict[str, Any]) -> Any:
    """(metrics, network) after every epoch, without end."""
    torch.manual_seed(config["seed"])
    torch.set_num_threads(1)
    network = build(config)
    optimizer = torch.optim.SGD(network.parameters(), lr=config["lr"], momentum=0.9)
    train = DataLoader(open_split(config, "train"), config["batch_size"], shuffle=True)
    validation = DataLoader(open_split(config, "val"), 64)
    while True:
        network.train()
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
        network.eval()
        loss, right, number = 0.0, 0, 0
        with torch.no_grad():
            for images, labels in validation:
                outputs = network(images)
                loss += F.cross_entropy(outputs, labels, reduction="sum").item()
                right += int((outputs.argmax(1) == labels).sum())
                number += len(labels)
        yield {"loss": loss / number, "accuracy": right / number}, network


def train(config: dict[str, Any]) -> None:
    for metrics, network in epochs(config):
        with tempfile.TemporaryDirectory() as folder:
            torch.save(network.state_dict(), Path(folder) / "network.pt")
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def main() -> None:
    job = Job()
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(job.num_cores)  # else it prepares 200 that never begin
    fixed = {
        "weights": job.weights,
        "image_px": job.image_px,
        "num_classes": len(job.classes),
        "folder": str(job.folder.absolute()),
        "seed": job.seed,
    }
    torch.set_num_threads(1)
    start = time.perf_counter()
    next(epochs(fixed | {"l1": 64, "l2": 64, "lr": 0.001, "batch_size": 8}))
    seconds = job.wall_left()
    max_epochs = max(LEAST_EPOCHS, int(seconds * job.num_cores / (time.perf_counter() - start) / LENGTHS))
    space = fixed | {"lr": tune.loguniform(1e-4, 1e-1), "batch_size": tune.choice([2, 4, 8, 16])}
    if job.weights is None:
        space |= {"l1": tune.choice([2**i for i in range(9)]), "l2": tune.choice([2**i for i in range(9)])}
    keep = min(30.0, seconds / 4)  # starting Ray, and the test
    results = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=-1,
            time_budget_s=max(seconds - keep, LEAST_SECONDS),
            scheduler=ASHAScheduler(max_t=max_epochs, grace_period=1, reduction_factor=2),
        ),
        run_config=tune.RunConfig(storage_path=str(job.work.absolute()), name="tune", verbose=0),
    ).fit()
    best = results.get_best_result("loss", "min")
    network = build(best.config)
    with best.checkpoint.as_directory() as folder:
        network.load_state_dict(torch.load(Path(folder) / "network.pt", weights_only=True))
    network.eval()
    test = open_split(fixed, "test")
    rows: list[list[float]] = []
    with torch.inference_mode():
        for images, _ in DataLoader(test, 64):
            rows += network(images).softmax(1).tolist()
    num_trained = sum("accuracy" in (result.metrics or {}) for result in results)
    note = f"{num_trained} trials of at most {max_epochs} epochs"
    job.answer(test.classes, rows, note, ("ray", "torch", "torchvision"))


if __name__ == "__main__":
    main()
