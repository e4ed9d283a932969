"""Opens a local page on which to draw and watch the network of a run recognise it: python -m tune_sketch.draw RUN."""

import argparse
import base64
import io
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tune_sketch.data.decode import resample_to_square
from tune_sketch.inference.model import BestModel, best_classes, load_best

PAGE = Path(__file__).parent / "inference" / "page"
LOOPBACK = "127.0.0.1"  # the page is for the person at this machine alone
LARGEST_BYTES = 4_000_000  # of one posted drawing
OVERLAY_PX = 320
MARGIN_FRACTION = 0.1


def make_app(model: BestModel) -> Any:
    """The page as a Flask application: / the page, /recognise a drawing in, classes and activation map out."""
    from flask import Flask, abort, jsonify, request

    app = Flask("tune_sketch.draw", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BYTES
    one_at_a_time = threading.Lock()  # the network's hooks for the activation map are not made for two threads

    @app.before_request
    def refuse_other_hosts() -> None:
        """Answer only to this machine's own names, so that no web page reaches us through a name of its own."""
        if request.host.split(":")[0] not in (LOOPBACK, "localhost"):
            abort(403)

    @app.get("/")
    def show_page() -> Any:
        page = (PAGE / "draw.html").read_text(encoding="utf-8")
        script = (PAGE / "draw.js").read_text(encoding="utf-8")
        return page.replace("/* script */", script)

    @app.post("/recognise")
    def recognise() -> Any:
        if request.mimetype != "image/png":
            abort(415)  # a form on a foreign page cannot send this type without asking us
        try:
            with Image.open(io.BytesIO(request.get_data())) as picture:
                ink = np.asarray(picture.convert("RGBA"))[..., 3]
        except (OSError, ValueError, Image.DecompressionBombError):
            abort(400)
        with one_at_a_time:
            return jsonify(recognise_ink(model, ink))

    return app


def recognise_ink(model: BestModel, ink: np.ndarray) -> dict[str, Any]:
    """{"predictions": [[class, probability], ...], "overlay": PNG as data URL} of ink uint8 [H, W], 255 where drawn.

    An empty canvas has no predictions.
    """
    from tune_sketch.inference.grad_cam import enlarge_map, map_activations, overlay

    square = frame(ink, model.image_px)
    if square is None:
        return {"predictions": [], "overlay": None}
    image = square if model.invert else 255 - square
    probabilities = model.predict(image[None])[0]
    activation = map_activations(model, image[None], np.array([probabilities.argmax()]))[0]
    large = frame(ink, OVERLAY_PX)
    assert large is not None
    shown = large if model.invert else 255 - large
    picture = Image.fromarray(overlay(shown, enlarge_map(activation, OVERLAY_PX), model.invert))
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return {
        "predictions": best_classes(probabilities, model.class_names),
        "overlay": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(),
    }


def frame(ink: np.ndarray, image_px: int) -> np.ndarray | None:
    """uint8 [image_px, image_px]: the drawing in the middle with a margin, as training drawings are; None if empty."""
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


def main(argv: list[str] | None = None) -> int:
    """The command: serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tune_sketch.draw", description=__doc__, allow_abbrev=False)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--port", type=int, default=8765, metavar="N", help="default 8765; 0 takes any free one")
    arguments = parser.parse_args(argv)
    try:
        if not 0 <= arguments.port <= 65535:
            raise ValueError(f"--port must be 0 to 65535, got {arguments.port}")
        model = load_best(arguments.run)
        from werkzeug.serving import WSGIRequestHandler, make_server

        class QuietHandler(WSGIRequestHandler):
            """Prints no line per stroke."""

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                pass

        try:
            server = make_server(LOOPBACK, arguments.port, make_app(model), threaded=True, request_handler=QuietHandler)
        except SystemExit:  # werkzeug's way to say that the port is taken
            raise ValueError(f"port {arguments.port} is taken: choose another with --port") from None
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"draw at  http://{LOOPBACK}:{server.server_port}/   (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
