"""Every heading of the page of troubles is a message that the program prints."""

import ast
import re
from functools import cache

import pytest

from tests.docs.pages import ROOT
from tests.support.packages import FILES

PAGE = ROOT / "docs" / "troubleshooting.md"
GAP = "\0"  # stands for what a message puts in
HEADINGS = re.findall(r"^### (.+)$", PAGE.read_text(), re.MULTILINE)


@cache
def texts_of_the_code() -> tuple[str, ...]:
    """Every string, with a gap for each inserted value."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(value=str(text)):
                    found.append(text)
                case ast.JoinedStr(values=parts):
                    found.append("".join(str(p.value) if isinstance(p, ast.Constant) else GAP for p in parts))
    return tuple(" ".join(text.split()) for text in found)


def is_printed(message: str) -> bool:
    """Whether one string of the code has the message's fixed parts, each whole and in their order."""
    wanted = ".*".join(re.escape(part.strip(" ")) for part in message.split("..."))
    return any(re.search(wanted, text) for text in texts_of_the_code())


@pytest.mark.parametrize("heading", HEADINGS)
def test_each_heading_is_a_message_of_the_program(heading):
    assert heading.startswith("`"), "messages are written as code"
    message = heading.strip("`")
    fixed = [part.strip() for part in message.split("...")]
    assert max(map(len, fixed)) >= 12, "enough fixed words to look for"
    assert is_printed(message), f"no string of the code is: {message}"


def test_a_message_that_nobody_prints_is_found_out():
    assert not is_printed("the flux capacitor ... is empty")
    assert not is_printed("cannot be given with --resume: ... it comes from somewhere else")


def test_there_are_messages_on_the_page():
    assert len(HEADINGS) >= 25
    assert len(set(HEADINGS)) == len(HEADINGS)
