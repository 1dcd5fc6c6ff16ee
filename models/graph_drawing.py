"""A model's graph as an SVG picture: a column of boxes, and beside it the connections that skip some of them."""

from __future__ import annotations

from html import escape

from .graph import Box, Graph

HEIGHT, GAP, MARGIN = 40, 22, 24  # of a box; between two; around all. In pixels, as all lengths here
LANE, FIRST_LANE, CORNER = 16, 26, 10  # between two connections; from the boxes to the first; radius of a bend
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
LARGE, SMALL, TITLE = 13, 11, 15  # sizes of type
LETTER = 0.62  # the width of a letter of these fonts, over its size

# The first of these words that is in a type's name gives the box its colour.
COLOURS = {
    "conv": "#cfe2f8",
    "norm": "#d6efd3",
    "pool": "#e3d7f4",
    "linear": "#f9d5d0",
    "drop": "#e9e9e9",
    **dict.fromkeys(("relu", "gelu", "silu", "swish", "tanh", "sigmoid", "softmax"), "#fdebc0"),
}
MODULE, FUNCTION, INPUT = "#dfe6ee", "#ffffff", "#3d4a5c"


def draw(graph: Graph, title: str) -> str:
    """The picture as SVG text.

    Every box is `<g class="box">` and every connection `<path class="edge" data-from="3" data-to="7">`, with the boxes'
    positions from 0 on.
    """
    width = max(_text_width(box) for box in graph.boxes)
    skips = [edge for edge in graph.edges if edge[1] != edge[0] + 1]
    lanes = _lanes(skips)
    lane_count = max(lanes.values(), default=-1) + 1
    full_width = 2 * MARGIN + width + (FIRST_LANE + LANE * lane_count if lanes else 0)
    full_height = _top(len(graph.boxes)) - GAP + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{full_width}" height="{full_height}" '
        f'viewBox="0 0 {full_width} {full_height}" font-family="{escape(FONT)}">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0.5 L8 4 L0 7.5 z" fill="#66717f"/></marker></defs>',
        f'<rect width="{full_width}" height="{full_height}" fill="#fcfcfd"/>',
        f'<text x="{MARGIN}" y="{MARGIN + TITLE - 2}" font-size="{TITLE}" font-weight="bold" fill="#1f2733">'
        f"{escape(title)}</text>",
        '<g fill="none" stroke="#66717f" stroke-width="1.4">',
        *(_edge(edge, lanes, width) for edge in graph.edges),
        "</g>",
        *(_box(number, box, width) for number, box in enumerate(graph.boxes)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _top(number: int) -> int:
    return MARGIN + TITLE + 18 + number * (HEIGHT + GAP)


def _text_width(box: Box) -> int:
    """What a box must be wide for: its type and shape above, its name below."""
    above = LARGE * (len(box.type) + 3) + SMALL * len(box.shape)
    return round(LETTER * max(above, SMALL * len(box.name))) + 24


def _lanes(skips: list[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """For each connection the nearest lane that no other one occupies beside the same boxes; short ones first."""
    lanes: dict[tuple[int, int], int] = {}
    for start, end in sorted(skips, key=lambda edge: (edge[1] - edge[0], edge)):
        taken = {lane for other, lane in lanes.items() if other[0] < end and start < other[1]}
        lanes[start, end] = next(lane for lane in range(len(taken) + 1) if lane not in taken)
    return lanes


def _edge(edge: tuple[int, int], lanes: dict[tuple[int, int], int], width: int) -> str:
    start, end = edge
    if edge in lanes:
        right, out = MARGIN + width, MARGIN + width + FIRST_LANE + LANE * lanes[edge]
        # Below the middle where it leaves, above it where it arrives: so two that meet at a box stay apart.
        y0, y1 = _top(start) + HEIGHT * 0.7, _top(end) + HEIGHT * 0.3
        path = (
            f"M{right} {y0:g} H{out - CORNER} Q{out} {y0:g} {out} {y0 + CORNER:g} "
            f"V{y1 - CORNER:g} Q{out} {y1:g} {out - CORNER} {y1:g} H{right + 1}"
        )
    else:
        middle = MARGIN + width / 2
        path = f"M{middle:g} {_top(start) + HEIGHT} V{_top(end) - 1}"
    return f'<path class="edge" data-from="{start}" data-to="{end}" d="{path}" marker-end="url(#tip)"/>'


def _box(number: int, box: Box, width: int) -> str:
    top, is_input = _top(number), number == 0
    ink, faint = ("#ffffff", "#d5dbe3") if is_input else ("#1f2733", "#5b6673")
    above = top + (17 if box.name else 25)
    left, right = f'<text x="{MARGIN + 12}"', f'<text x="{MARGIN + width - 12}" text-anchor="end"'
    rectangle = f'<rect x="{MARGIN}" y="{top}" width="{width}" height="{HEIGHT}"'
    parts = [
        f'<g class="box"><title>{escape(box.name or box.type)}</title>',
        f'{rectangle} rx="{6 if box.is_module else HEIGHT // 2}" fill="{_colour(box, is_input)}" stroke="#8b97a6"/>',
        f'{left} y="{above}" font-size="{LARGE}" font-weight="bold" fill="{ink}">{escape(box.type)}</text>',
        f'{right} y="{above}" font-size="{SMALL}" fill="{faint}">{escape(box.shape)}</text>',
    ]
    if box.name:
        parts.append(f'{left} y="{top + 32}" font-size="{SMALL}" fill="{faint}">{escape(box.name)}</text>')
    return "".join([*parts, "</g>"])


def _colour(box: Box, is_input: bool) -> str:
    if is_input:
        return INPUT
    words = (colour for word, colour in COLOURS.items() if word in box.type.lower())
    return next(words, MODULE if box.is_module else FUNCTION)
