"""Doodles of buildings, vehicles and things that fly or sail."""

import numpy as np

from tune_sketch.data.doodle_shapes import Strokes, arc, box, curve, is_chosen, line


def house(rng: np.random.Generator) -> Strokes:
    width, top, roof, eaves = rng.uniform([0.55, -0.35, 0.45, 0], [0.95, 0.1, 0.8, 0.2])
    strokes = [box(-width, top, width, 0.9)]
    if is_chosen(rng, 0.75):
        strokes.append(line((-width - eaves, top), (0, top - roof), (width + eaves, top)))
    else:
        strokes.append(line((-width, top), (-0.55 * width, top - roof), mirrored=True))
    door = rng.uniform(-0.5, 0.3) * width
    strokes.append(line((door, 0.9), (door, 0.35), (door + 0.28, 0.35), (door + 0.28, 0.9)))
    for x in (-0.6 * width, 0.6 * width):
        if is_chosen(rng, 0.6):
            size = rng.uniform(0.1, 0.17)
            middle = top + 0.32
            strokes.append(box(x - size, middle - size, x + size, middle + size))
            if is_chosen(rng, 0.6):
                strokes.append(line((x, middle - size), (x, middle + size)))
                strokes.append(line((x - size, middle), (x + size, middle)))
    if is_chosen(rng, 0.5):
        x, chimney = 0.55 * width, top - roof
        strokes.append(line((x, top - 0.35 * roof), (x, chimney), (x + 0.2, chimney), (x + 0.2, top - 0.15)))
    return strokes


def car(rng: np.random.Generator) -> Strokes:
    roof, front, back, wheel = rng.uniform([-0.55, 0.25, -0.75, 0.15], [-0.3, 0.55, -0.4, 0.26])
    cabin = rng.uniform(-0.5, -0.3)
    strokes = []
    if is_chosen(rng, 0.5):
        back_end, front_end = [(-1, 0.35), (-0.98, 0.02), (-0.75, 0)], [(front, 0), (0.95, 0.08), (1, 0.35)]
        strokes.append(curve(*back_end, (cabin, roof), (0.2, roof), *front_end))
        strokes.append(line((-1, 0.35), (1, 0.35)))
    else:
        strokes.append(box(-1, 0, 1, 0.38))
        strokes.append(line((back, 0), (cabin, roof), (front - 0.25, roof), (front, 0)))
    for x in (-0.52, 0.55):
        strokes.append(arc(x, 0.4, wheel))
        if is_chosen(rng, 0.4):
            strokes.append(arc(x, 0.4, 0.4 * wheel))
    if is_chosen(rng, 0.6):
        strokes.append(line((0, roof), (0, 0.02)))
    if is_chosen(rng, 0.3):
        strokes.append(arc(0.93, 0.12, 0.07))
    return strokes


def bus(rng: np.random.Generator) -> Strokes:
    top, wheel, nose = rng.uniform([-0.6, 0.13, 0], [-0.45, 0.22, 0.12])
    windows_top, windows_bottom = rng.uniform([-0.4, -0.12], [-0.32, 0.02])
    strokes = [line((-1, top), (1 - nose, top), (1, -0.05), (1, 0.4), (-1, 0.4), closed=True)]
    strokes += [arc(x, 0.42, wheel) for x in (-0.6, 0.6)]
    num_windows = int(rng.integers(3, 6))
    pitch = 1.5 / num_windows
    if is_chosen(rng, 0.75):
        for number in range(num_windows):
            left = -0.9 + number * pitch
            strokes.append(box(left, windows_top, left + 0.72 * pitch, windows_bottom))
    else:
        strokes.append(box(-0.9, windows_top, 0.65, windows_bottom))
        strokes += [line((x, windows_top), (x, windows_bottom)) for x in -0.9 + pitch * np.arange(1, num_windows)]
    if is_chosen(rng, 0.6):
        strokes.append(line((0.7, 0.38), (0.7, windows_top), (0.92, windows_top), (0.92, 0.38)))
    if is_chosen(rng, 0.3):
        strokes.append(line((-1, 0.18), (1, 0.18)))
    return strokes


def bicycle(rng: np.random.Generator) -> Strokes:
    wheel, apart, saddle = rng.uniform([0.34, 0.55, -0.35], [0.44, 0.65, -0.15])
    left, right, pedals = (-apart, 0.3), (apart, 0.3), (-0.05, 0.3)
    seat, bars = (-0.22, saddle), (0.38, saddle - 0.02)
    strokes = [arc(*left, wheel), arc(*right, wheel)]
    strokes += [line(left, seat, bars, pedals, left), line(seat, pedals)]
    strokes.append(line((0.33, saddle - 0.22), right))
    strokes.append(curve((0.15, saddle - 0.25), (0.33, saddle - 0.22), (0.48, saddle - 0.12)))
    strokes.append(line((-0.36, saddle - 0.1), (-0.08, saddle - 0.1)))
    strokes.append(line(seat, (-0.23, saddle - 0.1)))
    if is_chosen(rng, 0.3):
        strokes.append(arc(*pedals, 0.09))
    if is_chosen(rng, 0.25):
        for x, y in (left, right):
            strokes += [line((x - wheel, y), (x + wheel, y)), line((x, y - wheel), (x, y + wheel))]
    return strokes


