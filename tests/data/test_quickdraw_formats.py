"""The formats of Quick, Draw! give the same pixels, and what is damaged in any way is named and never run."""

import json
import pickle
import random
import struct
import zipfile

import numpy as np
import pytest

from tests.support.drawings import draw, make_image_folder
from tests.support.quickdraw_files import WRITERS, polylines, to_offsets, write_bin, write_csv, write_ndjson, write_npz
from tune_sketch.config.plan import plan_lines, prepare_inputs
from tune_sketch.config.settings import Settings
from tune_sketch.data import DataError, DataRequest, open_data, prepare_data
from tune_sketch.data.formats.base import DecodeSettings, Drawing
from tune_sketch.data.formats.registry import DRAWING_FORMATS, decode_drawing
from tune_sketch.data.pixels import BadDrawingError

FORMATS = {"ndjson": "strokes", "csv": "kaggle", "bin": "binary", "npz": "sketch-rnn"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNE_SKETCH_CACHE", str(tmp_path / "cache"))


def prepare(root, image_px=32, **choices):
    return open_data(prepare_data(DataRequest(str(root), image_px, **choices), progress=False))


def make_folder(root, suffix, words=("cat", "ice cream"), count=6, name="{word}"):
    root.mkdir(exist_ok=True)
    for offset, word in enumerate(words):
        drawings = [polylines(7 * number + 3 * offset) for number in range(count)]
        WRITERS[suffix](root / f"{name.format(word=word)}.{suffix}", word, drawings)
    return root


@pytest.mark.parametrize("suffix", ["csv", "bin", "npz"])
def test_every_format_gives_the_pixels_of_the_first(tmp_path, suffix):
    expected = prepare(make_folder(tmp_path / "ndjson", "ndjson"))
    data = prepare(make_folder(tmp_path / suffix, suffix))
    assert data.class_names == expected.class_names == ["cat", "ice cream"]
    assert (data.labels == expected.labels).all()
    assert np.array_equal(data.images, expected.images)
    first = {"csv": "cat.csv:1", "bin": "cat.bin:1", "npz": "cat.npz:train:1"}[suffix]
    assert data.names[0] == first
    assert len(prepare(tmp_path / suffix, per_class=4).names) == 8


def test_the_parts_of_a_sketch_rnn_file_are_all_read(tmp_path):
    data = prepare(make_folder(tmp_path / "set", "npz", words=("cat", "dog")))
    assert data.names[3:6] == ["cat.npz:train:4", "cat.npz:valid:1", "cat.npz:test:1"]
    settings = Settings("baseline", data=str(tmp_path / "set"), image_px=32)
    inputs = prepare_inputs(settings)
    assert [inputs.data.names[index] for index in inputs.splits.test] == ["cat.npz:test:1", "dog.npz:test:1"]
    assert [inputs.data.names[index] for index in inputs.splits.validation] == ["cat.npz:valid:1", "dog.npz:valid:1"]
    assert "splits    8 train, 2 validation, 2 test (parts of the class files)" in plan_lines(settings, inputs)
    np.savez(tmp_path / "set" / "owl.npz", train=np.stack([to_offsets(polylines(50 + number)) for number in range(6)]))
    said = " ".join(plan_lines(settings, prepare_inputs(settings)))
    assert "1 class has no drawings in test: owl" in said
    pooled = prepare_inputs(Settings("baseline", data=str(tmp_path / "set"), image_px=32, split_by="file"))
    assert pooled.splits.origin.startswith("standard, ")


def test_sketch_rnn_files_that_python_2_wrote_and_arrays_of_equal_lengths(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    drawings = [to_offsets(polylines(number)) for number in range(5)]
    objects = np.empty(5, object)
    objects[:] = drawings
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (5,), }"
    header = header.ljust(127) + b"\n"
    old = pickle.dumps(objects, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    with zipfile.ZipFile(root / "cat.npz", "w") as archive:
        archive.writestr("train.npy", header + old)
    np.savez(root / "dog.npz", train=np.stack([to_offsets(polylines(100 + number)) for number in range(5)]))
    data = prepare(root)
    assert np.bincount(data.labels).tolist() == [5, 5]
    write_ndjson(tmp_path / "cat.ndjson", "cat", [polylines(number) for number in range(5)])
    assert np.array_equal(data.images[:5], [decode("strokes", tmp_path / "cat.ndjson", n) for n in range(5)])


def decode(name, path, number, class_name="cat"):
    drawings = list(DRAWING_FORMATS[name].list(path.name, str(path), class_name, None))
    return decode_drawing(drawings[number], DecodeSettings(32, True, None, 0)).square


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_is_never_run(tmp_path):
    root = make_folder(tmp_path / "set", "npz")
    evil = np.empty(2, object)
    evil[:] = [to_offsets(polylines(1)), Bomb(tmp_path / "ran")]
    np.savez(root / "evil.npz", train=evil)
    with pytest.raises(DataError, match=r"evil.npz: unreadable: refused: it asks for .*open, which no drawing needs"):
        prepare(root)
    assert not (tmp_path / "ran").exists()
    assert prepare(root, skip_bad_images=True).class_names == ["cat", "ice cream"]


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"other": np.zeros(3)}, "has none of the arrays train, valid, test, but other"),
        ({"train": np.zeros((4, 784), np.uint8)}, r"must hold drawings \[num_points, 3\], holds uint8 \[4, 784\]"),
        ({"train": np.zeros((2, 4, 5))}, r"each drawing must be an array \[num_points, 3\], got \[4, 5\]"),
        ({"train": np.array([None, "text", 3], object)}, "each drawing must be an array"),
    ],
)
def test_other_npz_files_are_named(tmp_path, arrays, reason):
    root = make_folder(tmp_path / "set", "npz")
    np.savez(root / "other.npz", **arrays)
    with pytest.raises(DataError, match=f"other.npz: unreadable: {reason}"):
        prepare(root)


