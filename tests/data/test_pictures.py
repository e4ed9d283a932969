"""Every file of a folder is read, or named with its number: by content, at any depth, in training as in predict."""

import os

import pytest
from PIL import Image

from tests.support.drawings import draw, make_image_folder
from tune_sketch.data import DataRequest, open_data, prepare_data
from tune_sketch.data.pictures import FORMATS, is_picture, list_pictures
from tune_sketch.inference.photos import find_pictures, read_picture

SUFFIX_OF = {"tif": "TIFF", "tiff": "TIFF", "gif": "GIF", "jfif": "JPEG", "ppm": "PPM", "pgm": "PPM", "avif": "AVIF"}


def prepare(root, tmp_path, **choices):
    request = DataRequest(str(root), **({"image_px": 20} | choices))
    return open_data(prepare_data(request, cache_dir=tmp_path / "cache"))


@pytest.fixture
def mixed(tmp_path, monkeypatch):
    """Two classes: pictures of many kinds at several depths, among other files."""
    monkeypatch.setattr("tune_sketch.data.pictures.register_heif", lambda: False)  # whether it is installed or not
    root = make_image_folder(tmp_path / "set")
    for number, (suffix, kind) in enumerate(SUFFIX_OF.items(), start=10):
        draw(number).save(root / "cat" / f"{number}.{suffix}", format=kind)
    deep = root / "dog" / "monday" / "morning"
    deep.mkdir(parents=True)
    draw(30).save(deep / "photo.png")
    draw(31).save(root / "dog" / "no_suffix", format="PNG")
    draw(32).save(root / "dog" / "wrong.dat", format="JPEG")
    (root / "dog" / "notes.txt").write_text("drawn on Monday")
    (root / "dog" / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    (root / "cat" / "._0.png").write_bytes(b"resource fork")
    (root / "cat" / "Thumbs.db").write_bytes(b"a system's")
    (root / "readme.md").write_text("about these drawings")
    draw(40).save(root / "beside.png")
    return root


def test_all_that_can_be_read_is_read_and_the_rest_is_counted(mixed, tmp_path, capsys):
    data = prepare(mixed, tmp_path)
    assert {name.rpartition(".")[2] for name in data.names if name.startswith("cat")} == {"png", *SUFFIX_OF}
    assert {"dog/monday/morning/photo.png", "dog/no_suffix", "dog/wrong.dat"} <= set(data.names)
    assert len(data.names) == 8 + len(SUFFIX_OF) + 3
    said = capsys.readouterr().err
    for part in ("1 .heic", "1 .txt", "1 .md", "1 picture beside the class folders", "pip install 'tune_sketch[heic]'"):
        assert part in said
    assert "db" not in said


def test_predict_finds_the_same_files(mixed, tmp_path, capsys):
    data = prepare(mixed, tmp_path)
    found = find_pictures([mixed / "cat", mixed / "dog"])
    assert [str(path.relative_to(mixed)) for path in found] == data.names
    assert "left out" in capsys.readouterr().err
    for path, image in zip(found, data.images, strict=True):
        assert (read_picture(path, 20, True) == image).all(), path


def test_no_format_that_starts_another_program_is_read(tmp_path):
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    assert not {"EPS", "WMF", "MPEG", "FITS"} & set(FORMATS)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n"
    for name in ("drawing.png", "drawing", "drawing.eps"):
        (tmp_path / name).write_bytes(script)
    assert not is_picture(tmp_path / "drawing")
    assert not is_picture(tmp_path / "drawing.eps")
    with pytest.raises(ValueError, match="not an image"):
        read_picture(tmp_path / "drawing.png", 20, True)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/zero", tmp_path / "endless")
    pictures, left_out = list_pictures(tmp_path)
    assert pictures == []
    assert left_out == {"without suffix": 2}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("valid", "test"), "holds test, valid and no folder train: there is nothing to learn from"),
        (("train", "Training", "test"), "Training and train both mean train: keep one of them"),
        (("cat", "dog", "test"), "the folder test beside the class folders, which looks like part of a split"),
    ],
)
def test_the_parts_of_a_split_are_not_taken_for_classes(tmp_path, folders, message):
    for name in folders:
        make_image_folder(tmp_path / "set" / name)
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path / "set", tmp_path)


def test_a_class_may_be_called_test_where_it_is_asked_for(tmp_path):
    root = make_image_folder(tmp_path / "set", classes=("cat", "test"))
    with pytest.raises(ValueError, match="looks like part of a split"):
        prepare(root, tmp_path)
    assert prepare(root, tmp_path, classes=("cat", "test")).class_names == ["cat", "test"]


def test_levels_above_the_classes_are_named(tmp_path):
    for name in ("photo", "sketch"):
        make_image_folder(tmp_path / "set" / name, classes=("cat", "dog", "owl"))
    with pytest.raises(ValueError, match=r"photo, sketch each hold folders of the same names \(cat, dog, owl\)"):
        prepare(tmp_path / "set", tmp_path)
    assert prepare(tmp_path / "set" / "sketch", tmp_path).class_names == ["cat", "dog", "owl"]
    many = tmp_path / "many"  # classes whose drawings lie in folders by day
    for offset, name in enumerate(("ant", "bee", "cow")):
        for day in ("monday", "tuesday"):
            (many / name / day).mkdir(parents=True)
            for number in range(2):
                draw(100 * offset + 10 * len(day) + number).save(many / name / day / f"{number}.png")
    assert prepare(many, tmp_path).class_names == ["ant", "bee", "cow"]


def test_a_picture_of_many_frames_is_its_first(tmp_path):
    root = make_image_folder(tmp_path / "set")
    first, second = draw(50), draw(51)
    first.save(root / "cat" / "moving.gif", save_all=True, append_images=[second])
    first.save(root / "dog" / "pages.tif", save_all=True, append_images=[second])
    with Image.open(root / "cat" / "moving.gif") as moving:
        assert moving.n_frames == 2
    expected = read_picture(first, 20, True)
    assert (read_picture(root / "cat" / "moving.gif", 20, True) == expected).all()
    assert (read_picture(root / "dog" / "pages.tif", 20, True) == expected).all()
