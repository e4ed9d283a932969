"""fastai's `vision_learner(...).fine_tune` with its defaults or its `lr_find`, as many epochs as fit."""

import os
import shutil
import warnings
from pathlib import Path

from job import Job

warnings.filterwarnings("ignore")
HUB_NAME = "squeezenet1_1-b8a52dc0.pth"  # under which torchvision looks for the weights before it downloads them

WORTH_WORKERS = 500  # drawings


def main() -> None:
    job = Job()
    if job.weights:
        checkpoints = job.work / "hub" / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(job.weights, checkpoints / HUB_NAME)
        os.environ["TORCH_HOME"] = str(job.work)
    from fastai.vision.all import (
        ImageDataLoaders,
        Learner,
        Resize,
        accuracy,
        aug_transforms,
        resnet18,
        set_seed,
        squeezenet1_1,
        vision_learner,
    )

    set_seed(job.seed)
    # fastai starts its workers anew every epoch, which takes longer than small epochs do; and the CPU time of a live
    # worker cannot be read from here.
    num_workers = job.num_cores if job.kind == "wall" and len(job.files("train")) >= WORTH_WORKERS else 0
    # Turned over along the vertical axis alone, which is aug_transforms' default.
    loaders = ImageDataLoaders.from_folder(
        job.folder,
        train="train",
        valid="val",
        bs=32,
        seed=job.seed,
        item_tfms=Resize(job.image_px),
        batch_tfms=aug_transforms(),
        num_workers=num_workers,
    )

    def learner() -> Learner:
        network = squeezenet1_1 if job.weights else resnet18
        made = vision_learner(loaders, network, pretrained=bool(job.weights), metrics=accuracy, path=job.work)
        made.remove_cb(made.progress)
        made.no_logging().__enter__()
        return made

    used = job.used()
    first = learner()
    first.unfreeze()
    first.fit(1)
    epoch_seconds = job.used() - used
    learn, rate = learner(), None
    if job.options.get("lr_find"):
        rate = float(learn.lr_find(show_plot=False).valley)
    rates = {} if rate is None else {"base_lr": rate} if job.weights else {"lr_max": rate}
    epochs = job.num_epochs(epoch_seconds, keep=epoch_seconds)
    if job.weights:  # of the epoch that is kept, the frozen one before takes the most; the test takes the rest
        learn.fine_tune(max(1, epochs - 1), **rates)
    else:  # fastai's own way for a network without weights
        learn.fit_one_cycle(epochs, **rates)
    files = [Path(file) for file, _ in job.files("test")]
    probabilities, _ = learn.get_preds(dl=loaders.test_dl(files))
    note = f"{'squeezenet1_1' if job.weights else 'resnet18'}, {epochs} epochs"
    note += "" if rate is None else f", lr_find {rate:.2g}"
    job.answer(list(loaders.vocab), probabilities.tolist(), note, ("fastai", "torch", "torchvision"))


if __name__ == "__main__":
    main()
