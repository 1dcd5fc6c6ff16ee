"""What stands around a drawn flower: the backdrop, the clutter, the light and the camera's faults."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .drawing_shapes import blade, blob, ink, mix, petal, ring

WHITE = np.array([255.0, 255, 255])
# Any species may have any of these: the colour of the petals must not tell which it is.
PETAL_COLOURS = np.array(
    [
        (244, 242, 236),  # white
        (250, 214, 50),  # yellow
        (240, 140, 170),  # pink
        (212, 40, 48),  # red
        (246, 140, 40),  # orange
        (160, 90, 200),  # purple
        (248, 200, 160),  # apricot
    ],
    dtype=float,
)
GREENS = np.array([(70, 120, 45), (110, 150, 60), (50, 90, 50), (140, 160, 80), (80, 130, 90)], dtype=float)
EARTHS = np.array([(110, 80, 55), (80, 60, 45), (150, 125, 95), (120, 110, 100)], dtype=float)


def pick(rng: np.random.Generator, colours: np.ndarray, spread: float = 18.0) -> np.ndarray:
    """One of the colours (K, 3), shifted at random by about `spread` of 255 in each channel."""
    return colours[rng.integers(len(colours))] + rng.normal(0, spread, 3)


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Noise (size, size, 1) in about 0..1 whose features are 1 / cells of the side."""
    grid = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC), np.float32)[:, :, None] / 255


def ramp(size: int, angle: float) -> np.ndarray:
    """A plane (size, size, 1) that rises from about 0 to about 1 along the direction `angle`."""
    line = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    return (0.5 + math.cos(angle) * line[None, :] + math.sin(angle) * line[:, None])[:, :, None]


def sky(rng: np.random.Generator, size: int) -> Image.Image:
    high = pick(rng, np.array([(90, 150, 220), (150, 180, 210), (60, 90, 150), (200, 205, 210), (230, 160, 120)]))
    low = mix(high, WHITE, rng.uniform(0.1, 0.7))
    clouds = smooth_noise(rng, int(rng.integers(3, 7)), size) * rng.uniform(0, 0.8)
    return as_image(mix(mix(high, low, ramp(size, math.pi / 2)), WHITE, clouds))


def grass(rng: np.random.Generator, size: int) -> Image.Image:
    ground = mix(pick(rng, GREENS) * 0.7, pick(rng, GREENS), smooth_noise(rng, 5, size))
    image = as_image(ground)
    draw = ImageDraw.Draw(image)
    roots = rng.uniform(0, size, (40, 2))
    tips = roots + rng.normal(0, 0.12 * size, (40, 2)) - (0, 0.15 * size)
    for root, tip in zip(roots.tolist(), tips.tolist(), strict=True):
        draw.line((*root, *tip), fill=ink(pick(rng, GREENS, 25)), width=max(1, size // 40))
    return image


def soil(rng: np.random.Generator, size: int) -> Image.Image:
    grain = 0.5 * smooth_noise(rng, 5, size) + 0.5 * smooth_noise(rng, size // 3, size)
    return as_image(mix(pick(rng, EARTHS) * 0.6, pick(rng, EARTHS) * 1.2, grain))


def wall(rng: np.random.Generator, size: int) -> Image.Image:
    plaster = rng.uniform(60, 220) + rng.normal(0, 20, 3)
    image = as_image(plaster * (0.85 + 0.3 * smooth_noise(rng, 8, size)))
    draw = ImageDraw.Draw(image)
    joint = ink(plaster * rng.uniform(0.6, 1.3))
    row, course = int(rng.integers(0, size // 6)), max(4, size // int(rng.integers(4, 9)))
    for count, top in enumerate(range(row, size, course)):
        draw.line((0, top, size, top), fill=joint)
        for left in range(count % 2 * course, size, 2 * course):
            draw.line((left, top, left, top + course), fill=joint)
    return image


def bokeh(rng: np.random.Generator, size: int) -> Image.Image:
    grid = mix(rng.uniform(20, 230, 3), rng.uniform(20, 230, 1), 0.4) + rng.normal(0, 35, (5, 5, 3))
    return as_image(grid).resize((size, size), Image.Resampling.BICUBIC)


def gradient(rng: np.random.Generator, size: int) -> Image.Image:
    first, second = mix(rng.uniform(0, 255, (2, 3)), rng.uniform(0, 255, (2, 1)), 0.4)
    return as_image(mix(first, second, ramp(size, rng.uniform(0, 2 * math.pi))))


BACKDROPS = (sky, grass, soil, wall, bokeh, gradient)


def as_image(pixels: np.ndarray) -> Image.Image:
    """Pixels (H, W, 3) in about 0..255 as an RGB image."""
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw_backdrop(rng: np.random.Generator, size: int, side: int) -> Image.Image:
    """A background (side x side), out of focus: drawn at `size`, with soft spots in petal colours, and enlarged."""
    image = BACKDROPS[rng.integers(len(BACKDROPS))](rng, size)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 6)):
        x, y = rng.uniform(0, size, 2)
        radius = rng.uniform(0.03, 0.16) * size
        colour = pick(rng, PETAL_COLOURS if rng.random() < 0.6 else GREENS) * rng.uniform(0.5, 1.1)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink(colour))
    if rng.random() < 0.8:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.01, 0.06) * size))
    return image.resize((side, side), Image.Resampling.BILINEAR)


