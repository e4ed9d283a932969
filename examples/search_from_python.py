"""Search from Python: six configurations on doodles, in a minute or two, and the winner's answer to a drawing.

python examples/search_from_python.py
"""

import numpy as np

from tune_sketch import Settings, search

if __name__ == "__main__":
    settings = Settings(
        model="baseline",
        classes=("bicycle", "fish", "sun"),
        per_class=30,
        image_px=32,
        num_samples=6,
        max_epochs=3,
        retraining_seeds=2,
    )
    run = search(settings, name="from_python")  # makes runs/from_python

    print(run.finalists[["trial", "num_seeds", "val_top1_mean", "test_top1_mean"]])
    circle = np.hypot(*(np.mgrid[-1:1:64j, -1:1:64j])) * 10
    drawing = np.where(abs(circle - 6) < 0.5, 0, 255).astype(np.uint8)  # dark ink on light paper
    labels, probabilities = run.classifier.predict([drawing])
    print(f"a circle is a {labels[0]}, probability {probabilities[0].max():.2f}")
