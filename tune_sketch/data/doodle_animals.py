"""Draws the animals among the doodles."""

import numpy as np

from tune_sketch.data.doodle_shapes import Strokes, arc, curve, eye, is_chosen, line


def cat(rng: np.random.Generator) -> Strokes:
    height, ear, spread = rng.uniform([0.6, 0.3, 0.25], [0.78, 0.5, 0.4])
    strokes = [arc(0, 0.15, 0.75, height)]
    for side in (-1, 1):
        tip = (side * 0.68, -0.3 - height * 0.6 - ear / 2)
        strokes.append(line((side * 0.66, -0.15), tip, (side * 0.2, 0.12 - height * 0.95)))
        strokes.append(eye(rng, side * spread, 0, 0.09))
        if is_chosen(rng, 0.8):
            tilt = rng.uniform(-0.1, 0.15)
            for y in (0.22, 0.32, 0.42)[: int(rng.integers(2, 4))]:
                strokes.append(line((side * 0.25, y), (side * 0.95, y + 2 * (y - 0.32) + tilt)))
    strokes.append(line((-0.07, 0.2), (0.07, 0.2), (0, 0.29), closed=True))
    if is_chosen(rng, 0.8):
        strokes.append(curve((-0.2, 0.42), (-0.1, 0.48), (0, 0.3), mirrored=True))
    return strokes


def dog(rng: np.random.Generator) -> Strokes:
    height, droop, spread = rng.uniform([0.62, 0.15, 0.22], [0.8, 0.55, 0.34])
    strokes = [arc(0, 0.1, 0.62, height)]
    for side in (-1, 1):
        ear = [(0.35, 0.2 - height), (0.75, -0.6), (0.95, 0.05), (0.78, droop), (0.6, -0.1)]
        strokes.append(curve(*ear) * (side, 1))
        strokes.append(eye(rng, side * spread, -0.08, 0.09))
    strokes.append(arc(0, 0.22, 0.15, 0.1))
    if is_chosen(rng, 0.5):
        strokes.append(arc(0, 0.38, 0.36, 0.27))
    if is_chosen(rng, 0.85):
        strokes.append(line((0, 0.32), (0, 0.45)))
        strokes.append(curve((-0.22, 0.45), (-0.1, 0.53), (0, 0.45), mirrored=True))
    if is_chosen(rng, 0.4):
        strokes.append(curve((-0.08, 0.5), (-0.08, 0.7), (0, 0.76), mirrored=True))
    return strokes


def fish(rng: np.random.Generator) -> Strokes:
    height, tail, pinch = rng.uniform([0.32, 0.28, 0.0], [0.52, 0.48, 0.08])
    if is_chosen(rng, 0.5):  # one line that crosses itself at the tail
        belly = [(0.95, -tail), (0.55, 0), (0, height), (-0.6, 0.6 * height)]
        strokes = [curve(*belly, (-0.9, 0), *[(x, -y) for x, y in reversed(belly)])]
        strokes.append(line((0.95, -tail), (0.8, 0), (0.95, tail)))
    else:
        strokes = [arc(-0.15, 0, 0.75, height)]
        strokes.append(line((0.58, -pinch), (1, -tail), (0.9, 0), (1, tail), (0.58, pinch)))
    strokes.append(eye(rng, -0.6, -0.1, 0.06))
    if is_chosen(rng, 0.6):
        strokes.append(arc(-0.75, 0, 0.42, 0.7 * height, -50, 50))
    if is_chosen(rng, 0.6):
        strokes.append(curve((-0.3, -0.9 * height), (0, -height - 0.25), (0.25, -0.8 * height)))
    if is_chosen(rng, 0.4):
        strokes.append(line((-0.05, 0.05), (0.2, 0.22), (0.15, 0)))
    if is_chosen(rng, 0.3):
        strokes += [arc(x, 0, 0.1, 0.5 * height, -80, 80) for x in (-0.1, 0.1, 0.3)]
    return strokes


def whale(rng: np.random.Generator) -> Strokes:
    height, tail, spout = rng.uniform([0.42, 0.2, 0.2], [0.62, 0.4, 0.4])
    back, belly = (
        [(0.7, 0.1), (0.3, -0.1), (-0.3, -height), (-0.85, -0.2)],
        [(-0.5, 0.48), (0.2, 0.45), (0.75, 0.3)],
    )
    strokes = [curve((0.95, -0.25), *back, (-0.9, 0.25), *belly, (1.02, -0.22))]
    fluke = [(0.97, -0.25), (0.7, -0.25 - 0.5 * tail), (0.62, -0.3 - tail), (0.88, -0.3 - tail), (1, -0.25)]
    strokes.append(curve(*fluke, (1.15, -0.25 - tail), (1.3, -0.2 - tail), (1.02, -0.22)))
    strokes.append(eye(rng, -0.6, 0, 0.05))
    strokes.append(curve((-0.9, 0.15), (-0.7, 0.22), (-0.45, 0.15)))
    if is_chosen(rng, 0.7):
        top = -height - spout
        for x in (-0.57, -0.13):
            strokes.append(curve((-0.35, -height - 0.05), (-0.37, top), (x, top + 0.2 * spout)))
    if is_chosen(rng, 0.5):
        strokes.append(curve((-0.25, 0.25), (-0.05, 0.55), (0.12, 0.25)))
    return strokes


