"""One tool's task: a prepared folder, a budget that counts from the tool's start, and the file for its answer.

Every tool runs `python TOOL.py JOB.json` in an environment of its own, so this file needs the standard library alone.
"""

import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path


class Job:
    """The content of the file named on the command line. Folder: train, val and test with PNG in class folders.

    weights: ImageNet's for SqueezeNet 1.1 in torchvision's names, or None. kind: of budget, "wall" or "cpu" seconds.
    wall_seconds: for a tool that can be told no other limit; the same as `seconds` of a wall-clock budget.
    """

    def __init__(self, path: str | None = None) -> None:
        content = json.loads(Path(path or sys.argv[1]).read_text())
        self.folder, self.out = Path(content["folder"]), Path(content["out"])
        self.weights: str | None = content["weights"]
        self.work = Path(content["work"])
        self.image_px: int = content["image_px"]
        self.seed: int = content["seed"]
        self.num_cores: int = content["num_cores"]
        self.kind: str = content["kind"]
        self.seconds: float = content["seconds"]
        self.wall_seconds: float = content["wall_seconds"]
        self.started: float = content["started"]
        self.options: dict[str, str] = content["options"]
        self.classes = sorted(path.name for path in (self.folder / "train").iterdir())

    def used(self) -> float:
        """Seconds of the budget that are gone: since the start of the process, or of CPU with its ended children."""
        if self.kind == "wall":
            return time.time() - self.started
        return sum(os.times()[:4])

    def left(self) -> float:
        return self.seconds - self.used()

    def wall_left(self) -> float:
        return self.wall_seconds - (time.time() - self.started)

    def num_epochs(self, epoch_seconds: float, *, keep: float = 0.0) -> int:
        """How many epochs fit into what is left, `keep` seconds for other things; at least one."""
        return max(1, int((self.left() - keep) / epoch_seconds))

    def files(self, split: str) -> list[tuple[Path, str]]:
        """(file, class) of each drawing of train, val or test."""
        return [(file, file.parent.name) for file in sorted((self.folder / split).glob("*/*.png"))]

    def answer(self, classes: list[str], probabilities: object, note: str, packages: tuple[str, ...]) -> None:
        """Write the answer. probabilities: [test drawings in the order of `files`, classes], or scores that rank."""
        rows = [[float(value) for value in row] for row in probabilities]  # type: ignore[attr-defined]
        files = [f"{label}/{file.name}" for file, label in self.files("test")]
        content = {
            "classes": classes,
            "probabilities": dict(zip(files, rows, strict=True)),
            "note": note,
            "versions": {name: importlib.metadata.version(name) for name in packages},
        }
        part = self.out.with_suffix(".part")
        part.write_text(json.dumps(content))
        os.replace(part, self.out)
