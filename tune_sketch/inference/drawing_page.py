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

from tune_sketch.data.decode import resample_to_square
from tune_sketch.inference.grad_cam import enlarge_map, map_activations, overlay
from tune_sketch.inference.model import Classifier, best_classes

PAGE = Path(__file__).parent / "page"
LOOPBACK = "127.0.0.1"  # the page is for the person at this machine alone
MAX_BYTES = 4_000_000  # of one posted drawing
OVERLAY_PX = 320
MARGIN_FRACTION = 0.1


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
    app.get("/")(show_page)

    @app.post("/recognise")
    def recognise() -> Response:
        ink = read_posted_ink()
        with one_at_a_time:
            return jsonify(recognise_ink(model, ink))

    return app


def refuse_other_hosts() -> None:
    """Answer only to this machine's own names, so that no web page reaches us through a name of its own."""
    if request.host.split(":")[0] not in (LOOPBACK, "localhost"):
        abort(403)


def show_page() -> str:
    page = (PAGE / "draw.html").read_text(encoding="utf-8")
    return page.replace("/* script */", (PAGE / "draw.js").read_text(encoding="utf-8"))


def read_posted_ink() -> np.ndarray:
    """uint8 [H, W], 255 where drawn: the alpha of a posted PNG. Aborts the request when it is something else."""
    if request.mimetype != "image/png":
        abort(415)  # a form on a foreign page cannot send this type without asking us
    try:
        with Image.open(io.BytesIO(request.get_data())) as picture:
            return np.asarray(picture.convert("RGBA"))[..., 3]
    except (OSError, ValueError, Image.DecompressionBombError):
        abort(400)


def recognise_ink(model: Classifier, ink: np.ndarray) -> Answer:
    """The answer to ink uint8 [H, W], 255 where drawn. An empty canvas has no predictions."""
    square, large = frame(ink, model.image_px), frame(ink, OVERLAY_PX)
    if square is None or large is None:
        return {"predictions": [], "overlay": None}
    image, shown = (square, large) if model.invert else (255 - square, 255 - large)
    probabilities = model.compute_probabilities(image[None])[0]
    activation = map_activations(model, image[None], np.array([probabilities.argmax()]))[0]
    buffer = io.BytesIO()
    Image.fromarray(overlay(shown, enlarge_map(activation, OVERLAY_PX), model.invert)).save(buffer, format="png")
    return {
        "predictions": best_classes(probabilities, model.class_names),
        "overlay": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(),
    }


def frame(ink: np.ndarray, image_px: int) -> np.ndarray | None:
    """uint8 [image_px, image_px]: the drawing centred with a margin, as training drawings are; None if empty."""
    rows, columns = np.flatnonzero((ink > 64).any(axis=1)), np.flatnonzero((ink > 64).any(axis=0))
    if not len(rows):
        return None
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # A dot is not blown up: at least a quarter of the canvas is kept.
    side = max(round(max(cut.shape) * (1 + 2 * MARGIN_FRACTION)), max(ink.shape) // 4)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    square[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return resample_to_square(Image.fromarray(square), image_px)
