"""A search from a notebook: its cells show the progress while it runs, and its tables afterwards."""

import re
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.real, pytest.mark.parallel, pytest.mark.timeout(600)]

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_search.ipynb"


class Watched(NotebookClient):
    """Notes when each line of the kernel arrives: {cell: [(seconds, text), ...]}, and when the cell has ended."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.arrived, self.ended = {}, {}

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream":
            self.arrived.setdefault(cell_index, []).append((time.monotonic(), msg["content"]["text"]))
        if msg["msg_type"] == "status" and msg["content"]["execution_state"] == "idle":
            self.ended[cell_index] = time.monotonic()
        return super().process_message(msg, cell, cell_index)


def outputs_of(cell, kind):
    return [output for output in cell.outputs if output.output_type == kind]


def test_a_search_in_a_notebook_shows_its_progress_and_its_tables(tmp_path):
    """In a kernel an event loop runs in the main thread and the screen is no terminal."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = Watched(notebook, timeout=250, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()  # raises for a cell that fails

    searched, finalists, trials, recognised = (cell for cell in notebook.cells if cell.cell_type == "code")
    printed = "".join(output.text for output in outputs_of(searched, "stream"))
    for number in range(3):
        assert f"trial {number}  " in printed
    place = notebook.cells.index(searched)
    first, *_, last = (at for at, text in client.arrived[place] for _ in re.findall(r"trial \d+  ", text))
    (retraining,) = (at for at, text in client.arrived[place] if "retraining 3 finalists" in text)
    assert first < last, "each line when its trial ends, not all together"
    assert first < retraining < client.ended[place] - 1, "long before the cell's end"
    assert "are not caught" not in printed  # signals: a cell runs in the main thread of its kernel
    assert "retraining 3 finalists" in printed
    assert "\x1b" not in printed
    (table,) = outputs_of(finalists, "execute_result")
    assert "is_chosen</th>" in table.data["text/html"]  # a DataFrame as a table
    (table,) = outputs_of(trials, "execute_result")
    assert table.data["text/html"].count("<tr>") == 3
    (result,) = outputs_of(recognised, "execute_result")
    assert result.data["text/plain"].startswith("(3, [")
    assert (tmp_path / "runs" / "first" / "report.html").is_file()


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
