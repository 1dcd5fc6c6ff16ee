"""Flowers of five species, drawn from petal curves: no file, no network, the same pixels from the same generator.

Form alone tells the species apart. Colour, place, size, pose, light, background and clutter all vary as they
do in photographs, and every species can have every petal colour.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

from .drawing_scene import GREENS, PETAL_COLOURS, draw_backdrop, draw_clutter, photograph, pick
from .drawing_shapes import GOLDEN_ANGLE, Pen, Pose, bezier, blade, blob, petal, ring, rotation

DISC_COLOURS = np.array([(235, 185, 40), (190, 120, 30), (150, 160, 50), (90, 60, 35), (220, 200, 120)], dtype=float)
SEED_COLOURS = np.array([(70, 45, 25), (95, 60, 30), (60, 60, 30), (60, 35, 50), (120, 85, 35)], dtype=float)
# The petals of a tulip from the back to the front: place from left to right, half width, height, tone.
CUP = ((-0.5, 0.6, 1, 0.68), (0.5, 0.6, 1, 0.72), (-0.7, 0.6, 0.95, 0.92), (0.7, 0.6, 0.95, 0.96), (0, 0.8, 0.85, 1.06))
# Petal colours, by their place in PETAL_COLOURS, that a species has a mild liking for, as in a garden.
LIKES = {"daisy": (0, 2), "dandelion": (1, 4), "roses": (3, 2), "sunflowers": (1, 4), "tulips": (3, 5)}
SUPERSAMPLING = 2  # canvas pixels per image pixel and side; Pillow's polygons have hard edges of their own


def draw_flower(species: str, rng: np.random.Generator, size: int) -> Image.Image:
    """One RGB image of size x size pixels, 16 or more, with a flower of 35 to 95 % of its width.

    All that varies comes from `rng`: the same generator state, Pillow and NumPy give the same pixels.
    Raises ValueError for a species other than daisy, dandelion, roses, sunflowers and tulips.
    """
    if species not in SPECIES:
        raise ValueError(f"species={species!r} cannot be drawn: choose one of {', '.join(SPECIES)}")
    side = size * SUPERSAMPLING
    canvas = draw_backdrop(rng, size, side)
    draw = ImageDraw.Draw(canvas)
    direction = rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(direction), math.sin(direction)])
    colour = petal_colour(species, rng)
    draw_clutter(draw, rng, side, int(rng.integers(0, 6)))

    radius = side * (0.35 + 0.6 * rng.random() ** 0.6) / 2
    centre = side * (0.5 + rng.uniform(-0.18, 0.18, 2))
    if rng.random() < 0.25:
        away = rng.uniform(0, 2 * math.pi)
        beside = centre + 1.3 * radius * np.array([math.cos(away), math.sin(away)])
        SPECIES[species](Pen(draw, rng, pose_of(species, rng, beside, 0.5 * radius), light), colour)
    SPECIES[species](Pen(draw, rng, pose_of(species, rng, centre, radius), light), colour)
    if rng.random() < 0.35:
        draw_clutter(draw, rng, side, int(rng.integers(1, 3)))
    return photograph(rng, canvas.reduce(SUPERSAMPLING))


def petal_colour(species: str, rng: np.random.Generator) -> np.ndarray:
    """A colour (3,) of 0..255: any, with a mild liking for those that the species has in a garden."""
    if rng.random() < 0.3:
        return pick(rng, PETAL_COLOURS[list(LIKES[species])])
    return pick(rng, PETAL_COLOURS)


def pose_of(species: str, rng: np.random.Generator, centre: np.ndarray, radius: float) -> Pose:
    """Seen from above at any angle, except for a tulip, which stands upright more or less."""
    tilt = rng.uniform(0, 2 * math.pi)
    if species == "tulips":
        return Pose.turned(centre, radius, rng.normal(0, 0.4), tilt, rng.uniform(0.85, 1))
    return Pose.turned(centre, radius, rng.uniform(0, 2 * math.pi), tilt, rng.uniform(0.65, 1))


def daisy(pen: Pen, colour: np.ndarray) -> None:
    """Many narrow rounded petals around a small raised disc."""
    rng = pen.rng
    stem_and_leaves(pen)
    count, disc = int(rng.integers(13, 22)), rng.uniform(0.22, 0.32)
    outline = petal(rng.uniform(0.5, 0.8), rng.uniform(0.7, 1.0), 0.25)
    angles = even_angles(rng, count)
    lengths = rng.uniform(0.88, 1.0, count)
    widths = np.full(count, rng.uniform(0.85, 1.15) * 1.9 / count)
    pen.petals(ring(outline, angles, lengths, widths, 0.1), colour, core=0.1)
    raised_disc(pen, disc)


def dandelion(pen: Pen, colour: np.ndarray) -> None:
    """Thin rays in many layers up to the middle, with no disc."""
    rng = pen.rng
    stem_and_leaves(pen)
    strap = np.array([(0, 0.5), (0.8, 1), (1, 0.6), (0.95, 0), (1, -0.6), (0.8, -1), (0, -0.5)])
    thin = rng.uniform(0.02, 0.03)
    for reach, count in ((1.0, 34), (0.84, 32), (0.66, 28), (0.48, 22), (0.3, 14)):
        angles = even_angles(rng, count)
        lengths = reach * rng.uniform(0.8, 1.0, count)
        pen.petals(ring(strap, angles, lengths, np.full(count, thin), 0.0), colour * (1.12 - 0.24 * reach), edge=0.2)


def rose(pen: Pen, colour: np.ndarray) -> None:
    """Broad petals that overlap in a spiral, closing towards the middle."""
    rng = pen.rng
    stem_and_leaves(pen)
    count = int(rng.integers(15, 21))
    turn = rng.uniform(0, 2 * math.pi)
    for step in range(count):
        out = 1 - step / count
        centre = 0.5 * out * np.array([math.cos(turn), math.sin(turn)])
        outline = blob(rng, 0.08) @ np.array([(1.0, 0), (0, 0.8)]) * (0.1 + 0.42 * out)
        points = outline @ rotation(turn + math.pi / 2).T + centre  # its long side across the way out
        pen.petals(points[None], colour * (0.66 + 0.4 * out), core=-0.2)
        turn += GOLDEN_ANGLE


def sunflower(pen: Pen, colour: np.ndarray) -> None:
    """Pointed petals in two rings around a big dark disc, its seeds in golden spirals."""
    rng = pen.rng
    stem_and_leaves(pen)
    count, disc = int(rng.integers(15, 24)), rng.uniform(0.46, 0.6)
    outline = petal(rng.uniform(0.3, 0.5), 0.0, 0.5)
    for reach, tone in ((1.0, 0.82), (0.9, 1.0)):
        angles = even_angles(rng, count)
        widths = np.full(count, rng.uniform(2.2, 2.9) / count)
        pen.petals(ring(outline, angles, reach * rng.uniform(0.88, 1, count), widths, 0.3), colour * tone, core=0.08)
    seed_disc(pen, disc)


def tulip(pen: Pen, colour: np.ndarray) -> None:
    """A cup from the side: petals that overlap, on a stem with long leaves."""
    rng = pen.rng
    sway = rng.uniform(-0.5, 0.5)
    green = pick(rng, GREENS)
    foot = np.array([sway, 4.0])
    for side in rng.choice([-1, 1], int(rng.integers(1, 4))):
        root, tip = np.array([sway * 0.6, 3.2]), np.array([side * rng.uniform(0.5, 1.5), rng.uniform(0.3, 1.6)])
        leaf = blade(root, tip, side * rng.uniform(0.05, 0.3), rng.uniform(0.3, 0.6))
        pen.polygon(leaf, green * rng.uniform(0.8, 1.1))
    pen.polygon(blade(np.array([0, 0.7]), foot, sway * 0.2, rng.uniform(0.12, 0.2), taper=False), green * 1.1)
    spread, height, belly = rng.uniform(0.3, 0.8), rng.uniform(0.8, 1.0), rng.uniform(0.55, 0.8)
    for place, width, rise, tone in CUP:
        tip = np.array([place * spread, -height * rise + rng.uniform(-0.07, 0.07)])
        pen.petals(cup_petal(tip, place * belly, width * belly)[None], colour * tone, core=0.1)


def cup_petal(tip: np.ndarray, lean: float, width: float) -> np.ndarray:
    """A petal (16, 2) from the foot of the cup at (0, 0.8) up to its tip, its belly moved sideways by `lean`."""
    sides = [
        bezier(np.array([(0, 0.8), (0.6 * lean + 1.2 * reach, 0.9), (lean + reach, -0.3), tip]), 8)
        for reach in (-width, width)
    ]
    return np.concatenate([sides[0], sides[1][::-1]])


def even_angles(rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` angles around the circle, nearly even, in random order so that no petal always lies on top."""
    step = 2 * math.pi / count
    return rng.permutation(count) * step + rng.uniform(0, 2 * math.pi) + rng.normal(0, 0.12 * step, count)


