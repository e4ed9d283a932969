"""Every file of an odd kind is read, named as bad, or counted as left out: the same in training and in predict."""

import os

import numpy as np
import pytest
from PIL import Image

from tests.support.drawings import draw, make_image_folder
from tune_sketch.config.plan import plan_lines, prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.data import DataError, DataRequest, open_data, prepare_data
from tune_sketch.data.__main__ import main
from tune_sketch.data.pictures import left_out_text, list_pictures, register_heif
from tune_sketch.inference.photos import find_pictures, read_picture


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def prepare(root, **choices):
    return open_data(prepare_data(DataRequest(str(root), **({"image_px": 20} | choices))))


def write_odd_pictures(folder):
    """The same kind of drawing in many forms; {name: number}."""
    grey = {number: draw(number, size=(60, 60)) for number in range(100, 120)}
    forms = {
        "upper.PNG": lambda image, path: image.save(path, "PNG"),
        "upper.JPEG": lambda image, path: image.save(path, "JPEG"),
        "no_suffix": lambda image, path: image.save(path, "PNG"),
        "dots.in.name": lambda image, path: image.save(path, "BMP"),
        "cmyk.jpg": lambda image, path: image.convert("CMYK").save(path),
        "one_bit.png": lambda image, path: image.convert("1").save(path),
        "one_bit.tif": lambda image, path: image.convert("1").save(path, compression="group4"),
        "palette.png": lambda image, path: image.convert("P").save(path),
        "palette.gif": lambda image, path: image.save(path),
        "sixteen_bits.png": lambda image, path: Image.fromarray(np.asarray(image).astype(np.uint16) * 257).save(path),
        "twelve_bits.png": lambda image, path: Image.fromarray(np.asarray(image).astype(np.uint16) * 16).save(path),
        "unit.tif": lambda image, path: Image.fromarray(np.asarray(image, np.float32) / 255).save(path),
        "lab.tif": lambda image, path: image.convert("RGB").convert("LAB").save(path),
        "float.tif": lambda image, path: Image.fromarray(np.asarray(image).astype(np.float32)).save(path),
        "rgba.webp": lambda image, path: image.convert("RGBA").save(path, lossless=True),
        "wrong.txt": lambda image, path: image.save(path, "PNG"),
    }
    for number, (name, save) in enumerate(forms.items(), start=100):
        save(grey[number], folder / name)
    return {name: number for number, name in enumerate(forms, start=100)}


def test_pictures_of_any_kind_are_read_alike_by_training_and_predict(tmp_path):
    root = make_image_folder(tmp_path / "set")
    written = write_odd_pictures(root / "cat")
    data = prepare(root)
    assert {f"cat/{name}" for name in written} <= set(data.names)
    found = find_pictures([root / "cat", root / "dog"])
    assert [str(path.relative_to(root)) for path in found] == data.names
    for path, image in zip(found, data.images, strict=True):
        assert np.array_equal(read_picture(path, 20, True), image), path
    for name, number in written.items():
        expected = prepare_one(tmp_path, number)
        image = data.images[data.names.index(f"cat/{name}")]
        limit = 40 if name in ("upper.JPEG", "cmyk.jpg") else 8
        assert np.abs(image.astype(int) - expected).max() <= limit, name


def prepare_one(tmp_path, number):
    path = tmp_path / f"{number}.png"
    draw(number, size=(60, 60)).save(path)
    return read_picture(path, 20, True)


def test_links_are_followed_and_what_leads_nowhere_is_named(tmp_path, capsys):
    root = make_image_folder(tmp_path / "set")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    draw(50).save(elsewhere / "far.png")
    draw(51).save(tmp_path / "single.png")
    os.symlink(elsewhere, root / "cat" / "more")
    os.symlink(root / "cat", root / "cat" / "round")  # leads back to where it lies
    os.symlink(tmp_path / "single.png", root / "dog" / "linked.png")
    data = prepare(root)
    assert {"cat/more/far.png", "dog/linked.png"} <= set(data.names)
    assert len(data.names) == 10
    assert "1 link to a folder that is there already" in capsys.readouterr().err
    assert [str(path.relative_to(root)) for path in find_pictures([root / "cat", root / "dog"])] == data.names
    os.symlink(tmp_path / "gone.png", root / "cat" / "dangling.png")
    os.symlink(tmp_path / "gone", root / "cat" / "dangling")
    with pytest.raises(DataError, match=r"dangling.png: unreadable: No such file"):
        prepare(root)
    assert "1 without suffix" in capsys.readouterr().err


