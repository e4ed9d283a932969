"""A data set of one's own by name: scikit-learn's handwritten digits, which it brings along.

    python examples/own_data.py
    TUNE_SKETCH_EXTENSIONS=examples/own_data.py python -m tune_sketch.search --model baseline --data digits

For a folder, an archive or a table none of this is needed: --data takes those as they are.
"""

from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

from tune_sketch.data import DATASETS
from tune_sketch.data.sources.base import Source


def find_digits(request, cache_dir, progress):
    """Where the drawings are: written once into the cache, one folder per class.

    request: what was asked for, such as the classes; cache_dir: the program's own folder; progress: show it.
    """
    root = Path(cache_dir) / "digits"
    files = {}
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        name = f"digit {label}"
        file = root / name / f"{number}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            paper = Image.new("L", (44, 44), 255)  # dark ink on light paper, with a margin around it
            paper.paste(Image.fromarray((255 - pixels * 15.9).astype("uint8")).resize((32, 32)), (6, 6))
            paper.save(file)
        files.setdefault(name, []).append(f"{name}/{number}.png")
    return Source("images", root, dict(sorted(files.items())))


DATASETS["digits"] = find_digits


if __name__ == "__main__":
    from tune_sketch import Settings, extend, search

    extend(__file__)
    run = search(
        Settings(model="baseline", data="digits", per_class=40, image_px=32, num_samples=3, max_epochs=3, finalists=1),
        name="own_data",
    )
    print(run.finalists[["trial", "val_top1_mean", "test_top1_mean"]])
