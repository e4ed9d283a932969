"""Draws the same two things in every form that people's files have: scans, photos, chalk, transparent paper."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 96


def draw(number: int, ink=0, paper=255, width=3, mode="L") -> Image.Image:
    """A cross or an ellipse, in a place of its own."""
    picture = Image.new(mode, (SIDE, SIDE), paper)
    pen, x, y = ImageDraw.Draw(picture), 12 + number % 7, 14 + number % 5
    if number % 2:
        pen.ellipse((x, y, 70 + x // 2, 74), outline=ink, width=width)
    else:
        pen.line((x, y, 78, 80), fill=ink, width=width)
        pen.line((x, 80, 78, y), fill=ink, width=width)
    return picture


def photo(number: int, shade: int = 70) -> Image.Image:
    """The drawing on grey paper, in uneven light, with the camera's grain."""
    random = np.random.default_rng(number)
    light = 205 - shade * np.linspace(0, 1, SIDE)[None, :]
    grey = np.asarray(draw(number, width=2), float) / 255 * light + random.normal(0, 3, (SIDE, SIDE))
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


def on_transparent(number: int, ink: int) -> Image.Image:
    """Ink of one shade on transparent paper."""
    alpha = 255 - np.asarray(draw(number))
    return Image.merge("LA", (Image.new("L", (SIDE, SIDE), ink), Image.fromarray(alpha)))


FORMS = {
    "clean.png": lambda n: draw(n),
    "light_on_dark.png": lambda n: draw(n, ink=255, paper=0),
    "pencil.png": lambda n: draw(n, ink=195),
    "faint_chalk.png": lambda n: draw(n, ink=90, paper=0),
    "scan.png": lambda n: photo(n, shade=0),
    "photo.jpg": photo,
    "board.png": lambda n: Image.eval(photo(n), lambda value: 255 - value),
    "dark_on_transparent.png": lambda n: on_transparent(n, 0),
    "light_on_transparent.png": lambda n: on_transparent(n, 255),
    "colour.png": lambda n: draw(n, ink=(20, 60, 160), paper=(255, 255, 255), mode="RGB"),
    "palette.png": lambda n: draw(n).convert("P"),
    "bilevel.png": lambda n: draw(n).convert("1"),
    "deep.png": lambda n: Image.fromarray(np.asarray(draw(n)).astype(np.uint16) * 257),
    "wide.png": lambda n: draw(n).resize((200, 60)),
    "soft.webp": lambda n: draw(n).filter(ImageFilter.GaussianBlur(1)),
}


def make_every_form(root: Path, per_form: int = 4) -> Path:
    """Two classes, cross and ellipse, each with per_form drawings of every form."""
    for kind, name in enumerate(("cross", "ellipse")):
        (root / name).mkdir(parents=True)
        for number in range(per_form):
            for form, make in FORMS.items():
                make(2 * number + kind).save(root / name / f"{number}-{form}")
    return root