@pytest.mark.timeout(30)
def test_pipes_and_devices_are_counted_and_not_waited_for(tmp_path, capsys):
    root = make_image_folder(tmp_path / "set")
    os.mkfifo(root / "cat" / "pipe.png")
    os.mkfifo(root / "pipe.png")
    os.symlink("/dev/zero", root / "dog" / "endless.jpg")
    os.symlink("/dev/zero", root / "labels.csv")
    assert prepare(root).class_names == ["cat", "dog"]
    said = capsys.readouterr().err
    for part in ("2 .png", "1 .jpg", "1 .csv"):
        assert part in said
    assert len(find_pictures([root / "cat"])) == 4


def test_other_documents_are_counted_by_name(tmp_path, capsys):
    root = make_image_folder(tmp_path / "set")
    (root / "cat" / "plan.pdf").write_bytes(b"%PDF-1.4\n")
    (root / "cat" / "layers.psd").write_bytes(b"8BPS\0\1" + bytes(40))
    (root / "dog" / "notes.txt").write_text("monday")
    (root / "dog" / "movie.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    prepare(root)
    assert "left out, since they are no pictures that can be read: 1 .mp4, 1 .pdf, 1 .psd, 1 .txt" in (
        capsys.readouterr().err
    )


def test_of_several_frames_the_first_is_used_and_that_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = make_image_folder(tmp_path / "set", per_class=8)
    for number, (name, options) in enumerate(
        {"moving.gif": {}, "moving.webp": {"lossless": True}, "pages.tif": {}, "moving.png": {}}.items()
    ):
        first, *rest = (draw(60 + 3 * number + frame) for frame in range(3))
        first.save(root / "cat" / name, save_all=True, append_images=rest, **options)
    text = "4 files hold several pictures (frames or pages): only the first is used"
    assert main([str(root), "--image-px", "20", "--protocol", "small"]) == 0
    assert text in capsys.readouterr().out
    settings = Settings("baseline", data=str(root), image_px=20, protocol="small")
    inputs = prepare_inputs(settings)
    assert f"WARNING   {text}" in plan_lines(settings, inputs)
    image = inputs.data.images[inputs.data.names.index("cat/pages.tif")]
    draw(66).save(tmp_path / "first.png")
    assert np.abs(image.astype(int) - read_picture(tmp_path / "first.png", 20, True)).max() <= 1


def test_svg_names_its_extra_where_that_is_missing(tmp_path, monkeypatch):
    root = make_image_folder(tmp_path / "set")
    (root / "cat" / "drawn.SVG").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    monkeypatch.setitem(__import__("sys").modules, "cairosvg", None)
    with pytest.raises(ValueError, match=r"1 drawings are .svg files, .*pip install 'tune_sketch\[svg\]'"):
        prepare(root)
    with pytest.raises(ValueError, match=r"drawn.SVG: reading .svg needs cairosvg; install it with"):
        read_picture(root / "cat" / "drawn.SVG", 20, True)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60)


def test_a_phones_photo_names_what_to_install(tmp_path, monkeypatch):
    for module in ("pictures", "formats.images"):
        monkeypatch.setattr(f"tune_sketch.data.{module}.register_heif", lambda: False)
    root = make_image_folder(tmp_path / "set")
    (root / "cat" / "phone.HEIC").write_bytes(HEIC)
    _, left_out = list_pictures(root / "cat")
    assert "1 .heic; to read .heic: pip install 'tune_sketch[heic]'" in left_out_text(left_out)
    (root / "dog" / "renamed.jpg").write_bytes(HEIC)
    with pytest.raises(
        DataError, match=r"renamed.jpg: a HEIC picture, to read which: pip install 'tune_sketch\[heic\]"
    ):
        prepare(root)


def test_a_phones_photo_is_read_where_the_extra_is_there(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    assert register_heif()
    root = make_image_folder(tmp_path / "set")
    for name in ("phone.HEIC", "renamed.jpg"):
        pillow_heif.from_pillow(draw(70, size=(64, 64)).convert("RGB")).save(root / "cat" / name, quality=90)
        with (root / "cat" / name).open("r+b") as file:
            assert file.read(12)[4:8] == b"ftyp"
    (root / "cat" / "renamed.jpg").rename(root / "dog" / "renamed.jpg")
    draw(71, size=(64, 64)).save(root / "dog" / "72.png")
    data = prepare(root, skip_bad_images=True)
    assert "cat/phone.HEIC" in data.names or "cat/phone.HEIC" in {entry["name"] for entry in data.skipped}
    image = read_picture(root / "cat" / "phone.HEIC", 20, True)
    draw(70, size=(64, 64)).save(tmp_path / "plain.png")
    assert np.abs(image.astype(int) - read_picture(tmp_path / "plain.png", 20, True)).max() < 60
