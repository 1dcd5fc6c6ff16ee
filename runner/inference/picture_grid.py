"""A sheet of small pictures with what was predicted for each, and what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

SIDE, GAP, LINE, SIZE = 168, 14, 19, 15  # of a picture; between two; from one line of text to the next; of its letters
INK, RED, FAINT, PAPER = "#1f2733", "#c81e1e", "#5b6673", "#ffffff"

# Pillow finds these by name in the folders of the system. The first ones have Chinese.
SYSTEM_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "SourceHanSansSC-Regular.otf"),  # Linux
    *("wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf"),
    *("msyh.ttc", "simhei.ttf", "simsun.ttc"),  # Windows
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Medium.ttc", "Arial Unicode.ttf"),  # macOS
    "DejaVuSans.ttf",
)


class Cell(NamedTuple):
    """One picture of the sheet: `wrong` puts what is said of it in red."""

    picture: Image.Image
    predicted: str
    truth: str
    wrong: bool


def small(picture: Image.Image) -> Image.Image:
    """A copy that fits into a cell, its sides in proportion; what is smaller is enlarged with its pixels visible."""
    scale = SIDE / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    return picture.convert("RGB").resize((size[0], size[1]), method)


def writable_names(names: Sequence[str]) -> tuple[Any, list[str]]:
    """A font for the names of the classes, and the names as it can write them: one with a letter that no font here has
    becomes "class 7", by its number.

    Pillow's own font is taken if it has all the letters, which it has of English, else the best of the system's.
    """
    letters = {letter for name in names for letter in name if not letter.isspace()}
    best, best_lacking = ImageFont.load_default(SIZE), letters
    for file in (None, *SYSTEM_FONTS):
        try:
            font = ImageFont.truetype(file, SIZE) if file else best
        except OSError:
            continue
        lacking = {letter for letter in letters if not _has(font, letter)}
        if len(lacking) < len(best_lacking):
            best, best_lacking = font, lacking
        if not best_lacking:
            break
    return best, [name if best_lacking.isdisjoint(name) else f"class {number}" for number, name in enumerate(names)]


def _has(font: Any, letter: str) -> bool:
    # A font draws the same thing, often a box, for every letter that it does not have; no font has the last one of all.
    return bytes(font.getmask(letter)) != bytes(font.getmask("\U0010ffff"))


def draw_grid(cells: Sequence[Cell], font: Any, columns: int = 8) -> Image.Image:
    """The sheet, in rows of at most `columns` pictures."""
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    step_x, step_y = SIDE + GAP, SIDE + 2 * LINE + GAP
    sheet = Image.new("RGB", (GAP + columns * step_x, GAP + rows * step_y), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, cell in enumerate(cells):
        x, y = GAP + number % columns * step_x, GAP + number // columns * step_y
        picture = small(cell.picture)
        sheet.paste(picture, (x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
        if cell.wrong:
            pen.rectangle((x - 3, y - 3, x + SIDE + 2, y + SIDE + 2), outline=RED, width=3)
        pen.text((x, y + SIDE + 3), _shorten(cell.predicted, font), fill=RED if cell.wrong else INK, font=font)
        pen.text((x, y + SIDE + 3 + LINE), _shorten(cell.truth, font), fill=RED if cell.wrong else FAINT, font=font)
    return sheet


def _shorten(text: str, font: Any) -> str:
    """The text on one line, or as much of its beginning as a cell is wide."""
    text = " ".join(text.split())
    if font.getlength(text) <= SIDE:
        return text
    while text and font.getlength(text + "...") > SIDE:
        text = text[:-1]
    return text + "..."
