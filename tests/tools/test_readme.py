"""The README is true: its model trains by its command, its errors are what is printed, its files are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
SMALL = ["train.dataset.datasets.2.images=64", "evaluation.val.dataset.datasets.2.images=20", "duration=2"]


def blocks(language: str, text: str = README) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [content for name, content in fenced if name == language]


def run(command: str, *more: str) -> subprocess.CompletedProcess[str]:
    """A command of the README, with this Python, away from the repository."""
    words = [str(ROOT / word) if word.startswith(("tools/", "configs/")) else word for word in command.split()]
    assert words.pop(0) == "python"
    return subprocess.run([sys.executable, *words, *more], capture_output=True, text=True, timeout=250)


def test_your_own_model_in_twenty_lines():
    block = next(block for block in blocks("python") if block.startswith("# models/backbones/my_net.py"))
    command = next(block for block in blocks("bash") if "MyNet" in block).strip()
    file = ROOT / "models/backbones/my_net.py"
    assert not file.exists()
    file.write_text(block)
    try:
        done = run(command, "--work-dir", "run", *SMALL)
    finally:
        file.unlink()
    assert done.returncode == 0, done.stderr
    assert "train data: drawn flowers" in done.stdout
    lines = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 20
    assert block in CHINESE or block.splitlines()[-1] in CHINESE


def test_the_printed_mistakes():
    shown = next(block for block in blocks("") if block.startswith("$ python"))
    command, _, output = shown.partition("\n")
    done = run(command.removeprefix("$ "))
    assert done.stderr == output


@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
def test_links_lead_somewhere(text):
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in target or (ROOT / target).exists(), target


@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
def test_the_two_commands_are_there(text):
    assert "pip install -e . && python tools/train.py configs/resnet34_flowers.py" in text
    assert 'pip install -e ".[dev]" && pytest' in text
