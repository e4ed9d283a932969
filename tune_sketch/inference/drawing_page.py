"""Serves a local page on which to draw and see a network's answer."""

import base64
import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from flask import Flask, Response, abort, jsonify, request
from markupsafe import escape
from PIL import Image
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from tune_sketch.data.names import written_name
from tune_sketch.data.pixels import measure_strength
from tune_sketch.data.strokes import render_strokes
from tune_sketch.inference.grad_cam import enlarge_map, map_activations, overlay
from tune_sketch.inference.model import Classifier, best_classes

PAGE = Path(__file__).parent / "page"
LOOPBACK = "127.0.0.1"  # the page is for the person at this machine alone
MAX_BYTES = 1_000_000  # of one posted drawing
MAX_POINTS = 20_000  # minutes of drawing; the worst of that many takes seconds
OVERLAY_PX = 320
LEAST_PEN_PX = 0.5
ROOM_FRACTION = 0.998  # of the side that is asked for: rounding makes no drawing larger than it should be
SMALL_FRACTION = 0.25  # of the canvas: a smaller drawing, or a dot, is not blown up to full size
Strokes = list[np.ndarray]  # each float [num_points, 2] of x and y, from 0 to 1 on the canvas


class Answer(TypedDict):
    """The answer to a drawing: its best classes with probabilities, and its activation map as a data URL (PNG)."""

    predictions: list[tuple[str, float]]
    overlay: str | None


class _QuietHandler(WSGIRequestHandler):
    """Prints no line per stroke."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def open_server(model: Classifier, port: int) -> BaseWSGIServer:
    """A server for the page on this machine alone; port 0 takes any free one. Raises ValueError for a taken port."""
    try:
        return make_server(LOOPBACK, port, make_app(model), threaded=True, request_handler=_QuietHandler)
    except SystemExit:  # werkzeug ends the program when the port is taken
        raise ValueError(f"port {port} is taken: choose another with --port") from None


def make_app(model: Classifier) -> Flask:
    """The page as a Flask application: / is the page, /recognise takes a drawing and returns an `Answer`."""
    app = Flask("tune_sketch.draw", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    one_at_a_time = threading.Lock()  # the network's hooks for the activation map are not made for two threads
    app.before_request(refuse_other_hosts)
    app.get("/")(lambda: show_page(model))

    @app.post("/recognise")
    def recognise() -> Response:
        strokes = read_posted_strokes()
        with one_at_a_time:
            return jsonify(recognise_strokes(model, strokes))

    return app


def refuse_other_hosts() -> None:
    """Answer only to this machine's own names, so that no web page reaches us through a name of its own."""
    if request.host.split(":")[0] not in (LOOPBACK, "localhost"):
        abort(403)


def show_page(model: Classifier) -> str:
    """The page, whose pen is as thick as the lines of the training drawings, with the classes that there are."""
    page = (PAGE / "draw.html").read_text(encoding="utf-8")
    page = page.replace("PEN_WIDTH_FRACTION", f"{model.pen_width_fraction:.5f}")
    scripts = [(PAGE / name).read_text(encoding="utf-8") for name in ("paper.js", "draw.js")]
    page = page.replace("/* script */", "\n".join(scripts))
    names = sorted(written_name(name).replace("_", " ") for name in model.class_names)
    page = page.replace("NUM_CLASSES", f"{len(names):,}")
    return page.replace("CLASS_NAMES", escape(", ".join(names)))  # last: a name may hold any of these words


def read_posted_strokes() -> Strokes:
    """The strokes of a posted drawing, {"strokes": [[[x, y], ...], ...]}. Aborts the request when it is another."""
    if request.mimetype != "application/json":
        abort(415)  # a form on a foreign page cannot send this type without asking us
    try:
        strokes = [np.array(stroke, np.float64).reshape(-1, 2) for stroke in request.get_json()["strokes"]]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        abort(400)
    if sum(map(len, strokes)) > MAX_POINTS or not all(((s >= -1) & (s <= 2)).all() for s in strokes):
        abort(400)  # NaN and infinity are outside too
    return [stroke for stroke in strokes if len(stroke)]


def recognise_strokes(model: Classifier, strokes: Strokes) -> Answer:
    """The answer to a drawing. An empty canvas has no predictions."""
    if not strokes:
        return {"predictions": [], "overlay": None}
    probabilities = classify_strokes(model, [strokes])[0]
    image = prepare_strokes(model, strokes, model.extent_fraction)
    shown = polarise(model, draw_strokes(model, strokes, OVERLAY_PX, model.extent_fraction))
    activation = map_activations(model, image[None], np.array([probabilities.argmax()]))[0]
    buffer = io.BytesIO()
    Image.fromarray(overlay(shown, enlarge_map(activation, OVERLAY_PX), model.invert)).save(buffer, format="png")
    return {
        "predictions": best_classes(probabilities, model.class_names),
        "overlay": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(),
    }


def classify_strokes(model: Classifier, drawings: Sequence[Strokes]) -> np.ndarray:
    """Float32 [N, num_classes]: what the page says of drawings, none of which is empty.

    The mean of the probabilities over the sizes that the training drawings have: their median and quartiles.
    """
    extents = (model.extent_fraction, *model.extent_range)
    views = [prepare_strokes(model, strokes, extent) for strokes in drawings for extent in extents]
    probabilities = model.compute_probabilities(np.stack(views))
    mean: np.ndarray = probabilities.reshape(len(drawings), len(extents), -1).mean(axis=1)
    return mean


def prepare_strokes(model: Classifier, strokes: Strokes, extent_fraction: float) -> np.ndarray:
    """uint8 [image_px, image_px]: a drawing for the network, its lines as wide and as dark as in training."""
    ink = draw_strokes(model, strokes, model.image_px, extent_fraction)
    darkness = min(1.0, model.ink_strength / measure_strength(ink))
    return polarise(model, np.rint(darkness * ink).astype(np.uint8))


def polarise(model: Classifier, ink: np.ndarray) -> np.ndarray:
    """Ink of 255 on 0 as the network was trained on it."""
    return ink if model.invert else 255 - ink


def draw_strokes(model: Classifier, strokes: Strokes, side_px: int, extent_fraction: float) -> np.ndarray:
    """uint8 [side_px, side_px], ink 255 on 0: with as thick a pen as the training drawings.

    extent_fraction: of the drawing's longer side over the picture's, unless it is very small on the canvas.
    """
    points = np.concatenate(strokes)
    extent = float((points.max(axis=0) - points.min(axis=0)).max())
    filled = extent_fraction * min(1.0, extent / SMALL_FRACTION)
    pen_px = max(LEAST_PEN_PX, model.pen_width_fraction * side_px)
    return render_strokes(strokes, side_px, pen_px, margin=0.5 * (1 - filled) * ROOM_FRACTION)
