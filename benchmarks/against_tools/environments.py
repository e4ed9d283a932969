"""Makes each tool's environment under the cache folder, from its file of pinned versions."""

import subprocess
import sys
from pathlib import Path

from tune_sketch.storage.files import write_text

REQUIREMENTS = Path(__file__).parent / "requirements"


def python_of(environment: str | None, cache: Path, requirements: Path = REQUIREMENTS) -> Path:
    """The interpreter of an environment, which is made if it is not there as the file says. Ours for None.

    Raises ValueError, with the end of pip's answer, where it cannot be made.
    """
    if environment is None:
        return Path(sys.executable)
    pinned = (requirements / f"{environment}.txt").read_text()
    folder = cache / "environments" / environment
    made = folder / "made-from.txt"
    if not made.exists() or made.read_text() != pinned:
        print(f"making the environment of {environment} in {folder}", flush=True)
        install(folder, requirements / f"{environment}.txt")
        write_text(made, pinned)
    return folder / "bin" / "python"


def install(folder: Path, requirements: Path) -> None:
    """A fresh environment with what a file of requirements names. Raises ValueError where one cannot be had."""
    python = folder / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = " ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
            raise ValueError(f"the environment of {requirements.stem} cannot be made: {last}")
