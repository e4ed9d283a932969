"""Reading from others is bounded: regular files, sizes, pixels, points, time and memory of risky decoders."""

import io
import os
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.drawings import draw, make_image_folder, make_stroke_line
from tests.support.quickdraw_files import polylines, write_bin
from tune_sketch.data import DataError, DataRequest, open_data, prepare_data
from tune_sketch.data.bounds import read_regular
from tune_sketch.data.formats import guarded
from tune_sketch.data.formats.base import DecodeSettings
from tune_sketch.data.formats.gray import convert_to_gray
from tune_sketch.data.formats.images import open_gray
from tune_sketch.data.formats.registry import DRAWING_FORMATS, decode_drawing
from tune_sketch.data.formats.strokes import MAX_POINTS, check_points
from tune_sketch.data.pixels import BadDrawingError
from tune_sketch.data.strokes import render_strokes
from tune_sketch.inference.photos import find_pictures, read_picture

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" height="9">{}</svg>'
LINE = '<path d="M1 1L8 8" stroke="black"/>'


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def prepare(root, **choices):
    return open_data(prepare_data(DataRequest(str(root), 20, **choices), progress=False))


def nested_links(depth):
    """A line drawn 2 ** depth times."""
    groups = [f'<g id="a{n}">{f"<use xlink:href=&quot;#a{n - 1}&quot;/>" * 2}</g>' for n in range(1, depth + 1)]
    return SVG.format(f'<g id="a0">{LINE}</g>{"".join(groups)}'.replace("&quot;", '"')).encode()


def make_sparse(path, num_bytes, start=b""):
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(num_bytes)
    return path


