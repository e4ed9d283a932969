"""AutoGluon's MultiModalPredictor for `time_limit`, its medium-quality network from scratch (no weights to be had)."""

import os
import sys

from job import Job

NETWORK = "mobilenetv3_large_100"


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

    predictor = MultiModalPredictor(
        label="label", problem_type="multiclass", path=str(job.work / "predictor"), presets="medium_quality"
    )
    keep = min(30.0, job.wall_left() / 4)  # the test, and what is over when the limit strikes
    predictor.fit(
        table("train"),
        tuning_data=table("val"),
        time_limit=job.wall_left() - keep,
        seed=job.seed,
        hyperparameters={
            "model.names": ["timm_image"],
            "model.timm_image.checkpoint_name": NETWORK,
            "model.timm_image.image_size": job.image_px,
            "optim.max_epochs": 1000,  # the time ends it
            "env.num_workers": job.num_cores,
            "env.num_gpus": 0,
        },
    )
    probabilities = predictor.predict_proba(table("test"))
    job.answer(
        list(probabilities.columns),
        probabilities.to_numpy(),
        f"{NETWORK} from scratch",
        ("autogluon.multimodal", "torch", "timm"),
    )


if __name__ == "__main__":
    sys.exit(main())
