"""Ultralytics `classify train` from scratch (its own weights cannot be had), or its `tune` and then a training."""

import os
from typing import Any

from job import Job

NETWORK = "yolo11n-cls.yaml"
NUM_TRIALS = 8  # of `tune`, which share two thirds of the time
FINAL_SHARE = 1 / 3


def main() -> None:
    job = Job()
    job.work.mkdir(parents=True, exist_ok=True)
    os.environ |= {"YOLO_CONFIG_DIR": str(job.work), "YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}
    import yaml
    from ultralytics import YOLO

    common: dict[str, Any] = {
        "data": str(job.folder),
        "imgsz": job.image_px,
        "device": "cpu",
        "seed": job.seed,
        "project": str(job.work),
        "exist_ok": True,
        "plots": False,
        "verbose": False,
        "pretrained": False,
        "workers": job.num_cores if job.kind == "wall" else 0,  # a live worker's CPU time cannot be read from here
    }
    used = job.used()
    YOLO(NETWORK).train(epochs=1, name="first", **common)
    epoch_seconds = job.used() - used
    epochs = job.num_epochs(epoch_seconds, keep=epoch_seconds)
    found: dict[str, Any] = {}
    note = ""
    if job.options.get("tune"):
        final = max(1, int(epochs * FINAL_SHARE))
        of_trial = max(1, (epochs - final) // NUM_TRIALS)
        num_trials = max(1, min(NUM_TRIALS, (epochs - final) // of_trial))
        YOLO(NETWORK).tune(epochs=of_trial, iterations=num_trials, val=True, name="tune", **common)
        best = next(job.work.rglob("best_hyperparameters.yaml"))
        found = yaml.safe_load(best.read_text())
        note = f"tune of {num_trials} x {of_trial} epochs, "
        epochs = min(final, job.num_epochs(epoch_seconds, keep=epoch_seconds))  # its trials start anew each time
    model = YOLO(NETWORK)
    model.train(epochs=epochs, name="last", **common | found)
    names: list[str] = []
    rows = []
    for file, _ in job.files("test"):
        [result] = model.predict(str(file), imgsz=job.image_px, verbose=False)
        names = [result.names[index] for index in range(len(result.names))]
        rows.append(result.probs.data.tolist())
    note = f"{NETWORK.removesuffix('.yaml')} from scratch, {note}{epochs} epochs"
    job.answer(names, rows, note, ("ultralytics", "torch", "torchvision"))


if __name__ == "__main__":
    main()