def butterfly(rng: np.random.Generator) -> Strokes:
    top, low, body = rng.uniform([0.65, 0.45, 0.05], [0.95, 0.7, 0.1])
    strokes = [arc(0, 0.05, body, 0.5)]
    for side in (-1, 1):
        upper_wing = curve((body, -0.1), (0.4 * top, -0.75), (top, -0.75), (top, -0.25), (body, 0.05))
        lower_wing = curve((body, 0.05), (low, 0.08), (low, 0.6), (0.5 * low, 0.75), (body, 0.3))
        strokes += [upper_wing * (side, 1), lower_wing * (side, 1)]
        strokes.append(curve((0, -0.45), (side * 0.12, -0.7), (side * 0.28, -0.85)))
        if is_chosen(rng, 0.5):
            strokes.append(arc(side * 0.55 * top, -0.42, rng.uniform(0.08, 0.16)))
        if is_chosen(rng, 0.35):
            strokes.append(arc(side * 0.6 * low, 0.35, 0.1))
    return strokes


def snail(rng: np.random.Generator) -> Strokes:
    shell, turns, neck = rng.uniform([0.45, 1.8, 0.2], [0.6, 2.8, 0.4])
    angles = np.linspace(0.35 * np.pi, (0.35 + 2 * turns) * np.pi, int(14 * turns))
    radius = shell * (1 - np.linspace(0, 0.9, len(angles)))
    strokes = [np.stack([0.2 + radius * np.cos(angles), -0.1 - radius * np.sin(-angles)], axis=1)]
    back, head = [(0.4, 0.42), (-0.3, 0.4), (-0.5, -0.05)], [(-0.6, -neck), (-0.85, -neck), (-0.9, 0.0)]
    strokes.append(curve((0.95, 0.5), *back, *head, (-0.75, 0.4), (-0.5, 0.55), closed=True))
    for x in (-0.68, -0.83):
        strokes.append(line((x, -neck - 0.02), (x + (x + 0.755) * 1.2, -neck - 0.3)))
    if is_chosen(rng, 0.4):
        strokes.append(eye(rng, -0.74, -neck + 0.14, 0.04))
    return strokes


def snake(rng: np.random.Generator) -> Strokes:
    waves, height, thick = rng.uniform([1.1, 0.2, 0.06], [2.3, 0.4, 0.11])
    along = np.linspace(0, 1, 30)
    x, y = -0.95 + 1.75 * along, height * np.sin(2 * np.pi * waves * along)
    upper = np.stack([x, y - thick * along**0.5], axis=1)
    head = upper[-1] + (0, thick)
    if is_chosen(rng, 0.7):
        strokes = [upper, np.stack([x, y + thick * along**0.5], axis=1)]
        strokes.append(arc(head[0] + 0.1, head[1], 0.17, thick + 0.05, -150, 150))
    else:
        strokes = [upper]
        strokes.append(arc(head[0] + 0.1, head[1], 0.13, 0.09))
    strokes.append(eye(rng, head[0] + 0.12, head[1] - 0.05, 0.03))
    if is_chosen(rng, 0.75):
        strokes.append(line((0.26, 0), (0.4, 0), (0.48, -0.07)) + head)
        strokes.append(line((0.4, 0), (0.48, 0.07)) + head)
    if is_chosen(rng, 0.3):
        strokes += [line(tuple(upper[k]), (x[k], y[k] + thick * along[k] ** 0.5)) for k in range(4, 28, 3)]
    return strokes


def spider(rng: np.random.Generator) -> Strokes:
    body, knee, foot = rng.uniform([0.24, 0.2, 0.15], [0.36, 0.4, 0.5])
    strokes = [arc(0, 0.1, body)]
    if is_chosen(rng, 0.75):
        strokes.append(arc(0, 0.1 - body - 0.13, 0.15))
    for side in (-1, 1):
        for angle in (-50, -18, 15, 45):
            radians = np.radians(angle + rng.uniform(-6, 6))
            x, y = side * np.cos(radians), np.sin(radians)
            joint = ((body + 0.25) * x, 0.1 + (body + 0.25) * y - knee)
            end = (0.95 * x + 0.05 * side, joint[1] + foot + 0.1)
            strokes.append(line((body * x, 0.1 + body * y), joint, end))
    if is_chosen(rng, 0.5):
        strokes += [eye(rng, x, -body - 0.05, 0.04) for x in (-0.06, 0.06)]
    if is_chosen(rng, 0.35):
        strokes.append(line((0, 0.1 - body - 0.28), (0, -1.1)))
    return strokes


ANIMALS = {
    "butterfly": butterfly,
    "cat": cat,
    "dog": dog,
    "fish": fish,
    "snail": snail,
    "snake": snake,
    "spider": spider,
    "whale": whale,
}
