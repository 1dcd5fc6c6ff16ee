"""What several tests of data sets share."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def pets_folder(working_directory) -> Path:
    """Three classes of 2, 4 and 6 pictures, of one colour each."""
    for label, (name, count) in enumerate(dict(cat=2, dog=4, emu=6).items()):
        for number in range(count):
            file = working_directory / "pets" / name / f"{number} ü.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (5, 4), (label, number, 0)).save(file)
    return working_directory / "pets"
