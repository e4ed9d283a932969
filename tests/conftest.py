"""A search that several tests compare with theirs."""

from types import SimpleNamespace

import pytest

from tests.real_search import Search

# One trial at a time: then the order of results is fixed, and with it everything that a search records.
FLAGS = "--num-samples 10 --max-epochs 9 --confirm-top 1 --max-concurrent 1"


@pytest.fixture(scope="session")
def straight(tmp_path_factory):
    """A finished search that nothing disturbed: its run directory, to be read only, and its flags."""
    search = Search(tmp_path_factory.mktemp("straight"), {})
    try:
        search.finish(search.start(*FLAGS.split()))
    finally:
        search.close()
    return SimpleNamespace(run=search.run, flags=FLAGS)
