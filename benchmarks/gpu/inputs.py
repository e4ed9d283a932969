"""The drawings and weights to measure with: in one small file made beforehand, or generated doodles without weights.

The file is not committed: whoever has the drawings makes it, with `python -m benchmarks.gpu --prepare`.
"""

import importlib.util
import json
import sys
import tempfile
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tune_sketch.data.doodles import CATEGORIES, render_doodle
from tune_sketch.data.sketch_data import FORMAT_VERSION, SketchData, open_data
from tune_sketch.data.splits import Splits, split_data, write_splits
from tune_sketch.trainables.batches import SplitArrays, TrainingSplits

PREPARED = Path(__file__).parent / "prepared.zip"
SKETCHY = Path(__file__).parents[3] / "shared" / "data" / "sketchy-125x25"
IMAGE_PX = 224
TIMM_WEIGHTS = "tf_efficientnet_lite0"  # of timm's networks the one whose weights a package brings
MOST_BYTES = 60_000_000  # so that it travels with the code
DOODLES_PER_CLASS = 25


@dataclass(frozen=True)
class Inputs:
    """Decoded drawings at IMAGE_PX, and files of weights by network. fallback: why there is nothing better."""

    data: SketchData
    weights: dict[str, Path]
    folder: Path
    fallback: str = ""

    def decoded(self, image_px: int) -> Path:
        """A folder for `open_data` with the drawings at another size."""
        folder = self.folder / f"decoded-{image_px}"
        if not (folder / "splits.csv").exists():
            write_decoded(folder, self.data, resize(self.data.images, image_px))
            data = open_data(folder)
            write_splits(folder / "splits.csv", data, self.divide(data))
        return folder

    def divide(self, data: SketchData) -> Splits:
        """By photo, where photos are known; `small` sets keep enough for validation."""
        protocol = "standard" if len(data.labels) > 2000 else "small"
        return split_data(data, protocol=protocol, split_by="photo", seed=0)

    def splits(self, image_px: int) -> tuple[TrainingSplits, SplitArrays]:
        """(training and validation drawings, test drawings) of one size."""
        data = open_data(self.decoded(image_px))
        splits = self.divide(data)
        train, validation, test = (
            SplitArrays(data.images, data.labels, rows) for rows in (splits.train, splits.validation, splits.test)
        )
        return TrainingSplits(train, validation, len(data.class_names), True, data.fingerprint), test


def prepare(source: str, path: Path) -> Path:
    """Write the file, where the program is installed whole. Raises ValueError where there are no such drawings.

    timm goes along as it is installed here: it runs with torch and torchvision alone.
    """
    import timm

    from benchmarks.real_weights import write_weights
    from tune_sketch.data import DataRequest, prepare_data

    folder = prepare_data(DataRequest(source, IMAGE_PX), progress=False)
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for part in sorted(folder.iterdir()):
            if part.suffix in (".npy", ".json"):
                file.write(part, f"decoded/{part.name}")
        for network in ("squeezenet1_1", TIMM_WEIGHTS):
            try:
                file.write(write_weights(Path(scratch) / f"{network}.pth", network), f"weights/{network}.pth")
            except ValueError as error:
                print(f"{network} is going to be trained from new weights: {error}")
        package = Path(timm.__file__).parent
        for part in sorted(package.rglob("*")):
            if part.is_file() and part.suffix != ".pyc":
                file.write(part, f"packages/timm/{part.relative_to(package)}")
    num_bytes = path.stat().st_size
    if num_bytes > MOST_BYTES:
        path.unlink()
        raise ValueError(f"--prepare {source}: the file would have {num_bytes} bytes, must have at most {MOST_BYTES}")
    return path


def open_inputs(path: Path, folder: Path, num_classes: int | None, per_class: int | None) -> Inputs:
    """The prepared file's content, or doodles where it is absent; at most num_classes and per_class (None: all)."""
    if path.exists():
        if not (folder / "prepared").exists():  # by a part before
            with zipfile.ZipFile(path) as file:
                file.extractall(folder / "prepared")
        if importlib.util.find_spec("timm") is None:
            sys.path.append(str(folder / "prepared" / "packages"))
        data = open_data(folder / "prepared" / "decoded")
        weights = {file.stem: file for file in sorted((folder / "prepared" / "weights").glob("*.pth"))}
        return Inputs(select(data, num_classes, per_class), weights, folder)
    names = list(CATEGORIES)[:num_classes]
    count = per_class or DOODLES_PER_CLASS
    image_px = IMAGE_PX if num_classes is None else 64  # of a rehearsal, which shrinks them anyway
    images = np.stack([render_doodle(n, i, seed=0, image_px=image_px) for n in names for i in range(count)])
    labels = np.repeat(np.arange(len(names)), count)
    data = describe(images, labels, names, [f"doodles/{name}/{i}" for name in names for i in range(count)])
    return Inputs(data, {}, folder, f"generated doodles and new weights, for there is no {path.name}")


def describe(images: np.ndarray, labels: np.ndarray, class_names: list[str], names: list[str]) -> SketchData:
    """Generated drawings as a data set."""
    return SketchData(
        images=images,
        labels=labels.astype(np.int64),
        class_names=class_names,
        names=names,
        groups=np.arange(len(labels)),
        fingerprint=f"doodles-{len(labels)}-{images.shape[1]}",
        synthetic=True,
        has_photos=False,
        skipped=[],
        original_px=None,
    )


def select(data: SketchData, num_classes: int | None, per_class: int | None) -> SketchData:
    """The first classes, and the first drawings of each."""
    if num_classes is None:
        return data
    rows = [np.flatnonzero(data.labels == label)[:per_class] for label in range(num_classes)]
    kept = np.concatenate(rows)
    names = [data.names[index] for index in kept]
    return describe(data.images[kept], data.labels[kept], data.class_names[:num_classes], names)


def write_decoded(folder: Path, data: SketchData, images: np.ndarray) -> None:
    """Write a data set with other pixels as `open_data` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {field.name: getattr(data, field.name) for field in fields(data)} | {"format_version": FORMAT_VERSION}
    meta |= {"copies": list(data.copies.items()), "fingerprint": f"{data.fingerprint}-{images.shape[1]}"}
    for name in ("images", "labels", "groups"):
        del meta[name]
    if data.given_split is not None:
        meta["given_split"] = data.given_split.tolist()
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", data.labels)
    np.save(folder / "groups.npy", data.groups)
    (folder / "meta.json").write_text(json.dumps(meta))


def resize(images: np.ndarray, image_px: int) -> np.ndarray:
    """uint8 [N, H, W] at another side, by the mean over what each new pixel covers."""
    parts = [
        F.interpolate(torch.from_numpy(images[start : start + 256]).float()[:, None], (image_px, image_px), mode="area")
        for start in range(0, len(images), 256)
    ]
    return torch.cat([part[:, 0].round().to(torch.uint8) for part in parts]).numpy()
