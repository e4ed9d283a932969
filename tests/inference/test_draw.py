"""The drawing page's server, without a browser: drawings in, classes out, nothing for strangers."""

import io
import threading
import urllib.request

import numpy as np
import pytest
from PIL import Image

from tests.support.fake_runs import make_finished_run
from tune_sketch.data.doodles import render_doodle
from tune_sketch.draw import main
from tune_sketch.inference.drawing_page import frame, make_app, open_server
from tune_sketch.inference.model import load_classifier

pytest.importorskip("flask", reason="the extra `draw` is not installed")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    run = make_finished_run(tmp_path_factory.mktemp("draw") / "run", num_trials=3, failed=0)
    return make_app(load_classifier(run.path)).test_client()


def post(client, ink, **options):
    rgba = np.zeros((*ink.shape, 4), np.uint8)
    rgba[..., 3] = ink
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, format="png")
    options = {"content_type": "image/png", "base_url": "http://127.0.0.1:8765"} | options
    return client.post("/recognise", data=buffer.getvalue(), **options)


def test_a_drawing_is_recognised(client):
    answer = post(client, render_doodle("cat", 3, seed=1, image_px=512)).get_json()
    assert len(answer["predictions"]) == 5
    probabilities = [probability for _, probability in answer["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert answer["overlay"].startswith("data:image/png;base64,")
    assert client.get("/", base_url="http://127.0.0.1:8765").status_code == 200


def test_an_empty_canvas_has_no_class(client):
    assert post(client, np.zeros((512, 512), np.uint8)).get_json() == {"predictions": [], "overlay": None}


def test_place_and_size_on_the_canvas_do_not_matter():
    ink = render_doodle("cat", 3, seed=1, image_px=200)
    canvas = np.zeros((512, 512), np.uint8)
    canvas[10:210, 20:220] = ink
    other = np.zeros((512, 512), np.uint8)
    other[300:500, 290:490] = ink
    assert (frame(canvas, 64) == frame(other, 64)).all()
    dot = np.zeros((512, 512), np.uint8)
    dot[100:106, 100:106] = 255
    assert (frame(dot, 64) > 0).mean() < 0.02


def test_strangers_and_nonsense_are_refused(client):
    ink = np.zeros((8, 8), np.uint8)
    assert post(client, ink, base_url="http://evil.example:8765").status_code == 403
    assert post(client, ink, content_type="text/plain").status_code == 415
    answer = client.post("/recognise", data=b"x", content_type="image/png", base_url="http://127.0.0.1:8765")
    assert answer.status_code == 400
    assert post(client, np.zeros((8, 8), np.uint8), base_url="http://localhost:8765").status_code == 200


def test_errors_are_one_clear_line(tmp_path, capsys):
    for arguments in ([str(tmp_path)], [str(tmp_path), "--port", "70000"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1


def test_the_server_answers_and_keeps_its_port(tmp_path):
    run = make_finished_run(tmp_path / "run", num_trials=3, failed=0)
    server = open_server(load_classifier(run.path), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        assert server.host == "127.0.0.1"
        with urllib.request.urlopen(f"http://{server.host}:{server.server_port}/", timeout=30) as answer:
            assert b"<canvas" in answer.read()
        with pytest.raises(ValueError, match=rf"port {server.server_port} is taken: choose another with --port"):
            open_server(load_classifier(run.path), server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
