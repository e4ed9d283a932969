"""Finds a class or a group in the names of drawings by a regular expression."""

import re


def read_pattern(flag: str, text: str) -> re.Pattern[str]:
    """The compiled expression. Raises ValueError when it is none, or has no group in parentheses."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"{flag} must be a regular expression, got {text!r}: {error}") from error
    if not pattern.groups:
        raise ValueError(
            f"{flag} must be a regular expression with parentheses around what it is to find, such as '(.+)_', "
            + ("or a column of the table of drawings, " if flag == "--group-by" else "")
            + f"got {text!r}"
        )
    return pattern


def search_name(pattern: re.Pattern[str], name: str) -> str:
    """The first group's match, or nothing. An expression with a / is searched in the whole path below the data,
    any other one in the file's name."""
    match = pattern.search(name if "/" in pattern.pattern else name.rpartition("/")[2])
    return (match[1] or "") if match else ""
