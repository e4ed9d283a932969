"""Doodles of things that lie or stand in a house."""

from itertools import pairwise

import numpy as np

from tune_sketch.data.doodle_shapes import Strokes, arc, box, curve, is_chosen, line


def cup(rng: np.random.Generator) -> Strokes:
    width, foot, top, handle = rng.uniform([0.45, 0.6, -0.6, 0.2], [0.65, 1.0, -0.35, 0.36])
    foot *= width
    rim = rng.uniform(0.08, 0.16)
    strokes = [arc(0, top, width, rim)]
    if is_chosen(rng, 0.5):
        strokes.append(line((-width, top), (-foot, 0.65), mirrored=True))
    else:
        strokes.append(curve((-width, top), (-0.95 * width, 0.2), (-0.6 * foot, 0.65), mirrored=True))
    strokes.append(arc(0.92 * width, 0, handle, 0.3, -100, 100))
    if is_chosen(rng, 0.35):
        strokes.append(arc(0.92 * width, 0, 0.6 * handle, 0.18, -100, 100))
    if is_chosen(rng, 0.35):
        for x in (-0.2, 0.15):
            y = top - 0.2
            strokes.append(curve((x, y), (x + 0.07, y - 0.1), (x - 0.05, y - 0.22), (x + 0.04, y - 0.35)))
    if is_chosen(rng, 0.25):
        strokes.append(arc(0, 0.7, 0.9, 0.13))
    return strokes


def teapot(rng: np.random.Generator) -> Strokes:
    width, height, spout, handle = rng.uniform([0.5, 0.42, 0.3, 0.2], [0.65, 0.58, 0.45, 0.34])
    strokes = [arc(0, 0.15, width, height, -70, 250)]
    strokes.append(curve((-0.4 * width, 0.12 - 0.9 * height), (0, 0.02 - height), mirrored=True))
    strokes.append(arc(0, -0.08 - height, 0.07))
    tip, bend = (-width - spout, -0.25), -width - 0.35 * spout
    strokes.append(curve((-0.9 * width, 0.3), (-width - 0.5 * spout, 0.12), tip))
    strokes.append(curve((-0.95 * width, 0), (bend, -0.08), (bend - 0.4 * spout, -0.28), tip))
    strokes.append(arc(0.9 * width, 0.1, handle, 0.32, -100, 100))
    if is_chosen(rng, 0.4):
        strokes.append(arc(0.9 * width, 0.1, 0.6 * handle, 0.2, -100, 100))
    if is_chosen(rng, 0.5):
        strokes.append(line((-0.5 * width, 0.15 + 0.92 * height), (0.5 * width, 0.15 + 0.92 * height)))
    return strokes


def key(rng: np.random.Generator) -> Strokes:
    bow, thick, teeth = rng.uniform([0.22, 0.05, 0.15], [0.34, 0.09, 0.28])
    strokes = [arc(-0.7, 0, bow, rng.uniform(0.85, 1.2) * bow)]
    start = bow - 0.7
    if is_chosen(rng, 0.5):
        bit = [
            (1, teeth),
            (0.85, teeth),
            (0.85, thick),
            (0.7, thick),
            (0.7, teeth),
            (0.52, teeth),
            (0.52, thick),
        ]
        strokes.append(line((start, -thick), (1, -thick), *bit, (start, thick)))
    else:
        strokes.append(line((start, 0), (1, 0)))
        strokes += [line((x, 0), (x, teeth)) for x in np.linspace(0.95, 0.55, int(rng.integers(2, 4)))]
    if is_chosen(rng, 0.7):
        strokes.append(arc(-0.7, 0, 0.45 * bow))
    return strokes


