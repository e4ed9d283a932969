"""python -m tune_sketch.data DATA: decode a data set and show what is in it."""

import argparse
import re
import sys
from pathlib import Path

from tune_sketch.data import DATASETS, DataRequest, open_data, prepare_data
from tune_sketch.data.describe import describe_data, plot_samples, write_class_counts
from tune_sketch.data.describe_copies import write_near_copies
from tune_sketch.data.names import written_lines
from tune_sketch.data.paths import path_argument, read_path
from tune_sketch.data.prepare import source_notes
from tune_sketch.data.request import default_cache_dir
from tune_sketch.data.screen import prepare_screen, print_error
from tune_sketch.data.sources.registry import find_source
from tune_sketch.data.splits import OWN_SPLIT, PROTOCOLS, SPLIT_BY, split_data, write_splits


def build_parser() -> argparse.ArgumentParser:
    """The flags; those that the search has too mean the same there."""
    parser = argparse.ArgumentParser(
        prog="python -m tune_sketch.data",
        description="Decode a data set into the cache and show what is in it: counts, sizes, splits, samples.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("data", help=f"{', '.join(DATASETS)}, a folder of class folders, of .ndjson or .npy files, a zip or tar")
    add("--image-px", type=int, default=128, metavar="N", help="side of the decoded square (default: 128)")
    add("--classes", nargs="+", metavar="C", help="class names, or one number N: the first N classes")
    add("--per-class", type=int, metavar="N", help="at most N drawings of each class")
    add("--splits", metavar="FILE", help="a table of the drawings to use: image, and split or class or both")
    add("--split-by", choices=(*SPLIT_BY, OWN_SPLIT), help="photo, file (leaky), or as the data are divided")
    add("--group-by", metavar="REGEX|COLUMN", help="drawings of one group stay together in a split")
    add("--class-from", metavar="REGEX", help="find the class in each picture's name, instead of class folders")
    add("--protocol", choices=tuple(PROTOCOLS), default="standard", help="sizes of the splits (default: standard)")
    add("--seed", type=int, default=0, metavar="N", help="seed of the splits and of --per-class (default: 0)")
    add("--no-invert", action="store_true", help="keep dark ink on light paper")
    add("--skip-bad-images", action="store_true", help="go on without unreadable images, and record them")
    add("--download", action="store_true", help="with quickdraw: fetch the chosen classes")
    add(
        "--out",
        type=path_argument,
        metavar="DIR",
        help="folder of the samples and tables (default: runs/data-NAME)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code: 2, with a message and no traceback, for errors of the user."""
    given = build_parser().parse_args(arguments)
    prepare_screen()
    try:
        show_data(given)
    except BrokenPipeError:  # the reader of our output has seen enough, as in `| head`
        sys.stdout = None
        return 0
    except (ValueError, OSError) as error:
        return print_error(error)
    except KeyboardInterrupt:
        print("interrupted; nothing half-made is left in the cache", file=sys.stderr)
        return 130
    return 0


def show_data(given: argparse.Namespace) -> None:
    """Decode, split, print and plot. Raises ValueError."""
    request = DataRequest(
        data=given.data if given.data in DATASETS else str(read_path(given.data)),
        image_px=given.image_px,
        classes=read_classes(given.classes),
        per_class=given.per_class,
        invert=not given.no_invert,
        skip_bad_images=given.skip_bad_images,
        download=given.download,
        seed=given.seed,
        splits=given.splits,
        group_by=given.group_by,
        class_from=given.class_from,
    )
    if given.group_by is not None and given.split_by == "file":
        raise ValueError("--group-by keeps drawings together, and --split-by file does not: give one of them")
    data = open_data(prepare_data(request))
    splits = split_data(data, protocol=given.protocol, split_by=given.split_by, seed=given.seed)
    name = re.sub(r"[^\w.-]+", "-", Path(given.data).expanduser().resolve().name) or "root"
    out = given.out or Path("runs") / f"data-{name}"
    out.mkdir(parents=True, exist_ok=True)
    write_class_counts(out / "classes.csv", data, splits)
    write_splits(out / "splits.csv", data, splits)
    plot_samples(out / "samples.png", data, seed=given.seed)
    written = "samples.png, classes.csv and splits.csv"
    if data.near_copies:
        write_near_copies(out / "near_copies.csv", data, splits)
        written = "samples.png, classes.csv, splits.csv and near_copies.csv"
    print(written_lines(describe_data(data, splits)))
    notes = source_notes(find_source(request, default_cache_dir(), progress=False))
    print(written_lines("\n".join(notes)) if notes else "no file was left out")
    print(f"\nwrote {written} in {out}")


def read_classes(names: list[str] | None) -> tuple[str, ...] | int | None:
    """Class names, or a number of classes where one whole number is given."""
    if names is None:
        return None
    return int(names[0]) if len(names) == 1 and names[0].isdigit() else tuple(names)


if __name__ == "__main__":
    sys.exit(main())
