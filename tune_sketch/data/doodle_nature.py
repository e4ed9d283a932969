"""Doodles of plants, food and the sky."""

import numpy as np

from tune_sketch.data.doodle_shapes import Strokes, arc, curve, eye, is_chosen, line


def tree(rng: np.random.Generator) -> Strokes:
    trunk, crown, ground = rng.uniform([0.09, 0.5, 0], [0.2, 0.75, 0.15])
    style = rng.random()
    if style < 0.6:  # a crown of leaves
        num_bumps = int(rng.integers(7, 12))
        angles = np.linspace(0, 2 * np.pi, 2 * num_bumps, endpoint=False) + np.pi / 2
        radius = crown * np.where(np.arange(2 * num_bumps) % 2, 1.1, 0.9)
        points = np.stack([radius * np.cos(angles), -0.35 + 0.85 * radius * np.sin(angles)], axis=1)
        strokes = [curve(*points, closed=True) if style < 0.42 else arc(0, -0.35, crown, 0.9 * crown)]
        low = -0.38 + 0.75 * crown
    else:  # a fir
        strokes, low = [], 0.5
        num_tiers = int(rng.integers(2, 4))
        for tier in range(num_tiers):
            top, bottom = -1 + tier * 1.1 / num_tiers, -0.85 + (tier + 1) * 1.35 / num_tiers
            half = crown * (0.5 + 0.5 * (tier + 1) / num_tiers)
            strokes.append(line((0, top), (half, bottom), (-half, bottom), closed=True))
    strokes.append(line((-trunk, low), (-trunk - ground, 0.95)))
    strokes.append(line((trunk, low), (trunk + ground, 0.95)))
    strokes.append(line((-trunk - ground, 0.95), (trunk + ground, 0.95)))
    if style < 0.6 and is_chosen(rng, 0.3):
        strokes += [arc(x, y, 0.07) for x, y in rng.uniform([-0.35, -0.65], [0.35, -0.1], (4, 2))]
    return strokes


def flower(rng: np.random.Generator) -> Strokes:
    num_petals = int(rng.integers(5, 9))
    petal, middle, bend = rng.uniform([0.24, 0.13, -0.15], [0.36, 0.22, 0.15])
    strokes = [arc(0, -0.4, middle)]
    for angle in np.arange(num_petals) * 360 / num_petals + rng.uniform(0, 360):
        away = middle + 0.85 * petal
        x, y = away * np.cos(np.radians(angle)), -0.4 + away * np.sin(np.radians(angle))
        width = petal * min(0.75, 3.6 / num_petals)
        strokes.append(arc(x, y, petal * 0.9, width, 180, 540, tilt=angle))
    strokes.append(curve((0, 0.05), (bend, 0.5), (0, 1)))
    for side in (-1, 1):
        if is_chosen(rng, 0.65):
            tip, stem = (side * 0.45, 0.45), (bend * 0.8, 0.7)
            strokes.append(curve(stem, (side * 0.25, 0.42), tip, (side * 0.25, 0.68), stem))
    return strokes


def mushroom(rng: np.random.Generator) -> Strokes:
    height, stem, foot = rng.uniform([0.55, 0.18, 1.0], [0.9, 0.32, 1.5])
    strokes = [arc(0, 0, 0.9, height, 180, 360)]
    strokes.append(curve((-stem, 0.08), (-stem, 0.5), (-foot * stem, 0.85), (0, 0.95), mirrored=True))
    brim = rng.choice([0.0, 0.13])
    strokes.append(curve((-0.9, 0), (-0.5, brim), mirrored=True))
    if is_chosen(rng, 0.65):
        for x, y in ((-0.45, -0.25), (0.05, -0.45), (0.5, -0.22))[: int(rng.integers(2, 4))]:
            strokes.append(arc(x, y * height / 0.7, *rng.uniform(0.07, 0.15, 2)))
    return strokes


def apple(rng: np.random.Generator) -> Strokes:
    width, dip, foot = rng.uniform([0.68, 0.1, 0.03], [0.85, 0.22, 0.12])
    upper, lower = [(0.45 * width, -0.68), (width, -0.25)], [(0.85 * width, 0.4), (0.4 * width, 0.8)]
    strokes = [curve((0, -0.62 + dip), *upper, *lower, (0, 0.8 - foot), closed=True, mirrored=True)]
    strokes.append(curve((0, -0.55 + dip), (0.02, -0.8), (0.12, -1)))
    if is_chosen(rng, 0.6):
        strokes.append(curve((0.05, -0.8), (0.25, -1), (0.5, -0.95), (0.3, -0.75), (0.05, -0.8)))
    if is_chosen(rng, 0.2):
        strokes.append(arc(-0.35, 0, 0.25, 0.4, 140, 230))
    return strokes


def pear(rng: np.random.Generator) -> Strokes:
    width, neck, waist = rng.uniform([0.5, 0.2, -0.3], [0.68, 0.32, -0.1])
    upper, lower = [(neck, -0.6), (1.1 * neck, waist)], [(width, 0.35), (0.6 * width, 0.85)]
    strokes = [curve((0, -0.72), *upper, *lower, (0, 0.92), closed=True, mirrored=True)]
    strokes.append(curve((0, -0.7), (0.03, -0.85), (0.12, -1)))
    if is_chosen(rng, 0.5):
        strokes.append(curve((0.05, -0.8), (0.25, -1), (0.5, -0.95), (0.3, -0.75), (0.05, -0.8)))
    if is_chosen(rng, 0.2):
        strokes.append(arc(-0.2, 0.35, 0.22, 0.35, 140, 230))
    return strokes


