"""Checks and lists names of timm's networks, and of the weights that are published for each."""

import difflib

import timm

PREFIX = "timm:"
SUGGESTED = 5  # names in an error message


def check_name(name: str) -> None:
    """ValueError with names that are near, unless timm has the network, and the weights that a tag names."""
    own = name.removeprefix(PREFIX)
    architecture, _, tag = own.partition(".")
    if not timm.is_model(architecture):
        known = timm.list_models()
        near = difflib.get_close_matches(architecture, known, SUGGESTED, cutoff=0.5)
        near = near or [other for other in known if architecture in other][:SUGGESTED]
        hint = f"; near: {', '.join(PREFIX + other for other in near)}" if near else ""
        raise ValueError(
            f"timm {timm.__version__} has no network {own!r}{hint}. "
            f"'{PREFIX}?PATTERN' lists, as '{PREFIX}?{architecture.split('_')[0]}'"
        )
    tags = tags_of(architecture)
    if tag and tag not in tags:
        raise ValueError(f"{PREFIX}{architecture} has no weights {tag!r}; known: {', '.join(tags) or 'none'}")


def tags_of(architecture: str) -> list[str]:
    """The names of the weights that are published for a network, timm's default first."""
    names = timm.list_pretrained(f"{architecture}.*")
    default = timm.get_pretrained_cfg(architecture)
    tags = [name.partition(".")[2] for name in names if name.partition(".")[0] == architecture]
    return sorted(tags, key=lambda tag: default is None or tag != default.tag)


def list_networks(pattern: str) -> list[str]:
    """A line for each network whose name holds the pattern or fits it (*, ?, [..]), with the weights that exist.

    ValueError where there is none.
    """
    wildcards = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    names = timm.list_models(wildcards)
    if not names:
        check_name(PREFIX + pattern)  # names those that are near
        raise ValueError(f"no network of timm {timm.__version__} fits {pattern!r}")
    width = max(map(len, names))
    return [f"{PREFIX}{name:<{width}}  {', '.join(tags_of(name)) or 'no weights'}" for name in names]
