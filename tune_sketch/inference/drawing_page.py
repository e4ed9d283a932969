"""Serves a local page on which to draw and see a network's answer."""

import base64
import io
import threading
from pathlib import Path
from typing import TypedDict

import numpy as np
from flask import Flask, Response, abort, jsonify, request
from PIL import Image
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from tune_sketch.data.strokes import render_strokes
from tune_sketch.inference.grad_cam import enlarge_map, map_activations, overlay
from tune_sketch.inference.model import Classifier, best_classes

PAGE = Path(__file__).parent / "page"
LOOPBACK = "127.0.0.1"  # the page is for the person at this machine alone
MAX_BYTES = 1_000_000  # of one posted drawing
MAX_POINTS = 20_000  # minutes of drawing; the worst of so many takes seconds
OVERLAY_PX = 320
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
    app.get("/")(lambda: show_page(model.pen_width_fraction))

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


def show_page(pen_width_fraction: float) -> str:
    """The page, whose pen is as thick as the lines of the training drawings."""
    page = (PAGE / "draw.html").read_text(encoding="utf-8").replace("PEN_WIDTH_FRACTION", f"{pen_width_fraction:.5f}")
    return page.replace("/* script */", (PAGE / "draw.js").read_text(encoding="utf-8"))


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
    square, large = (draw_strokes(model, strokes, side_px) for side_px in (model.image_px, OVERLAY_PX))
    image, shown = (square, large) if model.invert else (255 - square, 255 - large)
    probabilities = model.compute_probabilities(image[None])[0]
    activation = map_activations(model, image[None], np.array([probabilities.argmax()]))[0]
    buffer = io.BytesIO()
    Image.fromarray(overlay(shown, enlarge_map(activation, OVERLAY_PX), model.invert)).save(buffer, format="png")
    return {
        "predictions": best_classes(probabilities, model.class_names),
        "overlay": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(),
    }


def draw_strokes(model: Classifier, strokes: Strokes, side_px: int) -> np.ndarray:
    """uint8 [side_px, side_px], ink 255 on 0: as large and with as thick a pen as the training drawings."""
    points = np.concatenate(strokes)
    extent = float((points.max(axis=0) - points.min(axis=0)).max())
    filled = model.extent_fraction * min(1.0, extent / SMALL_FRACTION)
    return render_strokes(
        strokes, side_px, max(0.5, model.pen_width_fraction * side_px), margin=0.5 * (1 - filled) * 0.998
    )
