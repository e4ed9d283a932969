"""The ordinary recipe that we are compared with: ImageFolder, DataLoader, torchvision v2, a Ray function trainable."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2


def train_by_recipe(config: dict[str, Any]) -> None:
    """As in Ray's PyTorch tutorial: a checkpoint and a report after every epoch."""
    from ray import tune

    for metrics, model, optimizer in recipe_epochs(config):
        with tempfile.TemporaryDirectory() as folder:
            torch.save((model.state_dict(), optimizer.state_dict()), Path(folder) / "checkpoint.pt")
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def recipe_epochs(job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], nn.Module, torch.optim.Optimizer]]:
    """(metrics, network, optimizer) after every epoch; network, split, optimizer, batches, augmentation are ours.

    Written as a competent user would: drawings are resized before they are warped and stay uint8 until then, workers
    live on between epochs, validation runs in larger batches in inference mode. With job["as_ours"] the loop is ours,
    with its number format, layout and optimizer, and the loading alone is the recipe's.
    """
    from tune_sketch.trainables.networks.build import build_model
    from tune_sketch.trainables.optimizer import build_optimizer
    from tune_sketch.trainables.speed.devices import autocast, move_to_device

    torch.set_num_threads(job["num_threads"])
    torch.manual_seed(job["seed"])
    device = torch.device(job.get("device", "cpu"))
    as_ours = job.get("as_ours", False)
    config = job["config"]
    train_set, validation_set = open_folders(job)
    loading = {
        "num_workers": job["num_workers"],
        "persistent_workers": job["num_workers"] > 0,
        "pin_memory": device.type == "cuda",
    }
    train_loader = DataLoader(train_set, config["batch_size"], shuffle=True, **loading)
    validation_loader = DataLoader(validation_set, 256, **loading)
    model = build_model(job["model"], job["num_classes"]).to(device)
    optimizer: torch.optim.Optimizer = torch.optim.Adam(
        model.parameters(), lr=config["learning_rate"], weight_decay=config["weight_decay"]
    )
    if as_ours:
        move_to_device(model, device)
        optimizer = build_optimizer(model, config, device)
    for epoch in range(1, config["epochs"] + 1):
        start = time.perf_counter()
        model.train()
        sum_loss = torch.zeros((), device=device)
        for images, labels in train_loader:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            if as_ours:
                with autocast(model, device):
                    logits = model(images.contiguous(memory_format=torch.channels_last))
            else:
                logits = model(images)
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()
            optimizer.step()
            sum_loss += loss.detach() * len(labels)
        train_loss = sum_loss.item() / len(train_set)  # waits for the device
        train_seconds = time.perf_counter() - start
        model.eval()
        num_right = 0
        with torch.inference_mode():
            for images, labels in validation_loader:
                num_right += int((model(images.to(device)).argmax(1).cpu() == labels).sum())
        metrics = {
            "epoch": epoch,
            "train_loss": train_loss,
            "images_per_second": len(train_set) / train_seconds,
            "epoch_seconds": time.perf_counter() - start,
            "val_top1": num_right / len(validation_set),
        }
        yield metrics, model, optimizer


def open_folders(job: dict[str, Any]) -> tuple[Subset, Subset]:
    """(training, validation) of the folder: ink is 4 on paper 0, as our networks see it."""
    config, image_px = job["config"], job["image_px"]
    first = [v2.ToImage(), v2.Resize((image_px, image_px), antialias=True)]
    last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([1.0] * 3, [-0.25] * 3)]
    change = [
        v2.RandomAffine(
            config["rotation_degrees"],
            (config["width_shift"], config["height_shift"]),
            (1 - config["zoom"], 1 + config["zoom"]),
            config["shear_degrees"],
            interpolation=v2.InterpolationMode.BILINEAR,
            fill=255,
        ),
        v2.RandomHorizontalFlip(),
    ]
    train_folder = ImageFolder(job["folder"], v2.Compose([*first, *change, *last]))
    validation_folder = ImageFolder(job["folder"], v2.Compose([*first, *last]))
    return Subset(train_folder, job["train"]), Subset(validation_folder, job["validation"])
