"""Files are replaced whole or not at all, and read back as they were written."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_sketch.storage.files import read_csv, to_json_text, write_csv, write_json, write_text


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    write_csv(path, ["a", "b"], [{"a": 1}, {"a": 2, "b": 'x,"y"\n'}])
    assert path.read_text() == 'a,b\n1,\n2,"x,""y""\n"\n'
    assert read_csv(path) == [{"a": "1", "b": ""}, {"a": "2", "b": 'x,"y"\n'}]

    def rows():
        yield {"a": 3}
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_csv(path, ["a"], rows())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_json(path, {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": float("nan")})
    assert path.read_text().startswith("a,b\n1,")
    assert os.listdir(tmp_path) == ["table.csv"], "nothing is left that takes space"


def test_a_column_that_is_not_named_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="fieldnames"):
        write_csv(tmp_path / "table.csv", ["a"], [{"a": 1, "b": 2}])
    assert list(tmp_path.iterdir()) == []


def test_the_same_value_gives_the_same_text():
    assert to_json_text({"b": (1, 2), "a": None}) == to_json_text({"a": None, "b": [1, 2]})
    assert to_json_text({}).endswith("\n")


@settings(max_examples=50, deadline=None)
@given(st.text().filter(lambda text: "\r" not in text), st.floats(allow_nan=False, allow_infinity=False))
def test_text_and_numbers_are_read_back_exactly(tmp_path_factory, text, number):
    folder = tmp_path_factory.getbasetemp()
    text = text.encode("utf-8", "ignore").decode()
    write_text(folder / "text.txt", text)
    assert (folder / "text.txt").read_bytes().decode() == text
    write_json(folder / "value.json", {"text": text, "number": number})
    assert json.loads((folder / "value.json").read_text()) == {"text": text, "number": number}
    write_csv(folder / "table.csv", ["number"], [{"number": number}])
    assert float(read_csv(folder / "table.csv")[0]["number"]) == number