def test_a_huge_array_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("tune_sketch.data.formats.sketch_rnn.MAX_ARRAY_BYTES", 10_000)
    root = make_folder(tmp_path / "set", "npz")
    np.savez_compressed(root / "huge.npz", train=np.zeros((1_000, 100, 3), np.int16))
    with pytest.raises(DataError, match=r"huge.npz: unreadable: its array train has 600,128 bytes, more than 10,000"):
        prepare(root)


@pytest.mark.parametrize("suffix", ["ndjson", "csv"])
@pytest.mark.parametrize("name", ["ice_cream", "Ice-Cream", "full_simplified_ice cream"])
def test_the_class_is_the_word_however_the_file_writes_it(tmp_path, suffix, name):
    root = make_folder(tmp_path / "set", suffix, words=("cat",))
    make_folder(root, suffix, words=("ice cream",), name=name)
    assert prepare(root).class_names == ["cat", "ice cream"]


def test_two_files_of_one_word_are_one_class(tmp_path):
    root = make_folder(tmp_path / "set", "ndjson", words=("cat", "dog"))
    write_ndjson(root / "full_simplified_cat.ndjson", "cat", [polylines(n) for n in range(150, 153)])
    data = prepare(root)
    assert np.bincount(data.labels).tolist() == [9, 6]


@pytest.mark.parametrize("suffix", ["ndjson", "csv"])
def test_a_file_of_another_word_is_one_message(tmp_path, suffix):
    root = make_folder(tmp_path / "set", suffix, words=("cat", "dog"))
    drawings = [polylines(number) for number in range(40)]
    WRITERS[suffix](root / f"owl.{suffix}", "hawk", drawings)
    with pytest.raises(DataError) as caught:
        prepare(root)
    text = str(caught.value)
    assert text.count(f"owl.{suffix}:") == 1
    assert f"owl.{suffix}:1: its word is 'hawk', its file is of 'owl' (the same of 39 more)" in text
    assert len(caught.value.problems) == 41, "each drawing, and the class that has none left"
    data = prepare(root, skip_bad_images=True)
    assert len(data.skipped) == 41


def test_hidden_files_and_other_csv_files_are_no_classes(tmp_path, capsys):
    root = make_folder(tmp_path / "set", "csv", words=("cat", "dog"))
    (root / "._cat.csv").write_bytes(b"\0\5\26\7 resource fork")
    (root / "notes.csv").write_text("name,remark\na,b\n")
    (root / "empty.csv").write_text("")
    (root / "latin.csv").write_bytes(b"drawing;w\xf6rd\n")
    request = DataRequest(str(root), 32)
    assert open_data(prepare_data(request)).class_names == ["cat", "dog"]
    assert "3 .csv" in capsys.readouterr().err
    hidden = make_folder(tmp_path / "hidden", "ndjson", words=("cat", "dog"))
    (hidden / "._cat.ndjson").write_bytes(b"\0\5\26\7")
    assert prepare(hidden).class_names == ["cat", "dog"]


