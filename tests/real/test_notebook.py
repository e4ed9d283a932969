"""A search from a notebook: its cells show the progress while it runs, and its tables afterwards."""

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.real

SEARCH = """
from tune_sketch import Settings, open_run, search

run = search(
    Settings(model="baseline", classes=3, per_class=16, image_px=32, num_samples=3, max_epochs=3,
             finalists=1, retraining_seeds=1),
    name="first",
)
run.finalists
"""
LOOK = """
trials = open_run("runs/first").trials
labels, probabilities = run.classifier.predict([picture])
len(trials), labels, probabilities.shape
"""
PICTURE = """
from PIL import Image

picture = Image.new("L", (64, 64), 255)
picture.paste(0, (20, 10, 24, 50))
"""


def outputs_of(cell, kind):
    return [output for output in cell.outputs if output.output_type == kind]


def test_a_search_in_a_notebook_shows_its_progress_and_its_tables(tmp_path):
    """In a kernel an event loop runs in the main thread and the screen is no terminal."""
    cells = [nbformat.v4.new_code_cell(source) for source in (SEARCH, PICTURE, LOOK)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=250, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()  # raises for a cell that fails

    searched, _, looked = notebook.cells
    printed = "".join(output.text for output in outputs_of(searched, "stream"))
    for number in range(3):
        assert f"trial {number}  " in printed
    assert "are not caught" not in printed  # signals: a cell runs in the main thread of its kernel
    assert "retraining 2 finalists" in printed
    assert "\x1b" not in printed
    (table,) = outputs_of(searched, "execute_result")
    assert "is_chosen</th>" in table.data["text/html"]  # a DataFrame as a table
    (result,) = outputs_of(looked, "execute_result")
    assert result.data["text/plain"].startswith("(3, [")
    assert (tmp_path / "runs" / "first" / "report.html").is_file()
