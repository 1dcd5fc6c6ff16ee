"""A torch with a known hole is named once, before a file is read that anyone may have made."""

from __future__ import annotations

import logging

import pytest
import torch
from torch.torch_version import TorchVersion

from knoll.registry import UserError
from knoll.runner import Runner, Trained
from knoll.runner.saving import known_holes


@pytest.fixture
def warned(monkeypatch):
    """What is warned of, with the version that a test gives."""
    lines = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    def warn(version: str) -> list[str]:
        monkeypatch.setattr(torch, "__version__", TorchVersion(version))
        known_holes.warn_of_known_holes.cache_clear()
        lines.clear()
        known_holes.warn_of_known_holes()
        known_holes.warn_of_known_holes()
        return list(lines)

    warn.lines = lines
    handler = Lines(logging.WARNING)
    known_holes.logger.addHandler(handler)
    yield warn
    known_holes.logger.removeHandler(handler)
    known_holes.warn_of_known_holes.cache_clear()


@pytest.mark.parametrize("version", ["2.6.0", "2.9.1", "2.9.1+cu128", "2.10.0a0+git1234567"])
def test_torch_below_the_mended_version(warned, version):
    (line,) = warned(version)
    assert f"torch {version}" in line
    assert "CVE-2026-24747" in line
    assert 'pip install "torch>=2.10"' in line
    assert "\n" not in line


@pytest.mark.parametrize("version", ["2.10.0", "2.10.0+cpu", "2.11.0.dev20260101", "2.15.0", "3.0.0"])
def test_torch_from_it_on(warned, version):
    assert warned(version) == []


def test_it_is_in_the_log_of_a_run_and_before_a_checkpoint_is_read(warned, tiny, capsys):
    warned("2.9.1")
    known_holes.warn_of_known_holes.cache_clear()
    capsys.readouterr()
    runner = Runner({**tiny, "duration": 1}, "run")
    runner.train()
    assert (runner.work_dir / "log.txt").read_text().count("CVE-2026-24747") == 1
    assert capsys.readouterr().out.count("CVE-2026-24747") == 1

    known_holes.warn_of_known_holes.cache_clear()
    warned.lines.clear()
    with pytest.raises(UserError):
        Trained("none.pt")
    assert len(warned.lines) == 1
