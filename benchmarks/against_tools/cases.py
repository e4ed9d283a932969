"""The data and tools of the comparison, and the folder of drawings that every tool reads."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tune_sketch.data import DataRequest, SketchData, open_data, prepare_data
from tune_sketch.data.splits import Splits, split_data
from tune_sketch.storage.files import write_text

SHARED = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = {"train": "train", "val": "validation", "test": "test"}  # as other tools call them -> of Splits
WEIGHTS = ("imagenet", "none")
IMAGE_PX = {"imagenet": 128, "none": 64}
NUM_QUICKDRAW = 50  # classes, every sixth in the order of their names
DOODLES = 60  # drawings of each class
REHEARSAL = "rehearsal"


@dataclass(frozen=True)
class Tool:
    """One way to a network. script: in tools/; environment: its file in requirements/, None for our own.

    weights: with which it can begin. is_scored_alone: it takes as long as it takes, whatever time there is.
    """

    script: str
    label: str
    environment: str | None
    weights: tuple[str, ...]
    takes_budget: bool = True
    options: dict[str, str] = field(default_factory=dict)


OURS = "ours"
TOOLS = {  # ours first: with a budget of CPU time, the others get what it took
    OURS: Tool("ours", "tune_sketch, search and retraining", None, WEIGHTS),
    "svm": Tool("hog_svm", "HOG + linear SVM", "scikit-image", ("none",), takes_budget=False),
    "frozen": Tool("frozen_features", "frozen features + logistic regression", None, ("imagenet",), takes_budget=False),
    "fastai": Tool("fastai_fine_tune", "fastai, defaults", "fastai", WEIGHTS),
    "fastai-lr-find": Tool("fastai_fine_tune", "fastai, lr_find", "fastai", WEIGHTS, options={"lr_find": "yes"}),
    "ultralytics": Tool("ultralytics_classify", "Ultralytics classify train", "ultralytics", ("none",)),
    "ultralytics-tune": Tool(
        "ultralytics_classify", "Ultralytics tune, then train", "ultralytics", ("none",), options={"tune": "yes"}
    ),
    "autogluon": Tool("autogluon_multimodal", "AutoGluon MultiModalPredictor", "autogluon", ("none",)),
    "ray-tutorial": Tool("ray_tutorial", "Ray Tune's PyTorch tutorial", None, WEIGHTS),
}


@dataclass(frozen=True)
class Data:
    """A data set of the comparison: where it is, which part of it, and how it is divided."""

    label: str
    source: str
    protocol: str
    per_class: int | None = None
    num_classes: int | None = None


DATA = {
    "sketchy": Data("Sketchy, 125 classes, by photo", str(SHARED / "sketchy-125x25"), "standard"),
    "quickdraw": Data(
        f"Quick, Draw! simplified, {NUM_QUICKDRAW} classes",
        str(SHARED / "quickdraw-344x25-simplified"),
        "small",
        num_classes=NUM_QUICKDRAW,
    ),
    "doodles": Data("doodles, drawn by a program", "doodles", "small", per_class=DOODLES),
}
REHEARSAL_DATA = Data("six classes of doodles", "doodles", "small", per_class=20, num_classes=6)


def is_there(data: Data) -> bool:
    """Whether the drawings can be read on this machine."""
    return data.source == "doodles" or Path(data.source).is_dir()


def request_of(data: Data, image_px: int) -> DataRequest:
    """The drawings of a data set at a size."""
    classes: tuple[str, ...] | int | None = data.num_classes
    if data.source != "doodles" and data.num_classes:
        names = sorted(path.stem for path in Path(data.source).glob("*.ndjson"))
        classes = tuple(names[:: len(names) // data.num_classes][: data.num_classes])
    return DataRequest(data.source, image_px, classes=classes, per_class=data.per_class)


def prepare_folder(data: Data, image_px: int, seed: int, cache: Path) -> Path:
    """The folder train, val and test with a PNG for each drawing, dark ink on white, as our own split divides them.

    Made once: the file `whole` says that it is. seed: of the split, so that each repetition has another.
    """
    decoded = open_data(prepare_data(request_of(data, image_px), progress=False))
    folder = cache / "folders" / f"{decoded.fingerprint[:12]}-{data.protocol}-{seed}"
    if not (folder / "whole").exists():
        write_folder(folder, decoded, split_data(decoded, protocol=data.protocol, split_by="photo", seed=seed))
        write_text(folder / "whole", f"{data.label}; {decoded.fingerprint}\n")
    return folder / "drawings"


def write_folder(folder: Path, data: SketchData, splits: Splits) -> None:
    """Write drawings/SPLIT/CLASS/INDEX.png. Raises ValueError for a class that one of the three lacks."""
    for name, of_splits in FOLDERS.items():
        rows = getattr(splits, of_splits)
        missing = sorted(set(data.class_names) - {data.class_names[label] for label in data.labels[rows]})
        if missing:
            raise ValueError(f"{name} has no drawing of {', '.join(missing)}: not every tool can be scored on it")
        for index in rows:
            target = folder / "drawings" / name / data.class_names[data.labels[index]]
            target.mkdir(parents=True, exist_ok=True)
            Image.fromarray(255 - np.asarray(data.images[index])).save(target / f"{index:06d}.png")
