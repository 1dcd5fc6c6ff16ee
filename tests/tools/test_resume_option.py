"""`train --resume`: which run is continued, what is said if there is none, and words that follow it."""

from __future__ import annotations

import pytest
import yaml

from knoll.runner import Runner
from knoll.runner.saving.checkpoint import load
from knoll.tools import train
from knoll.tools.cli import run

NOTHING = "nothing to resume: the newest run of this config has no checkpoint; starting a new run"


@pytest.fixture
def config(tiny, working_directory):
    tiny["duration"] = 4
    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    return tiny


@pytest.mark.row(17)
@pytest.mark.usefixtures("config")
def test_nothing_to_resume_is_one_line_and_with_must_an_error(working_directory, capsys, figure):
    there = set(working_directory.rglob("*"))
    for words in (["--resume=must"], ["--resume", "must"], ["--resume=must", "--work-dir", "run"]):
        assert run(train.main, ["tiny.yaml", *words]) == 2
        place = "run" if "run" in words else "runs/tiny"
        assert capsys.readouterr().err == (
            f"error: nothing to resume: there is no checkpoint in {place}. --resume alone starts a new run.\n"
        )
    assert run(train.main, ["tiny.yaml", "--resume", "gone.pt"]) == 2
    assert capsys.readouterr().err == "error: there is no checkpoint or run folder gone.pt\n"
    assert set(working_directory.rglob("*")) == there

    assert run(train.main, ["tiny.yaml", "--work-dir", "run", "--resume"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said.count(NOTHING) == 1
    assert load("run/checkpoints/last.pt")["step"] == 4
    assert run(train.main, ["tiny.yaml", "--work-dir", "run", "--resume=must"]) == 0
    assert "continuing from run/checkpoints/step_00000004.pt, step 4 of 4" in capsys.readouterr().out
    figure(f"{said.count(NOTHING)} line that says so; with `must` or a path an error of one line, exit code 2")


@pytest.mark.parametrize(
    "words",
    [
        ["tiny.yaml", "--work-dir", "run", "--resume", "duration=2"],
        ["--work-dir", "run", "--resume", "tiny.yaml", "duration=2"],
        ["tiny.yaml", "duration=2", "--work-dir", "run", "--resume"],
        ["tiny.yaml", "duration=2", "--resume=auto", "--work-dir", "run"],
        ["--resume=run", "tiny.yaml", "duration=2"],
    ],
)
def test_a_word_after_the_option_is_no_path_if_it_is_an_override_or_a_config(config, words):
    config["duration"] = 2
    Runner(config, "run").train()
    assert train.main(words) == 0
    assert load("run/checkpoints/last.pt")["step"] == 2


@pytest.mark.usefixtures("config")
def test_a_path_may_hold_an_equals_sign(config, capsys):
    Runner(config, "lr=0.1").train()
    assert run(train.main, ["tiny.yaml", "--resume", "lr=0.1"]) == 0
    assert "continuing from lr=0.1/checkpoints/step_00000004.pt" in capsys.readouterr().out
    assert run(train.main, ["tiny.yaml", "--resume", "runs/lr=0.1"]) == 2
    assert capsys.readouterr().err == "error: there is no checkpoint or run folder runs/lr=0.1\n"
