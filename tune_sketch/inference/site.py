"""Writes a recogniser as a static page: drawings are recognised in the visitor's own browser."""

import base64
import hashlib
import json
import shutil
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from jinja2 import Environment
from markupsafe import Markup
from PIL import Image

from tune_sketch.data import SketchData
from tune_sketch.data.names import written_name
from tune_sketch.data.pixels import MARGIN_FRACTION, find_extent, resample_to_square
from tune_sketch.data.splits import Splits
from tune_sketch.inference.drawing_page import LEAST_PEN_PX, PAGE, ROOM_FRACTION, SMALL_FRACTION
from tune_sketch.inference.model import NUM_SHOWN, Classifier
from tune_sketch.inference.web_runtime import BINARY, PACKAGE, SCRIPT, VERSION
from tune_sketch.storage.files import replace_folder, write_text

NETWORK, PICTURES, LICENCES = "model.onnx", "classes.png", "licences.txt"
NUM_PICTURES, PICTURE_PX = 3, 72  # of each class; as large as a phone's dense screen shows them
NUM_GREYS = 16


def write_site(
    model: Classifier,
    network: Path,
    runtime: Path,
    folder: Path,
    *,
    result: Sequence[str],
    data: SketchData | None,
    splits: Splits | None,
) -> None:
    """Write a folder of static files around an ONNX file of the model, by the runtime's folder of `find_runtime`.

    result: sentences on how good it is. Without data there are no pictures of the classes.
    """
    with replace_folder(folder) as new_folder:
        shutil.copyfile(network, new_folder / NETWORK)
        for name in (SCRIPT, BINARY):
            shutil.copyfile(runtime / name, new_folder / name)
        write_text(new_folder / LICENCES, licence_text())
        pictures = None
        if data is not None and splits is not None:
            sheet, pictures = draw_classes(model, data, splits)
            sheet.save(new_folder / PICTURES, optimize=True)
        num_bytes = sum(path.stat().st_size for path in new_folder.iterdir())
        write_text(new_folder / "index.html", page_text(model, result, pictures, num_bytes))
        names = sorted(path.name for path in new_folder.iterdir())
        digest = hashlib.sha256(b"".join((new_folder / name).read_bytes() for name in names)).hexdigest()
        text = (PAGE / "service-worker.js").read_text(encoding="utf-8")
        write_text(
            new_folder / "service-worker.js",
            text.replace("VERSION", digest[:16]).replace("FILE_NAMES", json.dumps(names)),
        )


def page_text(model: Classifier, result: Sequence[str], pictures: dict[str, int] | None, num_bytes: int) -> str:
    """The page, with everything of it inside but the network, the runtime and the pictures.

    Its policy names the hashes of its own script and style, so that no text in it can run as another.
    """
    style = (PAGE / "site.css").read_text(encoding="utf-8")
    script = "\n".join((PAGE / name).read_text(encoding="utf-8") for name in ("paper.js", "site.js"))
    shown_names = [written_name(name).replace("_", " ") for name in model.class_names]
    about = {
        "image_px": model.image_px,
        "invert": model.invert,
        "pen_width_fraction": model.pen_width_fraction,
        "extent_fraction": model.extent_fraction,
        "extent_range": list(model.extent_range),
        "ink_strength": model.ink_strength,
        "small_fraction": SMALL_FRACTION,
        "least_pen_px": LEAST_PEN_PX,
        "room_fraction": ROOM_FRACTION,
        "num_shown": NUM_SHOWN,
        "shown_names": shown_names,
        "pictures": pictures,
        "files": {"network": NETWORK, "runtime": SCRIPT, "binary": BINARY},
    }
    policy = (
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval' '{hash_of(script)}'; style-src '{hash_of(style)}'; "
        "img-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'"
    )
    template = Environment(autoescape=True).from_string((PAGE / "site.html").read_text(encoding="utf-8"))
    return template.render(
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        worker=Markup((PAGE / "recogniser.js").read_text(encoding="utf-8")),
        about=Markup(json.dumps(about).replace("<", "\\u003c")),  # no name of a class ends the element
        shown_names=shown_names,
        pen=f"{model.pen_width_fraction:.5f}",
        result=result,
        megabytes=f"{num_bytes / 1e6:.0f}",
    )


def hash_of(text: str) -> str:
    """A script's or style's hash as a policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def draw_classes(model: Classifier, data: SketchData, splits: Splits) -> tuple[Image.Image, dict[str, int]]:
    """One picture with three training drawings of each class, dark on light, and its numbers of columns and rows."""
    num_classes = len(data.class_names)
    columns = max(1, round((num_classes / NUM_PICTURES) ** 0.5))
    rows = -(-num_classes // columns)
    sheet = Image.new("L", (columns * NUM_PICTURES * PICTURE_PX, rows * PICTURE_PX), 255)
    rng = np.random.default_rng(0)
    for label in range(num_classes):
        members = splits.train[data.labels[splits.train] == label]
        for column, index in enumerate(rng.choice(members, min(NUM_PICTURES, len(members)), replace=False)):
            drawing = np.asarray(data.images[index])
            picture = picture_of(drawing if model.invert else 255 - drawing)
            left = ((label % columns) * NUM_PICTURES + column) * PICTURE_PX
            sheet.paste(picture, (left, label // columns * PICTURE_PX))
    return sheet.quantize(NUM_GREYS, dither=Image.Dither.NONE), {"columns": columns, "rows": rows}


def picture_of(ink: np.ndarray) -> Image.Image:
    """A drawing, uint8 [H, W] of ink 255 on 0, dark on light and as large as its cell: some are very small."""
    extent = find_extent(ink)
    if extent is not None:
        cut = ink[extent]
        side = round(max(cut.shape) * (1 + 2 * MARGIN_FRACTION)) + 2
        top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
        ink = np.zeros((side, side), np.uint8)
        ink[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return Image.fromarray(255 - resample_to_square(Image.fromarray(ink), PICTURE_PX, 0))


def licence_text() -> str:
    """The runtime's licence and notices, which the Python package of the same program brings."""
    installed = [file for file in distribution("onnxruntime").files or () if file.parts[0] == "onnxruntime"]
    files = {file.name: file for file in installed if file.name in ("LICENSE", "ThirdPartyNotices.txt")}
    lines = [f"{SCRIPT} and {BINARY} are of {PACKAGE} {VERSION} (part of ONNX Runtime):", ""]
    return "\n".join(lines) + "\n\n".join(files[name].read_text(encoding="utf-8") for name in sorted(files))