def test_of_several_formats_the_one_with_most_files_is_read_and_the_others_are_named(tmp_path, capsys):
    root = make_folder(tmp_path / "set", "bin", words=("cat", "dog", "owl"))
    make_folder(root, "ndjson", words=("cat",))
    assert open_data(prepare_data(DataRequest(str(root), 32))).class_names == ["cat", "dog", "owl"]
    assert "1 .ndjson" in capsys.readouterr().err


def test_stray_arrays_do_not_take_over_a_folder_of_pictures(tmp_path, capsys):
    root = make_image_folder(tmp_path / "set")
    np.save(root / "labels.npy", np.arange(8))
    np.save(root / "mean.npy", np.zeros((28, 28), np.float32))
    np.savez(root / "stats.npz", train=np.zeros(3))
    (root / "model.bin").write_bytes(bytes(100))
    assert open_data(prepare_data(DataRequest(str(root), 32))).class_names == ["cat", "dog"]
    said = capsys.readouterr().err
    for part in ("2 .npy", "1 .npz", "1 .bin"):
        assert part in said
    np.save(root / "all.npy", np.zeros((8, 784), np.uint8))  # one that could be drawings of a class
    assert prepare(root).class_names == ["cat", "dog"]


def test_a_folder_of_samples_beside_the_files_takes_nothing_over(tmp_path, capsys):
    root = make_folder(tmp_path / "set", "ndjson", words=("cat", "dog"))
    (root / "samples").mkdir()
    for number in range(3):
        draw(number).save(root / "samples" / f"{number}.png")
    assert open_data(prepare_data(DataRequest(str(root), 32))).class_names == ["cat", "dog"]
    assert "3 pictures in folders beside the class files" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["npy", "npz", "bin"])
def test_a_file_of_zero_bytes_is_named(tmp_path, suffix):
    root = tmp_path / "set"
    root.mkdir()
    for offset, word in enumerate(("cat", "dog")):
        if suffix == "npy":
            rows = [255 - np.asarray(draw(number + 6 * offset, size=(28, 28))) for number in range(6)]
            np.save(root / f"{word}.npy", np.stack(rows).reshape(6, 784))
        else:
            WRITERS[suffix](root / f"{word}.{suffix}", word, [polylines(n + 10 * offset) for n in range(6)])
    (root / f"owl.{suffix}").write_bytes(b"")
    with pytest.raises(DataError, match=rf"owl.{suffix}: unreadable: "):
        prepare(root)
    assert prepare(root, skip_bad_images=True).class_names == ["cat", "dog"]


def test_what_comes_before_the_end_of_a_cut_file_is_read(tmp_path):
    root = make_folder(tmp_path / "set", "bin", words=("cat", "dog"))
    path = root / "cat.bin"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"cat.bin: unreadable: the drawing that begins at byte [\d,]+ is cut off"):
        prepare(root)
    data = prepare(root, skip_bad_images=True)
    assert np.bincount(data.labels).tolist() == [5, 6]


@pytest.mark.parametrize(
    "drawing",
    [
        *("[[[0, 1e309], [1, 2]]]", "[[[0, 1e200], [1, -1e200]]]", f"[[[0, 1{'0' * 400}], [1, 2]]]", "[" * 100_000),
        *("[[[0, NaN], [1, 2]]]", '[[["a"], [1]]]', "{}", "7", '"text"', "null", "[[[]]]", "[[[1, 2], [3]]]", "[]"),
        *("[[{}, {}]]", "[[[[1]], [[2]]], 5]", "[[null, null]]", f"[[[1{'0' * 5000}], [1]]]"),
    ],
)
def test_impossible_drawings_are_bad_drawings(tmp_path, drawing):
    line = f'{{"word": "cat", "drawing": {drawing}}}'
    (tmp_path / "cat.ndjson").write_text(line + "\n")
    cell = drawing.replace('"', '""')
    (tmp_path / "cat.csv").write_text(f'word,drawing\ncat,"{cell}"\n')
    for name in ("cat.ndjson", "cat.csv"):
        with pytest.raises(BadDrawingError) as caught:
            decode(FORMATS[name.rpartition(".")[2]], tmp_path / name, 0)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("line", ["[]", "7", '"cat"', "null", '{"word": {"a": 1}, "drawing": []}', '{"drawing": 1'])
def test_lines_that_are_no_drawings_are_bad_drawings(tmp_path, line):
    (tmp_path / "cat.ndjson").write_text(line + "\n")
    with pytest.raises(BadDrawingError):
        decode("strokes", tmp_path / "cat.ndjson", 0)