def leaf(draw: ImageDraw.ImageDraw, rng: np.random.Generator, start: np.ndarray, length: float) -> None:
    """A leaf of `length` pixels that grows from the pixel `start` in any direction."""
    angle = rng.uniform(0, 2 * math.pi)
    outline = petal(rng.uniform(0.2, 0.6), rng.uniform(0, 0.5), 0.1)
    width = length * rng.uniform(0.12, 0.3)
    points = ring(outline, np.array([angle]), np.array([length]), np.array([width]), 0.0)[0] + start
    colour = pick(rng, GREENS)
    draw.polygon(points.ravel().tolist(), fill=ink(colour))
    tip = start + 0.9 * length * np.array([math.cos(angle), math.sin(angle)])
    draw.line((*start.tolist(), *tip.tolist()), fill=ink(colour * 1.25), width=2)


def grass_blade(draw: ImageDraw.ImageDraw, rng: np.random.Generator, start: np.ndarray, length: float) -> None:
    tip = start + rng.normal(0, 0.5, 2) * length - (0, length)
    strip = blade(start, tip, rng.uniform(-0.3, 0.3), length * rng.uniform(0.04, 0.12))
    draw.polygon(strip.ravel().tolist(), fill=ink(pick(rng, GREENS)))


def stone(draw: ImageDraw.ImageDraw, rng: np.random.Generator, start: np.ndarray, length: float) -> None:
    points = blob(rng, 0.2) * length * rng.uniform(0.15, 0.3) * (1, rng.uniform(0.5, 0.9))
    grey = rng.uniform(70, 210) + rng.normal(0, 10, 3)
    draw.polygon((points + start).ravel().tolist(), fill=ink(grey * 0.75))
    draw.polygon((points * 0.8 + start - 0.03 * length).ravel().tolist(), fill=ink(grey))


def twig(draw: ImageDraw.ImageDraw, rng: np.random.Generator, start: np.ndarray, length: float) -> None:
    angle = rng.uniform(0, 2 * math.pi)
    end = start + 1.5 * length * np.array([math.cos(angle), math.sin(angle)])
    strip = blade(start, end, rng.uniform(-0.15, 0.15), length * 0.06)
    draw.polygon(strip.ravel().tolist(), fill=ink(pick(rng, EARTHS)))


CLUTTER = (leaf, grass_blade, stone, twig)


def draw_clutter(draw: ImageDraw.ImageDraw, rng: np.random.Generator, side: int, count: int) -> None:
    """`count` leaves, blades, stones and twigs anywhere on a canvas of side x side pixels."""
    for _ in range(count):
        thing = CLUTTER[rng.integers(len(CLUTTER))]
        thing(draw, rng, rng.uniform(0, side, 2), side * rng.uniform(0.15, 0.45))


def photograph(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """The finished scene as a camera sees it: light from one side, a tint, slight blur and noise."""
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.1, 0.4) * image.width / 72))
    pixels = np.asarray(image, np.float32)
    fall = rng.uniform(0, 0.6) * (ramp(image.width, rng.uniform(0, 2 * math.pi)) - 0.5)
    tint = rng.uniform(0.65, 1.2) * rng.normal(1, 0.05, 3).astype(np.float32)
    noise = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0, 6)
    return as_image(pixels * (1 + fall) * tint + noise)
