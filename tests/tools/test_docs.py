"""The pages in docs/ are true: their commands are understood, their links lead somewhere, the job for SLURM runs."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md"))}


def blocks(page: str, language: str = "bash") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """The lines that call a tool, once each."""
    lines = [line for page in PAGES for block in blocks(page) for line in block.replace("\\\n", "").splitlines()]
    return list(
        # The quote that a `bash -c '` before it has opened is not of the command.
        dict.fromkeys(found[1] for line in lines if (found := re.search(r"(python tools/[^#]*?)'? *(#.*)?$", line)))
    )


class Understood(Exception):
    """A command line that its tool takes."""


@pytest.mark.parametrize("command", commands())
def test_a_tool_understands_the_command(command, monkeypatch):
    def parse(self, *arguments):
        intermixed(self, *arguments)
        raise Understood

    intermixed = argparse.ArgumentParser.parse_intermixed_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_intermixed_args", parse)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    _, tool, *words = shlex.split(command)
    main = importlib.import_module(f"knoll.tools.{Path(tool).stem}").main
    with pytest.raises(Understood):
        main(words)
    for word in words:
        if word.startswith("configs/") and "mine" not in word:
            assert (ROOT / word).is_file()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        assert "://" in target or (ROOT / "docs" / target).exists(), target


@pytest.mark.slow
def test_the_job_for_slurm_goes_on_until_it_is_finished(tiny):
    job = next(block for block in blocks("resuming.md") if "#SBATCH" in block)
    Path("config.yaml").write_text(yaml.safe_dump(tiny))
    job = job.replace("configs/resnet34_flowers.py", "config.yaml").replace(
        "tools/train.py", str(ROOT / "tools/train.py")
    )
    programs = Path("programs").absolute()
    programs.mkdir()
    # What SLURM would bring: one starts a program, one is told which job to queue again.
    for name, content in (("srun", 'exec "$@"'), ("scontrol", 'echo "scontrol $*"')):
        (programs / name).write_text(f"#!/bin/bash\n{content}\n")
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(job: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PATH": path, "SLURM_JOB_ID": "17"}
        return subprocess.run(["bash", "-c", job], env=environment, capture_output=True, text=True, timeout=120)

    first = run(job.replace("3h50m", "1s"))
    assert first.returncode == 75, first.stderr
    assert "nothing to resume" in first.stdout
    assert "scontrol requeue 17" in first.stdout
    second = run(job)
    assert second.returncode == 0, second.stderr
    assert "continuing from runs/flowers/checkpoints/step_" in second.stdout
    assert "scontrol" not in second.stdout
    assert Path("runs/flowers/checkpoints/step_00000012.pt").is_file()