def banana(rng: np.random.Generator) -> Strokes:
    sag, thick = rng.uniform([0.35, 0.28], [0.6, 0.42])
    left, middle, right = 0.6 * sag - 0.5, sag - 0.5, 0.75 * sag - 0.5
    strokes = [curve((-0.9, -0.5), (-0.7, left), (-0.1, middle), (0.5, right), (0.85, -0.6))]
    left, middle, right = left + 0.5 * thick + 0.1, middle + thick, right + 0.7 * thick + 0.05
    strokes.append(curve((-0.98, -0.42), (-0.75, left), (-0.1, middle), (0.6, right), (0.98, -0.55)))
    strokes.append(line((-0.9, -0.5), (-0.98, -0.42)))
    strokes.append(line((0.85, -0.6), (0.88, -0.8), (1, -0.78), (0.98, -0.55)))
    if is_chosen(rng, 0.5):
        strokes.append(curve((-0.8, -0.4 + 0.55 * sag), (-0.1, -0.5 + sag + 0.45 * thick), (0.75, -0.5 + 0.5 * sag)))
    return strokes


def moon(rng: np.random.Generator) -> Strokes:
    inner, reach = rng.uniform([0.3, 45], [0.62, 80])
    strokes = [arc(0, 0, 0.9, 0.9, reach, 360 - reach)]
    x, y = 0.9 * np.cos(np.radians(reach)), 0.9 * np.sin(np.radians(reach))
    inside = x - inner * 0.9
    strokes.append(curve((x, y), (inside, 0.5 * y), (inside - 0.25 * inner, 0), (inside, -0.5 * y), (x, -y)))
    if is_chosen(rng, 0.25):
        strokes += [arc(-0.6, y, rng.uniform(0.05, 0.1)) for y in (-0.25, 0.15)]
    if is_chosen(rng, 0.2):
        strokes.append(line((0.45, 0), (0.75, 0)))
        strokes.append(line((0.6, -0.15), (0.6, 0.15)))
    return strokes


def sun(rng: np.random.Generator) -> Strokes:
    disc, inner, outer = rng.uniform([0.36, 0.08, 0.25], [0.52, 0.15, 0.42])
    strokes = [arc(0, 0, disc)]
    num_rays = int(rng.integers(7, 14))
    pointed = is_chosen(rng, 0.25)
    for angle in np.arange(num_rays) * 2 * np.pi / num_rays + rng.uniform(0, 1):
        x, y = np.cos(angle), np.sin(angle)
        start, end = disc + inner, disc + inner + outer * rng.uniform(0.75, 1.1)
        if pointed:
            half = start * np.tan(0.6 * np.pi / num_rays)
            foot = (start * x + half * y, start * y - half * x)
            strokes.append(line(foot, (end * x, end * y), (start * x - half * y, start * y + half * x)))
        else:
            strokes.append(line((start * x, start * y), (end * x, end * y)))
    if is_chosen(rng, 0.3):
        strokes += [eye(rng, x, -0.1, 0.04) for x in (-0.15, 0.15)]
        strokes.append(arc(0, 0.02, 0.22, start=20, end=160))
    return strokes


def star(rng: np.random.Generator) -> Strokes:
    num_points, inner = 5 if is_chosen(rng, 0.85) else 6, rng.uniform(0.36, 0.5)
    if num_points == 5 and is_chosen(rng, 0.45):  # the pentagram, drawn without lifting the pen
        angles = np.radians(-90 + 144 * np.arange(6))
        return [np.stack([0.95 * np.cos(angles), 0.95 * np.sin(angles)], axis=1)]
    angles = np.radians(-90 + 180 / num_points * np.arange(2 * num_points + 1))
    radius = np.where(np.arange(2 * num_points + 1) % 2, inner, 0.95)
    return [np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)]


def ice_cream(rng: np.random.Generator) -> Strokes:
    width, scoop = rng.uniform([0.38, 0.4], [0.52, 0.55])
    strokes = [line((-width, -0.1), (0, 1), (width, -0.1))]
    num_scoops = int(rng.integers(1, 4))
    size = scoop if num_scoops < 3 else 0.8 * scoop
    for number in range(num_scoops):
        strokes.append(arc(0, -0.15 - number * size * 0.95, size * 0.95**number, 0.75 * size, 165, 375))
    strokes.append(curve((-width, -0.1), (-0.5 * width, 0.0), (0, -0.08), mirrored=True))
    if is_chosen(rng, 0.6):
        for shift in (-0.45, -0.1, 0.25):
            strokes.append(line((shift * width - 0.1, -0.05), (0.6 * shift * width + 0.12, 0.5)))
            strokes.append(line((-shift * width + 0.1, -0.05), (-0.6 * shift * width - 0.12, 0.5)))
    if is_chosen(rng, 0.25):
        strokes.append(arc(0, -0.3 - num_scoops * size * 0.9, 0.1))
    return strokes


NATURE = {
    "apple": apple,
    "banana": banana,
    "flower": flower,
    "ice_cream": ice_cream,
    "moon": moon,
    "mushroom": mushroom,
    "pear": pear,
    "star": star,
    "sun": sun,
    "tree": tree,
}
