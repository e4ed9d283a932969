"""AutoGluon's MultiModalPredictor for `time_limit`: its medium-quality network from scratch (no weights to be had)."""

import os

from job import Job

NETWORK = "mobilenetv3_large_100"
TIMED_EPOCHS = (1, 3)
LEAST_SHARE = 20  # an epoch is at least this part of the longer timed training, whatever their difference says
LEAST_SECONDS = 20.0  # of `time_limit`: with less it has no network at all


def main() -> None:
    job = Job()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import pandas as pd
    from autogluon.multimodal import MultiModalPredictor
    from autogluon.multimodal.models import timm_image

    made = timm_image.create_model
    # The predictor has no setting for a network without weights.
    timm_image.create_model = lambda name, pretrained, **more: made(name, pretrained=False, **more)

    def table(split: str) -> pd.DataFrame:
        return pd.DataFrame([(str(file), label) for file, label in job.files(split)], columns=["image", "label"])

    def fit(name: str, max_epochs: int) -> MultiModalPredictor:
        predictor = MultiModalPredictor(
            label="label", problem_type="multiclass", path=str(job.work / name), presets="medium_quality"
        )
        return predictor.fit(
            table("train"),
            tuning_data=table("val"),
            time_limit=max(job.wall_left(), LEAST_SECONDS),
            seed=job.seed,
            hyperparameters={
                "model.names": ["timm_image"],
                "model.timm_image.checkpoint_name": NETWORK,
                "model.timm_image.image_size": job.image_px,
                "optim.max_epochs": max_epochs,  # its rate rises and falls over these: it must know them
                "env.num_workers": job.num_cores,
                "env.num_gpus": 0,
            },
        )

    times = [job.used()]
    for number in TIMED_EPOCHS:  # two trainings, so that what each needs beside its epochs is known
        fit(f"first-{number}", number)
        times.append(job.used())
    first, second = times[1] - times[0], times[2] - times[1]
    epoch_seconds = (second - first) / (TIMED_EPOCHS[1] - TIMED_EPOCHS[0])
    epoch_seconds = max(epoch_seconds, second / LEAST_SHARE)
    epochs = job.num_epochs(epoch_seconds, keep=max(0.0, first - epoch_seconds))
    predictor = fit("predictor", epochs)
    probabilities = predictor.predict_proba(table("test"))
    job.answer(
        list(probabilities.columns),
        probabilities.to_numpy(),
        f"{NETWORK} from scratch, at most {epochs} epochs",
        ("autogluon.multimodal", "torch", "timm"),
    )


if __name__ == "__main__":
    main()
