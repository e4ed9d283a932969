"""The documentation as a static site: it is built without a warning, fetches nothing, and opens from disk."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("material", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    answer = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return folder


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    for page in (ROOT / "docs").glob("*.md"):
        assert f": docs/{page.name}\n" in navigation


@pytest.mark.parametrize(
    ("page", "picture"),
    [*(("README.md", name) for name in ("report", "tensorboard", "draw")), ("docs/take-along.md", "phone")],
)
def test_small_pictures_are_shown_with_their_content_in_words(page, picture):
    file = ROOT / "docs" / "pictures" / f"{picture}.webp"
    assert file.stat().st_size < 150_000
    (words,) = re.findall(rf"!\[([^\]]+)\]\((?:docs/)?pictures/{picture}\.webp\)", (ROOT / page).read_text())
    assert len(words) > 40


def test_every_page_is_there(site):
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / "docs" / page.with_suffix(".html").name).is_file()
    assert (site / "index.html").is_file()
    assert (site / "benchmarks" / "results" / "limit-cpu.html").is_file()


def test_no_page_fetches_anything_from_elsewhere(site):
    loaded = re.compile(r"<(?:script|img|link)\b[^>]*?\b(?:src|href)=\"?([^\"\s>]+)", re.IGNORECASE)
    for page in site.rglob("*.html"):
        targets = loaded.findall(page.read_text())
        assert not [target for target in targets if "//" in target], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text()), style


def test_every_link_and_picture_leads_to_a_file(site):
    num_links = 0
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # for servers: its links begin at their root
            continue
        for target in re.findall(r"\b(?:src|href)=\"?([^\"\s>]+)", page.read_text()):
            path = target.partition("#")[0].partition("?")[0]
            if path and not re.match(r"[a-z]+:|//", path):
                assert (page.parent / path).is_file(), f"{page.relative_to(site)} links to {target}"
                num_links += 1
    assert num_links > 1000
