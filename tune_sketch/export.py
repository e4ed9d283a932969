"""Takes the network of a run elsewhere: python -m tune_sketch.export RUN --to onnx|torchvision|timm|site."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from tune_sketch.config.settings import resolve_choices
from tune_sketch.data import SketchData, open_data
from tune_sketch.data.paths import path_argument
from tune_sketch.data.screen import prepare_screen, print_error
from tune_sketch.data.sketch_data import is_whole
from tune_sketch.data.splits import Splits, read_splits
from tune_sketch.inference.model import Classifier, load_classifier
from tune_sketch.inference.web_runtime import find_runtime
from tune_sketch.retraining.model_card import sentence_of
from tune_sketch.storage.facts import read_facts
from tune_sketch.storage.run_directory import RunDirectory
from tune_sketch.storage.same_content import find_data

FORMS = ("onnx", "torchvision", "timm", "site")


def build_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="python -m tune_sketch.export",
        allow_abbrev=False,
        description="Write the network of a run for other programs, below RUN/best/, and check that it is the same.",
    )
    add = parser.add_argument
    add("run", type=path_argument, metavar="RUN", help="a run directory")
    add(
        "--to", choices=FORMS, required=True, help="one ONNX file; weights for torchvision or timm; a page for browsers"
    )
    add("--quantise", action="store_true", help="of 8-bit integers; prints what that costs on the run's test drawings")
    add("--runtime", type=path_argument, metavar="FOLDER", help="of the npm package onnxruntime-web, instead of npm")
    add("--data", metavar="PLACE", help="where the drawings of the search lie now, if its decoded copy is gone")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command. Returns the exit code: 2 for an error of the user."""
    prepare_screen()
    arguments = build_parser().parse_args(argv)
    try:
        check(arguments)
        runtime = find_runtime(arguments.runtime) if arguments.to == "site" else None
        model = load_classifier(arguments.run)
        run = RunDirectory(arguments.run)
        if arguments.to in ("torchvision", "timm"):
            export_tensors(run, model, arguments.to)
        else:
            export_network(run, model, runtime, quantised=arguments.quantise, location=arguments.data)
    except (ValueError, OSError) as error:
        return print_error(error)
    return 0


def check(arguments: argparse.Namespace) -> None:
    """Raises ValueError for flags that do not go together."""
    if arguments.quantise and arguments.to not in ("onnx", "site"):
        raise ValueError(f"--quantise is only for --to onnx and --to site, got --to {arguments.to}")
    if arguments.runtime is not None and arguments.to != "site":
        raise ValueError(f"--runtime is only for --to site, got --to {arguments.to}")


def export_tensors(run: RunDirectory, model: Classifier, library: str) -> None:
    """Write best/torchvision/ or best/timm/."""
    from tune_sketch.inference.plain_networks import export_timm, export_torchvision

    folder = run.best / library
    difference = (export_timm if library == "timm" else export_torchvision)(model, folder)
    print(f"{folder}  (largest difference of a probability: {difference:.1g})")


def export_network(
    run: RunDirectory, model: Classifier, runtime: Path | None, *, quantised: bool, location: str | None
) -> None:
    """Write best/model.onnx, with integers best/model-int8.onnx, and with a runtime best/site/."""
    from tune_sketch.inference.onnx import export_onnx  # imports torch, which errors before need not wait for

    drawings = find_drawings(run, location) if quantised or runtime is not None else None
    if quantised and drawings is None:
        raise ValueError(
            f"{run.path}: its drawings are no longer decoded in this machine's cache, and --quantise needs them. "
            "Say where they lie: --data PLACE"
        )
    network = run.best / "model.onnx"
    difference = export_onnx(model, network)
    print(f"{network}  (largest difference of a probability: {difference:.1g})")
    result = recorded_result(run)
    if quantised:
        from tune_sketch.inference.quantise import quantise

        assert drawings is not None
        float_file, network = network, run.best / "model-int8.onnx"
        loss = quantise(float_file, network, *drawings, run.best / "quantised.csv")
        print(f"{network}  (calibrated on training drawings; measured in {run.best / 'quantised.csv'})")
        print(loss)
        result = [sentence_of(loss.top1, loss.num_drawings), f"This is the smaller network of 8-bit integers. {loss}."]
    if runtime is None:
        return
    from tune_sketch.inference.site import write_site

    data, splits = drawings or (None, None)
    if data is None:
        print("its drawings are no longer decoded, so the page shows none; --data PLACE brings them", file=sys.stderr)
    folder = run.best / "site"
    write_site(model, network, runtime, folder, result=[*result, *ABOUT_RESULT], data=data, splits=splits)
    num_bytes = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}  ({num_bytes / 1e6:.1f} MB; put it on any web server, or: cd there; python -m http.server)")


ABOUT_RESULT = (
    "That is of drawings like those it learned from. Yours are drawn by another hand, and it has no answer for "
    "anything but the things that it knows.",
)


def find_drawings(run: RunDirectory, location: str | None) -> tuple[SketchData, Splits] | None:
    """The run's decoded drawings and their splits; None where they are gone and no other location is given."""
    facts = read_facts(run)
    cache = Path(facts.data.cache)
    if not is_whole(cache):
        if location is None:
            return None
        cache = find_data(run, facts, replace(facts.settings, **resolve_choices({"data": location})))
    data = open_data(cache)
    return data, read_splits(run.splits_csv, data)


def recorded_result(run: RunDirectory) -> list[str]:
    """The model card's sentence; none for a run of before there were test results in model.json."""
    test = json.loads((run.best / "model.json").read_text(encoding="utf-8")).get("test")
    return [sentence_of(test["top1"], test["num_images"])] if test else []


if __name__ == "__main__":
    sys.exit(main())