def raised_disc(pen: Pen, radius: float) -> None:
    """A dome: rings that grow lighter towards the light, under grains of pollen."""
    colour = pick(pen.rng, DISC_COLOURS)
    towards = np.linalg.solve(pen.pose.matrix, pen.light)
    towards /= np.linalg.norm(towards)
    outline = radius * blob(pen.rng, 0.03)
    for step in range(4):
        pen.polygon(outline * (1 - 0.22 * step) + 0.08 * step * radius * towards, colour * (0.7 + 0.14 * step))
    grains = seeds(24, radius * 0.9)
    pen.dots(grains, 0.09 * radius, colour * pen.rng.uniform(0.7, 1.3, (24, 1)))


def seed_disc(pen: Pen, radius: float) -> None:
    """A flat dark disc whose seeds lie on golden spirals."""
    colour = pick(pen.rng, SEED_COLOURS, 12)
    pen.polygon(radius * blob(pen.rng, 0.03), colour * 0.7)
    heart = radius * pen.rng.uniform(0.3, 0.6)
    pen.polygon(heart * blob(pen.rng, 0.05), colour * pen.rng.uniform(0.5, 1.2))
    pen.dots(seeds(80, radius), 0.07 * radius, colour * pen.rng.uniform(0.8, 1.9, (80, 1)))


