"""A hook of MkDocs: the site has the folders of the repository, so that every link of README and docs/ holds in it."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "clusters/README.md"),
    *("docs/*.md", "docs/pictures/*", "benchmarks/results/*.md", "benchmarks/results/*.csv"),
)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's own files, and in place of those of docs/ all sources, by their paths in the repository."""
    kept = [file for file in files if file.src_dir != config.docs_dir]
    paths = [path for pattern in SOURCES for path in sorted(ROOT.glob(pattern))]
    added = [File(str(path.relative_to(ROOT)), str(ROOT), config.site_dir, False) for path in paths]
    return Files([*kept, *added])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with links to what is not in the site, such as source code, as plain text: they work in the checkout."""
    known = set(files.src_uris)

    def keep_or_unlink(match: re.Match[str]) -> str:
        text, target, _ = match.groups()
        if "://" in target or resolve(page.file.src_uri, target) in known:
            return match[0]
        return text if (ROOT / resolve(page.file.src_uri, target)).exists() else match[0]  # MkDocs warns of the others

    parts: Sequence[str] = CODE.split(markdown)  # text and code by turns
    return "".join(part if number % 2 else LINK.sub(keep_or_unlink, part) for number, part in enumerate(parts))


def resolve(page: str, target: str) -> str:
    """A link's target by its path in the repository."""
    return os.path.normpath(os.path.join(os.path.dirname(page), target))