def pencil(rng: np.random.Generator) -> Strokes:
    width, tip, band = rng.uniform([0.11, 0.25, -0.8], [0.2, 0.45, -0.65])
    upper, lower = [(-0.95, -width), (1 - tip, -width)], [(1 - tip, width), (-0.95, width)]
    strokes = [line(*upper, (1, 0), *lower, closed=True)]
    strokes.append(line((1 - tip, -width), (1 - 1.1 * tip, 0), (1 - tip, width)))
    strokes.append(line((1 - 0.35 * tip, -0.3 * width), (1 - 0.35 * tip, 0.3 * width)))
    strokes.append(line((band, -width), (band, width)))
    if is_chosen(rng, 0.5):
        strokes.append(line((band + 0.1, -width), (band + 0.1, width)))
    for y in (-0.33, 0.33) if is_chosen(rng, 0.5) else ():
        strokes.append(line((band + 0.1, y * width), (1 - 1.05 * tip, y * width)))
    return strokes


def candle(rng: np.random.Generator) -> Strokes:
    width, top, flame = rng.uniform([0.14, -0.35, 0.12], [0.28, -0.1, 0.2])
    strokes = [box(-width, top, width, 0.8)]
    strokes.append(line((0, top), (0.02, top - 0.14)))
    middle = top - 0.14 - 1.5 * flame
    left_half = [(0, top - 0.1), (-flame, middle + 0.1), (0, middle - 1.8 * flame)]
    strokes.append(curve(*left_half, mirrored=True, closed=True))
    if is_chosen(rng, 0.55):
        strokes.append(arc(0, 0.82, width + rng.uniform(0.15, 0.4), 0.14))
        if is_chosen(rng, 0.4):
            strokes.append(arc(width + 0.4, 0.75, 0.14))
    if is_chosen(rng, 0.4):
        strokes.append(curve((-width, top + 0.25), (-0.5 * width, top + 0.08), (0, top + 0.3), mirrored=True))
    if is_chosen(rng, 0.3):
        for angle in (-150, -120, -60, -30):
            x, y = np.cos(np.radians(angle)), np.sin(np.radians(angle))
            strokes.append(line((0.32 * x, middle + 0.32 * y), (0.48 * x, middle + 0.48 * y)))
    return strokes


def light_bulb(rng: np.random.Generator) -> Strokes:
    width, neck = rng.uniform([0.45, 0.17], [0.6, 0.26])
    side = [(-neck, 0.45), (-0.9 * neck, 0.25), (-width, -0.3), (-0.7 * width, -0.75)]
    strokes = [curve(*side, (0, -0.95), mirrored=True)]
    for y in np.linspace(0.45, 0.75, int(rng.integers(3, 5))):
        strokes.append(line((-neck, y), (neck, y + 0.03)))
    strokes.append(arc(0, 0.75, neck, 0.16, 0, 180))
    if is_chosen(rng, 0.6):
        strokes.append(line((-0.08, 0.42), (-0.18, -0.2), (-0.06, -0.05), (0, -0.25), mirrored=True))
    if is_chosen(rng, 0.35):
        for angle in np.radians(np.linspace(-200, 20, int(rng.integers(5, 8)))):
            x, y = np.cos(angle), np.sin(angle)
            start, end = width + 0.15, width + 0.35
            strokes.append(line((start * x, start * y - 0.35), (end * x, end * y - 0.35)))
    return strokes


def umbrella(rng: np.random.Generator) -> Strokes:
    height, scallops, hook = rng.uniform([0.6, 0.05, 0.1], [0.9, 0.14, 0.2])
    strokes = [arc(0, 0, 0.95, height, 180, 360)]
    num_panels = int(rng.integers(3, 6))
    edges = np.linspace(-0.95, 0.95, num_panels + 1)
    points = [(-0.95, 0.0)]
    for left, right in pairwise(edges):
        points += [((left + right) / 2, -scallops), (right, 0.0)]
    strokes.append(curve(*points))
    strokes.append(line((0, -height - rng.uniform(0, 0.12)), (0, 0.75)))
    strokes.append(arc(hook, 0.75, hook, start=180, end=0))
    if is_chosen(rng, 0.55):
        strokes += [curve((0, -height), (0.7 * x, -0.55 * height), (x, 0)) for x in edges[1:-1]]
    return strokes


