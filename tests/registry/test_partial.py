"""What killed processes left half made goes, and nothing that may be in use."""

from __future__ import annotations

import os
import time

from knoll.registry.partial import partial_folder


def test_what_is_left_of_the_same_name_goes_after_a_day(working_directory):
    hour = 3600
    ages = {
        ".x[1].pth.a.partial": 25 * hour,
        ".x[1].pth.b.partial": 23 * hour,
        ".x1.pth.c.partial": 25 * hour,
        "x[1].pth.d.partial": 25 * hour,
    }
    for name, age in ages.items():
        (working_directory / name).mkdir()
        (working_directory / name / "half").write_bytes(b"...")
        os.utime(working_directory / name, (time.time() - age, time.time() - age))
    with partial_folder(working_directory / "x[1].pth") as folder:
        assert folder.parent == working_directory
        assert {each.name for each in working_directory.iterdir()} == {*list(ages)[1:], folder.name}
    assert {each.name for each in working_directory.iterdir()} == set(list(ages)[1:])
