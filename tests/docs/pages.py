"""Reads README and docs/: their code blocks, inline code, headings and links."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "clusters/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """A fenced block. `words` are those after the three backticks: the language, then markers such as "real"."""

    page: Path
    line: int  # of its first line of code, from 1
    words: tuple[str, ...]
    text: str

    @property
    def name(self) -> str:
        return f"{page_name(self.page)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, match.start()) + 2, tuple(match["info"].split()), match["text"])
        for match in FENCE.finditer(text)
    ]


def code_of(page: Path) -> list[str]:
    """Lines of blocks without a language, and inline code: where commands and flags are named."""
    lines = [line for block in blocks_of(page) if not block.words for line in block.text.splitlines()]
    prose = FENCE.sub("", page.read_text())
    return lines + [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def links_of(page: Path) -> list[str]:
    """Targets of links, but those to other sites."""
    targets = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text()))
    return [target for target in targets if "://" not in target]


def anchors_of(page: Path) -> set[str]:
    """The anchors that a code host makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