def guitar(rng: np.random.Generator) -> Strokes:
    upper, lower, waist, neck = rng.uniform([0.24, 0.36, 0.17, 0.04], [0.32, 0.46, 0.24, 0.07])
    shoulder = [(0, 0.02), (-0.8 * upper, 0.06), (-upper, 0.22)]
    hip = [(-waist, 0.42), (-lower, 0.68), (-0.7 * lower, 0.94), (0, 1)]
    strokes = [curve(*shoulder, *hip, closed=True, mirrored=True)]
    strokes.append(line((-neck, 0.03), (-neck, -0.75)))
    strokes.append(line((neck, 0.03), (neck, -0.75)))
    strokes.append(line((-neck, -0.75), (-0.11, -0.8), (-0.09, -1), mirrored=True))
    strokes.append(arc(0, 0.4, rng.uniform(0.09, 0.13)))
    strokes.append(line((-0.14, 0.75), (0.14, 0.75)))
    if is_chosen(rng, 0.5):
        strokes.append(line((0, -0.75), (0, 0.75)))
    if is_chosen(rng, 0.4):
        strokes += [line((-neck, y), (neck, y)) for y in np.arange(-0.65, 0, 0.16)]
    if is_chosen(rng, 0.4):
        strokes += [line((side * 0.1, y), (side * 0.19, y)) for side in (-1, 1) for y in (-0.95, -0.85)]
    return strokes


def clock(rng: np.random.Generator) -> Strokes:
    hour, minute = rng.uniform(0, 2 * np.pi, 2)
    strokes = [arc(0, 0, 0.9) if is_chosen(rng, 0.8) else box(-0.85, -0.85, 0.85, 0.85)]
    strokes.append(line((0, 0), (0.42 * np.cos(hour), 0.42 * np.sin(hour))))
    strokes.append(line((0, 0), (0.66 * np.cos(minute), 0.66 * np.sin(minute))))
    num_ticks = int(rng.choice([4, 12]))
    if is_chosen(rng, 0.85):
        for angle in np.arange(num_ticks) * 2 * np.pi / num_ticks:
            x, y = np.cos(angle), np.sin(angle)
            strokes.append(line((0.7 * x, 0.7 * y), (0.82 * x, 0.82 * y)))
    if is_chosen(rng, 0.3):  # an alarm clock
        strokes += [arc(x, -0.9, 0.25, start=130 + 67 * x, end=330 + 67 * x) for x in (-0.6, 0.6)]
        strokes += [line((x, 0.7), (1.3 * x, 1)) for x in (-0.55, 0.55)]
    return strokes


def envelope(rng: np.random.Generator) -> Strokes:
    height, flap = rng.uniform([0.5, 0.0], [0.68, 0.25])
    strokes = [box(-0.95, -height, 0.95, height)]
    if is_chosen(rng, 0.85):
        strokes.append(line((-0.95, -height), (0, flap), (0.95, -height)))
    else:
        strokes.append(line((-0.95, -height), (0, -height - 0.55), (0.95, -height)))
    if is_chosen(rng, 0.5):
        strokes += [line((side * 0.95, height), (side * 0.2, 0.02)) for side in (-1, 1)]
    if is_chosen(rng, 0.15):
        strokes.append(arc(0, flap, 0.13))
    return strokes


def eyeglasses(rng: np.random.Generator) -> Strokes:
    lens, height, bridge = rng.uniform([0.32, 0.24, 0.08], [0.4, 0.4, 0.2])
    middle = lens + bridge
    if is_chosen(rng, 0.65):
        strokes = [arc(x, 0.1, lens, height) for x in (-middle, middle)]
    else:
        frame = curve((-lens, 0.1 - height), (-0.8 * lens, height), mirrored=True, closed=True)
        strokes = [frame + np.array([x, 0]) for x in (-middle, middle)]
    strokes.append(curve((-bridge, 0.05), (0, -0.05), (bridge, 0.05)))
    reach = rng.uniform(0.1, 0.4)
    for side in (-1, 1):
        outer = side * (middle + lens)
        strokes.append(curve((outer, 0), (outer + side * 0.1, -reach), (outer - side * 0.1, -reach - 0.25)))
    return strokes