def seeds(count: int, radius: float) -> np.ndarray:
    """`count` points (count, 2), evenly spread over a disc as the seeds of a flower head are."""
    number = np.arange(count)
    distance, angle = radius * np.sqrt((number + 0.5) / count), number * GOLDEN_ANGLE
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=-1)


def stem_and_leaves(pen: Pen) -> None:
    """What is seen beneath a flower from above: sometimes a stem, up to four leaves."""
    rng = pen.rng
    green = pick(rng, GREENS)
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * math.pi)
        end = 3.5 * np.array([math.cos(angle), math.sin(angle)])
        pen.polygon(blade(np.zeros(2), end, rng.uniform(-0.2, 0.2), rng.uniform(0.1, 0.18), taper=False), green)
    count = int(rng.integers(0, 5))
    if count:
        outline = petal(rng.uniform(0.3, 0.6), rng.uniform(0, 0.4), 0.1)
        lengths, widths = rng.uniform(1.0, 1.7, count), rng.uniform(0.12, 0.35, count)
        pen.petals(ring(outline, rng.uniform(0, 2 * math.pi, count), lengths, widths, 0.0), green, core=0.08)


SPECIES = {"daisy": daisy, "dandelion": dandelion, "roses": rose, "sunflowers": sunflower, "tulips": tulip}
