from __future__ import annotations

import pytest
from PIL import Image, ImageFont

from knoll.runner.inference import picture_grid
from knoll.runner.inference.picture_grid import SIDE, Cell, draw_grid, small, writable_names

PAPER, RED = (255, 255, 255), (200, 30, 30)


def colours(picture: Image.Image) -> set:
    return {colour for _, colour in picture.getcolors(maxcolors=100_000)}


def has_font(name: str) -> bool:
    try:
        ImageFont.truetype(name, 12)
    except OSError:
        return False
    return True


def test_english_needs_no_font_of_the_system(monkeypatch):
    monkeypatch.setattr(picture_grid, "SYSTEM_FONTS", ("none.ttf",))
    font, names = writable_names(["daisy", "black-eyed Susan"])
    assert font.getname() == ImageFont.load_default(12).getname()
    assert names == ["daisy", "black-eyed Susan"]


@pytest.mark.skipif(not has_font("DejaVuSans.ttf"), reason="no DejaVu Sans here")
def test_a_font_of_the_system_has_other_letters(monkeypatch):
    monkeypatch.setattr(picture_grid, "SYSTEM_FONTS", ("none.ttf", "DejaVuSans.ttf"))
    font, names = writable_names(["ромашка", "rose"])
    assert font.getname()[0] == "DejaVu Sans"
    assert names == ["ромашка", "rose"]


def test_a_name_without_a_font_becomes_its_number(monkeypatch):
    monkeypatch.setattr(picture_grid, "SYSTEM_FONTS", ())
    assert writable_names(["rose", "雏菊", "蒲公英"])[1] == ["rose", "class 1", "class 2"]


SHOWN = [((400, 200), (SIDE, SIDE // 2)), ((21, 28), (126, SIDE)), ((1, 999), (1, SIDE))]


@pytest.mark.parametrize(("size", "shown"), SHOWN)
def test_small_keeps_the_sides_in_proportion(size, shown):
    assert small(Image.new("L", size)).size == shown


def test_the_sheet():
    font = ImageFont.load_default(15)
    blue = Image.new("RGB", (30, 30), "blue")
    cells = [Cell(blue, "a name that is much longer than a picture is wide", "true: b", wrong=n == 1) for n in range(3)]
    sheet = draw_grid(cells, font, columns=2)
    step_x, step_y = SIDE + 14, SIDE + 2 * 19 + 14
    assert sheet.size == (14 + 2 * step_x, 14 + 2 * step_y)
    for number, (x, y) in enumerate([(14, 14), (14 + step_x, 14), (14, 14 + step_y)]):
        assert sheet.getpixel((x + SIDE // 2, y + SIDE // 2)) == (0, 0, 255)
        assert sheet.getpixel((x - 2, y - 2)) == (RED if number == 1 else PAPER)
        # The text ends where the picture does.
        beside = sheet.crop((x + SIDE + 4, y, x + SIDE + 10, y + step_y - 16))
        assert colours(beside) == {PAPER}
        assert colours(sheet.crop((x, y + SIDE + 4, x + SIDE, y + SIDE + 18))) != {PAPER}
    assert colours(sheet.crop((14 + step_x, 14 + step_y, *sheet.size))) == {PAPER}