def chair(rng: np.random.Generator) -> Strokes:
    width, seat, slope = rng.uniform([0.35, 0, 0.12], [0.5, 0.2, 0.3])
    left, right = -width, width
    back = -rng.uniform(0.75, 1)
    edge = seat + 0.2
    strokes = [line((left, seat), (right, seat), (right + slope, edge), (left + slope, edge), closed=True)]
    strokes.append(line((left, 1 - slope / 2), (left, back)))
    strokes.append(line((right, seat), (right, back)))
    strokes.append(line((left, back), (right, back)))
    strokes += [line((x + slope, edge), (x + slope, 1)) for x in (left, right)]
    if is_chosen(rng, 0.7):
        strokes.append(line((right, edge), (right, 1 - slope / 2)))
    if is_chosen(rng, 0.5):
        strokes += [line((left, y), (right, y)) for y in (back * 0.66, back * 0.33)]
    else:
        strokes += [line((x, back), (x, seat)) for x in np.linspace(left, right, 5)[1:-1]]
    return strokes


def table(rng: np.random.Generator) -> Strokes:
    top, skew, thick = rng.uniform([-0.4, 0.1, 0.05], [-0.1, 0.35, 0.14])
    if is_chosen(rng, 0.65):
        edge = top + 0.32
        strokes = [line((-0.95 + skew, top), (0.95, top), (0.95 - skew, edge), (-0.95, edge), closed=True)]
        strokes += [line((x, edge), (x, 0.85)) for x in (-0.92, 0.9 - skew)]
        strokes += [line((x, y), (x, 0.62)) for x, y in ((0.92, top + 0.05), (-0.85 + skew, edge))]
    else:
        strokes = [box(-0.95, top, 0.95, top + thick)]
        strokes += [line((x, top + thick), (1.05 * x, 0.8)) for x in (-0.8, 0.8)]
        if is_chosen(rng, 0.5):
            strokes += [line((x, top + thick), (1.1 * x, 0.6)) for x in (-0.5, 0.5)]
    return strokes


def ladder(rng: np.random.Generator) -> Strokes:
    bottom, top = rng.uniform([0.26, 0.18], [0.4, 0.3])
    strokes = [line((side * bottom, 1), (side * top, -1)) for side in (-1, 1)]
    for y in np.linspace(-0.82, 0.82, int(rng.integers(5, 9))):
        half = bottom + (top - bottom) * (1 - y) / 2
        strokes.append(line((-half, y), (half, y)))
    return strokes


def fence(rng: np.random.Generator) -> Strokes:
    num_posts = int(rng.integers(4, 7))
    pitch = 2 / num_posts
    wide, top = rng.uniform([0.45, -0.55], [0.7, -0.35])
    pointed = is_chosen(rng, 0.75)
    strokes = []
    for left in -1 + pitch * np.arange(num_posts):
        right = left + wide * pitch
        peak = ((left + right) / 2, top - 0.2 if pointed else top)
        strokes.append(line((left, 0.6), (left, top), peak, (right, top), (right, 0.6), closed=True))
    for y in (top + 0.25, 0.3):
        strokes.append(line((-1.05, y), (1.05, y)))
        if is_chosen(rng, 0.5):
            strokes.append(line((-1.05, y + 0.1), (1.05, y + 0.1)))
    return strokes


HOUSEHOLD = {
    "candle": candle,
    "chair": chair,
    "clock": clock,
    "cup": cup,
    "envelope": envelope,
    "eyeglasses": eyeglasses,
    "fence": fence,
    "guitar": guitar,
    "key": key,
    "ladder": ladder,
    "light_bulb": light_bulb,
    "pencil": pencil,
    "table": table,
    "teapot": teapot,
    "umbrella": umbrella,
}