@pytest.mark.timeout(60)
def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/zero", tmp_path / "endless")
    for name, reason in (
        ("pipe", "no regular file"),
        ("endless", "no regular file"),
        (".", "Is a directory|no regular"),
    ):
        with pytest.raises(OSError, match=reason):
            read_regular(tmp_path / name)
    make_sparse(tmp_path / "huge.png", 40 * 2**30)
    with pytest.raises(OSError, match="42,949,672,960 bytes, more than 268,435,456"):
        read_regular(tmp_path / "huge.png")
    (tmp_path / "small").write_bytes(b"12345")
    assert read_regular(tmp_path / "small", 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, more than 4"):
        read_regular(tmp_path / "small", 4)
    with pytest.raises(ValueError, match=r"huge\.png: unreadable: 42,949,672,960 bytes"):
        read_picture(tmp_path / "huge.png", 20, True)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("suffix", [".png", ".ndjson", ".bin", ".npy", ".npz", ".csv"])
def test_a_sparse_file_of_40_gib_is_a_bad_file(tmp_path, suffix):
    """In the list of bad files, in seconds, and in little memory."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**25, 784)})
    starts = {
        ".npy": header.getvalue(),
        ".csv": b"drawing,word\n",
        ".ndjson": make_stroke_line("cat", 1).encode() + b"\n",
    }
    root = tmp_path / "set"
    if suffix == ".png":
        make_image_folder(root)
        make_sparse(root / "cat" / "huge.png", 40 * 2**30)
    else:
        root.mkdir()
        for name in ("cat", "dog"):
            make_sparse(root / f"{name}{suffix}", 40 * 2**30, starts.get(suffix, b""))
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"huge.png|cat"):
        prepare(root)
    assert time.monotonic() - started < 60


@pytest.fixture
def short_time(monkeypatch):
    guarded.end_guard()
    monkeypatch.setattr(guarded, "MAX_SECONDS", 6.0)
    yield
    guarded.end_guard()


@pytest.mark.timeout(120)
def test_an_svg_of_nested_links_is_a_bad_drawing_and_the_next_is_read(short_time):
    pytest.importorskip("cairosvg")
    assert open_gray(SVG.format(LINE).encode(), "a.svg").size == (1024, 1024)
    with pytest.raises(BadDrawingError, match="takes more than 6 s to decode"):
        open_gray(nested_links(24), "a.svg")
    assert open_gray(SVG.format(LINE).encode(), "a.svg").size == (1024, 1024)
    with pytest.raises(BadDrawingError, match="damaged"):
        open_gray(SVG.format(LINE).replace('"9"', '"1"', 1).replace('"9"', '"100000"').encode(), "long.svg")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_decoder_that_takes_too_much_memory_or_breaks_down_is_a_bad_drawing(monkeypatch):
    picture = io.BytesIO()
    draw(1, size=(3000, 3000)).save(picture, "TIFF")
    guarded.end_guard()
    monkeypatch.setattr(
        guarded,
        "START",
        guarded.START.replace(
            "serve()", "import tune_sketch.data.formats.guarded as g; g.MAX_MEMORY_BYTES = 2**20; g.serve()"
        ),
    )
    with pytest.raises(BadDrawingError, match=r"of memory to decode|its decoder broke down"):
        open_gray(picture.getvalue(), "a.tif")
    guarded.end_guard()
    monkeypatch.setattr(guarded, "START", "{path}; import os; os.abort()")
    with pytest.raises(BadDrawingError, match="its decoder broke down"):
        open_gray(picture.getvalue(), "a.tif")
    monkeypatch.undo()
    guarded.end_guard()
    assert open_gray(picture.getvalue(), "a.tif").size == (3000, 3000)


def test_risky_formats_are_decoded_elsewhere_and_alike(monkeypatch):
    """TIFF, AVIF and HEIC by their content, whatever the name says."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    for form in ("TIFF", "AVIF", "HEIF"):
        buffer = io.BytesIO()
        draw(5, size=(61, 40)).convert("RGB").save(buffer, form)
        expected = convert_to_gray(Image.open(io.BytesIO(buffer.getvalue())))
        assert guarded.is_risky(buffer.getvalue(), False)
        assert open_gray(buffer.getvalue(), "a.png").tobytes() == expected.tobytes(), form
    monkeypatch.setattr("tune_sketch.data.formats.images.decode_guarded", lambda *_: pytest.fail("not needed"))
    for form in ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP"):
        buffer = io.BytesIO()
        draw(5, size=(61, 40)).save(buffer, form)
        open_gray(buffer.getvalue(), "a.png")


def test_the_process_that_decodes_ends_with_its_own(tmp_path):
    code = (
        "import io\nfrom PIL import Image\nfrom tune_sketch.data.formats import guarded\n"
        "b = io.BytesIO()\nImage.new('L', (9, 9)).save(b, 'TIFF')\nguarded.decode_guarded(b.getvalue(), False)\n"
        "print(guarded._guard.process.pid)"
    )
    root = Path(__file__).parents[2]
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{answer.stdout.strip()}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{answer.stdout.strip()}").exists()


def test_transparent_pictures_of_the_most_pixels_take_little_more_than_their_own_memory():
    picture = Image.new("RGBA", (4000, 4000))
    picture.paste((0, 0, 0, 255), (100, 100, 1500, 1500))
    tracemalloc.start()
    assert convert_to_gray(picture).getpixel((50, 50)) == 255
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 4 * 4000**2, "as floats it was twice as much, and the rest besides"


@pytest.mark.parametrize("extent", [1e-320, 1e-300, 1e-12, 1e8])
def test_a_drawing_of_any_size_is_drawn_alike(extent):
    expected = render_strokes([np.array([[0, 0], [1, 0.5], [0.25, 1]])], 32)
    assert (
        np.abs(render_strokes([np.array([[0, 0], [1, 0.5], [0.25, 1]]) * extent], 32).astype(int) - expected).max() <= 1
    )


def test_many_long_lines_take_little_memory():
    points = np.tile([[0.0, 0.0], [1.0, 1.0]], (10_000, 1))
    tracemalloc.start()
    render_strokes([points], 320, 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 * 2**20


def test_a_drawing_has_a_bounded_number_of_points():
    check_points([np.zeros((MAX_POINTS, 2))])
    with pytest.raises(BadDrawingError, match="too large: 100,001 points, more than 100,000"):
        check_points([np.zeros((MAX_POINTS, 2)), np.zeros((1, 2))])


@pytest.mark.parametrize(
    ("drawing", "reason"),
    [
        ("1" + "0" * 400, "int too large"),
        ("[" * 100_000, "RecursionError"),
        ("1e999", "not finite"),
        ("9" * 5000, "Exceeds the limit|int too large"),
        ('{"a": 1}', "not a Quick, Draw! drawing"),
    ],
)
def test_odd_numbers_in_a_drawing_are_named(tmp_path, drawing, reason):
    path = tmp_path / "cat.ndjson"
    path.write_text(f'{{"word": "cat", "drawing": [[[0, {drawing}], [0, 1]]]}}\n')
    (found,) = DRAWING_FORMATS["strokes"].list("cat.ndjson", str(path), "cat", None)
    with pytest.raises(BadDrawingError, match=reason):
        decode_drawing(found, DecodeSettings(20, True, None, 0))


@pytest.mark.parametrize("how", ["changed", "shorter", "empty", "gone", "appeared"])
def test_a_drawing_that_changes_while_all_are_read_is_named(tmp_path, monkeypatch, how):
    """Between reading for the fingerprint and decoding: else the pixels were others than the fingerprint says."""
    from tune_sketch.data import prepare as preparing

    root = make_image_folder(tmp_path / "set", per_class=6)
    path = root / "cat" / "3.png"
    if how == "appeared":
        path.rename(tmp_path / "later.png")
        os.symlink(tmp_path / "later.png.gone", path)
    real = preparing.decode_all

    def change_and_decode(*arguments, **more):
        if how == "changed":
            draw(77).save(path)
        elif how == "shorter":
            path.write_bytes(path.read_bytes()[:-20])
        elif how == "empty":
            path.write_bytes(b"")
        else:
            path.unlink()
            if how == "appeared":
                (tmp_path / "later.png").rename(path)
        return real(*arguments, **more)

    monkeypatch.setattr(preparing, "decode_all", change_and_decode)
    message = {"gone": r"unreadable: No such file or directory \(", "empty": r"zero bytes \("}.get(how, "")
    with pytest.raises(DataError, match=rf"cat/3.png: {message}changed while the drawings were read"):
        prepare(root, skip_bad_images=True)  # what has changed cannot be left out


@pytest.mark.parametrize("suffix", [".npy", ".bin"])
def test_a_file_that_shrinks_meanwhile_does_not_end_the_process(tmp_path, suffix):
    path = tmp_path / f"cat{suffix}"
    if suffix == ".npy":
        np.save(path, np.arange(4 * 784, dtype=np.uint8).reshape(4, 784))
    else:
        write_bin(path, "cat", [polylines(number) for number in range(4)])
    form = DRAWING_FORMATS["bitmaps" if suffix == ".npy" else "binary"]
    drawings = list(form.list(path.name, str(path), "cat", None))
    assert len(drawings) == 4
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(OSError, match="changed meanwhile"):
        form.read(drawings[-1])


def test_columns_of_an_array_may_come_first(tmp_path):
    rows = np.arange(6 * 784, dtype=np.uint32).astype(np.uint8).reshape(6, 784)
    np.save(tmp_path / "cat.npy", np.asfortranarray(rows))
    form = DRAWING_FORMATS["bitmaps"]
    drawings = list(form.list("cat.npy", str(tmp_path / "cat.npy"), "cat", None))
    assert [form.read(drawing) for drawing in drawings] == [row.tobytes() for row in rows]


def test_an_archive_of_2000_folders_deep_or_a_damaged_packing_is_refused(tmp_path):
    deep = tmp_path / "deep.zip"
    with zipfile.ZipFile(deep, "w") as archive:
        archive.writestr("d/" * 2000 + "a.png", b"x")
    with pytest.raises(ValueError, match="lies 2,000 folders deep, more than 60"):
        prepare(deep)
    with tarfile.open(tmp_path / "deep.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("d/" * 2000 + "a.png"))
    with pytest.raises(ValueError, match="folders deep"):
        prepare(tmp_path / "deep.tar")
    damaged = tmp_path / "lzma.zip"
    with zipfile.ZipFile(damaged, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("cat/a.png", os.urandom(3000))
    content = bytearray(damaged.read_bytes())
    content[200:400] = b"\xff" * 200
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"lzma.zip is damaged or cannot be unpacked"):
        prepare(damaged)


def test_folders_2000_deep_are_no_traceback(tmp_path):
    root = make_image_folder(tmp_path / "set")
    above = os.getcwd()
    try:
        os.chdir(root / "cat")
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(above)
    try:
        assert prepare(root).class_names == ["cat", "dog"]
        assert len(find_pictures([root / "cat"])) == 4
    finally:
        subprocess.run(["rm", "-rf", root / "cat"], check=True)