def airplane(rng: np.random.Generator) -> Strokes:
    body, sweep, span, tail = rng.uniform([0.12, 0.25, 0.6, 0.25], [0.19, 0.55, 0.9, 0.42])
    if is_chosen(rng, 0.5):  # seen from above
        upper = [(-1, -0.4 * body), (0, -body), (0.85, -0.8 * body)]
        strokes = [curve(*upper, (1, 0), *[(x, -y) for x, y in reversed(upper)], closed=True)]
        for side in (-1, 1):
            edge, wing, fin = side * body, side * span, side * tail
            strokes.append(line((0.35, edge), (0.1 - sweep, wing), (-0.15 - sweep, wing), (-0.1, edge)))
            strokes.append(line((-0.72, 0.5 * edge), (-1, fin), (-1.12, fin), (-0.98, 0.3 * edge)))
        return strokes
    strokes = [curve((-1, 0), (-0.3, -body), (0.7, -body), (1, 0.02), (0.7, body), (-0.4, body), closed=True)]
    strokes.append(line((-0.75, -0.08), (-1.05, -0.15 - tail), (-0.85, -0.15 - tail), (-0.45, -body)))
    strokes.append(line((0.25, 0.02), (-0.1 - sweep, 0.65 * span), (0.1 - sweep, 0.65 * span), (0.5, 0.04)))
    if is_chosen(rng, 0.6):
        strokes.append(line((0.2, -body), (-0.05, -0.55 * span), (0.1, -0.55 * span), (0.42, -body)))
    if is_chosen(rng, 0.7):
        strokes += [arc(x, -0.4 * body, 0.04) for x in np.arange(-0.3, 0.65, rng.uniform(0.16, 0.3))]
    return strokes


def rocket(rng: np.random.Generator) -> Strokes:
    width, shoulder, fin, window = rng.uniform([0.2, -0.5, 0.15, 0.08], [0.36, -0.2, 0.35, 0.16])
    if is_chosen(rng, 0.5):
        strokes = [curve((-0.8 * width, 0.5), (-width, 0), (-0.7 * width, -0.55), (0, -1), mirrored=True)]
    else:
        strokes = [line((-width, 0.5), (-width, shoulder), (0, -1), mirrored=True)]
        strokes.append(line((-width, shoulder), (width, shoulder)))
    strokes.append(line((-width, 0.5), (width, 0.5)))
    for side in (-1, 1):
        tip = side * (width + fin)
        strokes.append(line((side * width, 0.1), (tip, 0.45), (tip, 0.72), (side * width, 0.5)))
    if is_chosen(rng, 0.8):
        strokes.append(arc(0, -0.15, window))
    if is_chosen(rng, 0.7):
        a, b, c = 0.7 * width, 0.5 * width, 0.2 * width
        strokes.append(line((-a, 0.52), (-b, 0.8), (-c, 0.65), (0, 1), mirrored=True))
    return strokes


def sailboat(rng: np.random.Generator) -> Strokes:
    deck, mast, front, back = rng.uniform([0.25, -1, 0.4, 0.4], [0.45, -0.8, 0.7, 0.75])
    if is_chosen(rng, 0.5):
        strokes = [line((-0.85, deck), (-0.55, 0.75), mirrored=True, closed=True)]
    else:
        strokes = [curve((-0.85, deck), (-0.55, 0.68), (0, 0.78), mirrored=True)]
        strokes.append(line((-0.85, deck), (0.85, deck)))
    strokes.append(line((0, deck), (0, mast)))
    strokes.append(line((0, mast), (back, deck - 0.15), (0.02, deck - 0.15)))
    if is_chosen(rng, 0.65):
        strokes.append(line((-0.04, mast + 0.15), (-front, deck - 0.12), (-0.04, deck - 0.12)))
    if is_chosen(rng, 0.3):
        strokes.append(line((0, mast), (0.2, mast - 0.08), (0, mast - 0.16)))
    if is_chosen(rng, 0.4):
        x = np.linspace(-1, 1, 17)
        strokes.append(np.stack([x, 0.88 + 0.05 * np.cos(4 * np.pi * x)], axis=1))
    return strokes


def hot_air_balloon(rng: np.random.Generator) -> Strokes:
    width, neck, basket = rng.uniform([0.55, 0.15, 0.12], [0.72, 0.3, 0.2])
    strokes = [curve((-neck, 0.42), (-width, -0.15), (-0.75 * width, -0.75), (0, -1), mirrored=True)]
    strokes.append(line((-neck, 0.42), (neck, 0.42)))
    strokes.append(line((-0.9 * neck, 0.42), (-basket, 0.7)))
    strokes.append(line((0.9 * neck, 0.42), (basket, 0.7)))
    strokes.append(box(-basket, 0.7, basket, 0.95))
    if is_chosen(rng, 0.55):
        for bend in (-0.45, 0.45) if is_chosen(rng, 0.6) else (-0.6, 0, 0.6):
            strokes.append(curve((0, -1), (bend * width, -0.55), (bend * width, -0.1), (bend * neck, 0.42)))
    elif is_chosen(rng, 0.5):
        strokes.append(curve((-width, -0.2), (0, -0.08), (width, -0.2)))
    return strokes


VEHICLES = {
    "airplane": airplane,
    "bicycle": bicycle,
    "bus": bus,
    "car": car,
    "hot_air_balloon": hot_air_balloon,
    "house": house,
    "rocket": rocket,
    "sailboat": sailboat,
}
