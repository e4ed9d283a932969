"""Two stages: a search on many drawings, then one on few of your own that begins with the first one's network.

python examples/two_stages.py [--data path/to/drawings] [--first path/to/quickdraw]

Without --first the many are doodles, and without --data the few are other doodles: small enough to try in minutes.
Quick, Draw! is fetched by `python -m tune_sketch.search --model resnet50 --data quickdraw --download --classes ...`.
"""

import argparse

from tune_sketch import Settings, search

FEW = ("cat", "fish", "snail")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="baseline")
    parser.add_argument("--first", default="doodles")
    parser.add_argument("--data", default="doodles")
    parser.add_argument("--image-px", type=int, default=32)
    parser.add_argument("--num-samples", type=int, default=3)
    parser.add_argument("--max-epochs", type=int, default=3)
    given = parser.parse_args()
    size = {"image_px": given.image_px, "num_samples": given.num_samples, "max_epochs": given.max_epochs}
    size |= {"model": given.model, "finalists": 1, "retraining_seeds": 2}

    many = {"classes": ("bicycle", "house", "sun", "tree"), "per_class": 30} if given.first == "doodles" else {}
    first = search(Settings(data=given.first, **many, **size), name="first_stage")

    few = {"classes": FEW, "per_class": 12, "protocol": "small"} if given.data == "doodles" else {}
    # Its head is new where the classes are others; --freeze points of the search say how much of the rest is trained.
    second = search(Settings(data=given.data, weights=str(first.path), **few, **size), name="second_stage")
    print(second.finalists[["trial", "val_top1_mean", "test_top1_mean"]])


if __name__ == "__main__":
    main()
