"""Lets tests import `benchmarks`, which is no part of what is installed."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Not by the root in sys.path: there our folder `datasets` would go for the package of that name.
spec = spec_from_file_location("benchmarks", ROOT / "benchmarks/__init__.py")
assert spec is not None
sys.modules.setdefault("benchmarks", module_from_spec(spec))


@pytest.fixture
def importable_by_children(monkeypatch):
    """Processes that the test starts find `benchmarks` too."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
