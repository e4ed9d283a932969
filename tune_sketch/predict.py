"""Recognises drawings with the network of a run: python -m tune_sketch.predict RUN IMAGE|FOLDER ..."""

import argparse
import sys
from pathlib import Path

from tune_sketch.data.paths import path_argument
from tune_sketch.data.screen import prepare_screen, print_error
from tune_sketch.export import export_tensors
from tune_sketch.inference.cores import leave_a_core_free
from tune_sketch.inference.model import Classifier, load_classifier
from tune_sketch.inference.photos import find_pictures
from tune_sketch.inference.recognition import Layout, print_predictions
from tune_sketch.inference.test_time_augmentation import VOTES
from tune_sketch.storage.run_directory import RunDirectory


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="python -m tune_sketch.predict",
        allow_abbrev=False,
        description="Name the five best classes of drawings: files, scans or photos of paper, in dark or light ink.",
    )
    add = parser.add_argument
    add("run", type=path_argument, metavar="RUN", help="a run directory")
    add("images", type=Path, metavar="IMAGE|FOLDER", nargs="*", help="image files, or folders of them")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON, one object per line and image")
    output.add_argument("--csv", action="store_true", help="print CSV in the columns of predictions.csv")
    add("--cam", type=path_argument, metavar="FOLDER", help="write where the network looked, one PNG per image")
    add("--vote", choices=sorted(VOTES), help="combine several predictions of each drawing (see the report's measure)")
    add("--ensemble", action="store_true", help="the mean of the winner's seeds, each at its own time (see winner.csv)")
    forms = "for other programs, below RUN/best/, as `tune_sketch.export --to` does; of an --ensemble only onnx"
    add("--export", choices=["onnx", "torchvision", "timm"], help=f"write the network {forms}")
    return parser


def load_networks(run: Path, *, ensemble: bool) -> Classifier:
    """The network of best/, or the winner's seeds together. Raises ValueError."""
    if not ensemble:
        return load_classifier(run)
    from tune_sketch.inference.ensemble import load_ensemble  # imports torch, which errors of flags need not wait for

    return load_ensemble(run)


def main(argv: list[str] | None = None) -> int:
    """Run the command. Returns the exit code: 2 for an error of the user."""
    prepare_screen()
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if not arguments.images and not arguments.export:
        parser.error("give at least one IMAGE or FOLDER, or --export")
    if arguments.ensemble and (arguments.cam or arguments.vote == "cam"):
        parser.error("--ensemble is several networks, and an activation map is of one: leave out --cam and --vote cam")
    if arguments.ensemble and arguments.export not in (None, "onnx"):
        parser.error(f"--ensemble is several networks, and --export {arguments.export} writes one: take --export onnx")
    leave_a_core_free()
    try:
        pictures = find_pictures([path.expanduser() for path in arguments.images])
        model = load_networks(arguments.run, ensemble=arguments.ensemble)
        if arguments.export in ("torchvision", "timm"):
            print(export_tensors(RunDirectory(arguments.run), model, arguments.export), file=sys.stderr)
        elif arguments.export:
            from tune_sketch.inference.onnx import export_onnx  # imports torch, which errors above need not wait for

            path = arguments.run / "best" / f"{'ensemble' if arguments.ensemble else 'model'}.onnx"
            difference = export_onnx(model, path)
            print(f"{path} (largest difference of a probability: {difference:.1g})", file=sys.stderr)
        layout: Layout = "json" if arguments.json else "csv" if arguments.csv else "text"
        return print_predictions(model, pictures, layout=layout, vote=arguments.vote, cam_folder=arguments.cam)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, and Python would complain about it at exit
        return 0
    except (ValueError, OSError) as error:
        return print_error(error)


if __name__ == "__main__":
    sys.exit(main())
