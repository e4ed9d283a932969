"""Files to be refused: a pickle that runs code, and a manifest that vouches for what is no checkpoint."""

import json
import os
from pathlib import Path

from tune_sketch.trainables.checkpoints import manifest_file, sha256_of


class RunsCode:
    """A pickle of this makes a folder when it is loaded carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def vouch_for(file: Path) -> None:
    """Give a file a manifest that fits it."""
    epoch = int(file.stem.removeprefix("epoch_"))
    manifest = {"epoch": epoch, "bytes": file.stat().st_size, "sha256": sha256_of(file)}
    manifest_file(file).write_text(json.dumps(manifest))