def test_offsets_that_are_no_numbers_are_bad_drawings(tmp_path):
    for value in (np.nan, np.inf, 1e300):
        np.savez(tmp_path / f"{value}.npz", train=np.array([[[value, 1, 0], [value, 2, 1]]], float))
        with pytest.raises(BadDrawingError):
            decode("sketch-rnn", tmp_path / f"{value}.npz", 0)


@pytest.mark.parametrize("suffix", FORMATS)
def test_any_damage_is_named(tmp_path, suffix):
    """Bytes that are cut, replaced, spliced and repeated: every file is read, refused, or has bad drawings."""
    WRITERS[suffix](tmp_path / f"good.{suffix}", "cat", [polylines(number) for number in range(6)])
    content = (tmp_path / f"good.{suffix}").read_bytes()
    chance, known = random.Random(5), DRAWING_FORMATS[FORMATS[suffix]]
    outcomes = set()
    for trial in range(250):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            at, length = chance.randrange(len(content)), chance.randint(1, 30)
            kind = chance.randrange(5)
            if kind == 0:
                del damaged[at:]
            elif kind == 1:
                damaged[at : at + 1] = bytes([chance.randrange(256)])
            elif kind == 2:
                damaged[at : at + length] = damaged[:length]
            elif kind == 3:
                damaged[at:at] = chance.choice([b"\0" * length, b"\xff" * length, b"[" * length, b"9" * 400, b"-1"])
            else:
                damaged += content[at:]
        path = tmp_path / f"{trial}.{suffix}"
        path.write_bytes(bytes(damaged))
        try:
            if not known.is_class_file(path):
                outcomes.add("left out")
                continue
            assert isinstance(known.word_of(path), str)
            drawings = list(known.list(path.name, str(path), "cat", 50))
        except (OSError, ValueError):
            outcomes.add("refused")
            continue
        for drawing in drawings:
            try:
                decode_drawing(drawing, DecodeSettings(16, True, None, 0))
                outcomes.add("read")
            except BadDrawingError:
                outcomes.add("bad")
    assert {"read", "refused"} <= outcomes or suffix in ("ndjson", "csv")


def test_negative_and_absurd_counts_in_a_binary_file(tmp_path):
    head = struct.pack("<Q2sbIH", 1, b"US", 1, 0, 65_535)
    (tmp_path / "cat.bin").write_bytes(head + struct.pack("<H", 65_535) * 10)
    with pytest.raises(ValueError, match="is cut off"):
        list(DRAWING_FORMATS["binary"].list("cat.bin", str(tmp_path / "cat.bin"), "cat", None))
    (tmp_path / "cat.bin").write_bytes(struct.pack("<Q2sbIH", 1, b"\0\1", 9, 0, 0) * 4)
    with pytest.raises(ValueError, match="byte 0 is no drawing of the binary format"):
        list(DRAWING_FORMATS["binary"].list("cat.bin", str(tmp_path / "cat.bin"), "cat", None))
    (tmp_path / "cat.bin").write_bytes(struct.pack("<Q2sbIH", 1, b"US", 0, 0, 0))
    with pytest.raises(BadDrawingError, match="blank"):
        decode("binary", tmp_path / "cat.bin", 0)


def test_a_csv_with_another_order_a_mark_and_rows_over_several_lines(tmp_path):
    drawing = json.dumps([list(zip(*line, strict=True)) for line in polylines(3)]).replace("], [", "],\n [")
    text = f'\ufeffword,key_id,drawing\r\ncat,1,"{drawing}"\r\n\r\ncat,2,"{drawing}"\r\nshort\r\n'
    (tmp_path / "cat.csv").write_text(text, encoding="utf-8", newline="")
    write_csv(tmp_path / "other.csv", "cat", [polylines(3)])
    expected = decode("kaggle", tmp_path / "other.csv", 0)
    assert np.array_equal(decode("kaggle", tmp_path / "cat.csv", 0), expected)
    assert np.array_equal(decode("kaggle", tmp_path / "cat.csv", 1), expected)
    with pytest.raises(BadDrawingError, match="not a row of drawing, word"):
        decode("kaggle", tmp_path / "cat.csv", 2)


def test_a_file_that_shrinks_between_listing_and_reading_is_a_bad_drawing(tmp_path):
    for suffix, write in (("bin", write_bin), ("npz", write_npz)):
        path = tmp_path / f"cat.{suffix}"
        write(path, "cat", [polylines(number) for number in range(6)])
        drawing = Drawing(f"cat.{suffix}:9", "cat", FORMATS[suffix], str(path), 10**6)
        with pytest.raises(BadDrawingError, match="the file has changed meanwhile"):
            decode_drawing(drawing, DecodeSettings(16, True, None, 0))
