"""The outlines that flowers and scenes are drawn from, and the pen that puts them on a canvas.

A shape is an array of points (N, 2), x to the right and y down, in flower units: the flower's outer radius is 1.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))  # the turn from one seed to the next in a real flower head


def ink(colour: np.ndarray) -> tuple[int, int, int]:
    """Three floats around 0..255 as the clipped integers that Pillow draws with."""
    red, green, blue = colour
    return (
        min(max(int(red), 0), 255),
        min(max(int(green), 0), 255),
        min(max(int(blue), 0), 255),
    )


def mix(first: np.ndarray, second: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Colours that are `share` (0..1) of the way from the first to the second."""
    return first + (second - first) * share


def bezier(controls: np.ndarray, samples: int) -> np.ndarray:
    """`samples` points (samples, 2) along the Bezier curve of the control points (degree + 1, 2)."""
    degree = len(controls) - 1
    time = np.linspace(0, 1, samples)[:, None]
    curve = np.zeros((samples, 2))
    for index, control in enumerate(controls):
        curve += math.comb(degree, index) * time**index * (1 - time) ** (degree - index) * control
    return curve


def petal(belly: float, tip: float, base: float = 0.3, samples: int = 7) -> np.ndarray:
    """A petal along +x from 0 to 1, its widest half width 1: (2 * samples, 2).

    `belly` (0..1) says how far out it is widest, `tip` goes from 0, a point, to 1, a broad round end.
    """
    half = bezier(np.array([(0, base), (belly, 1.5), (0.75 + 0.25 * tip, 1.3 * tip), (1, 0)]), samples)
    half[:, 1] /= half[:, 1].max()
    return np.concatenate([half, half[::-1] * (1, -1)])


def ring(outline: np.ndarray, angles: np.ndarray, lengths: np.ndarray, widths: np.ndarray, inner: float) -> np.ndarray:
    """Copies (K, N, 2) of an outline (N, 2) around the origin, each from radius `inner` out to its own length."""
    along = inner + outline[None, :, 0] * (lengths - inner)[:, None]
    across = outline[None, :, 1] * widths[:, None]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    return np.stack([along * cos - across * sin, along * sin + across * cos], axis=-1)


def blob(rng: np.random.Generator, wobble: float, samples: int = 16) -> np.ndarray:
    """An irregular closed curve of radius about 1, its radius a sum of three waves of size `wobble`."""
    angle = np.linspace(0, 2 * math.pi, samples, endpoint=False)
    radius = np.ones(samples)
    for waves, phase in zip((2, 3, 5), rng.uniform(0, 2 * math.pi, 3), strict=True):
        radius += wobble * np.cos(waves * angle + phase) / 2
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def blade(start: np.ndarray, end: np.ndarray, bend: float, width: float, taper: bool = True) -> np.ndarray:
    """A curved strip from start to end: (16, 2). `bend` bows it sideways, as a share of its length."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    side = np.array([start[1] - end[1], end[0] - start[0]])
    spine = bezier(np.array([start, (start + end) / 2 + bend * side, end]), 8)
    half = width / 2 * (np.linspace(1, 0.05, 8) if taper else np.ones(8))
    offset = half[:, None] * side / (np.linalg.norm(side) + 1e-9)
    return np.concatenate([spine + offset, (spine - offset)[::-1]])


@dataclass(frozen=True)
class Pose:
    """Where a flower stands: flower units times `matrix` (2, 2) plus `centre` (2,) are canvas pixels."""

    matrix: np.ndarray
    centre: np.ndarray

    def place(self, points: np.ndarray) -> np.ndarray:
        return points @ self.matrix.T + self.centre

    @classmethod
    def turned(cls, centre: np.ndarray, radius: float, spin: float, tilt: float, squash: float) -> "Pose":
        """Spun by `spin` in its own plane, then squashed (1 is face on) along the direction `tilt`; in radians."""
        squashed = rotation(tilt) @ np.diag([squash, 1.0]) @ rotation(spin - tilt)
        return cls(radius * squashed, np.asarray(centre, float))


def rotation(angle: float) -> np.ndarray:
    return np.array([(math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))])


class Pen:
    """Draws shapes in flower units through a pose. `light` (2,) is the direction of the sun on the canvas."""

    def __init__(self, draw: ImageDraw.ImageDraw, rng: np.random.Generator, pose: Pose, light: np.ndarray) -> None:
        self.draw = draw
        self.rng = rng
        self.pose = pose
        self.light = light

    def polygon(self, points: np.ndarray, colour: np.ndarray) -> None:
        self.draw.polygon(self.pose.place(points).ravel().tolist(), fill=ink(colour))

    def petals(self, shapes: np.ndarray, colour: np.ndarray, core: float = 0.0, edge: float = 0.3) -> None:
        """Fills each of the shapes (K, N, 2), brighter the more it lies towards the light, its edge darker by `edge`.

        With `core` each gets a smaller shape inside, lighter (above 0) or darker (below 0) by that share.
        """
        placed = self.pose.place(shapes)
        outward = placed.mean(axis=1) - self.pose.centre
        outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9
        tones = 1 + 0.18 * outward @ self.light + self.rng.normal(0, 0.06, len(shapes))
        inner = placed[:, :1] + (placed - placed[:, :1]) * 0.72
        inner += (placed.mean(axis=1) - inner.mean(axis=1))[:, None] * 0.6
        for points, core_points, tone in zip(placed, inner, tones, strict=True):
            self.draw.polygon(points.ravel().tolist(), fill=ink(colour * tone), outline=ink(colour * (tone - edge)))
            if core:
                self.draw.polygon(core_points.ravel().tolist(), fill=ink(colour * (tone + core)))

    def dots(self, points: np.ndarray, radius: float, colours: np.ndarray) -> None:
        """Round dots at the points (K, 2), of `radius` flower units, each of its own colour (K, 3)."""
        reach = max(radius * abs(np.linalg.det(self.pose.matrix)) ** 0.5, 0.5)
        for (x, y), colour in zip(self.pose.place(points).tolist(), colours, strict=True):
            self.draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=ink(colour))
