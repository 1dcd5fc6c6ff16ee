"""The command line, run as a user runs it."""

from __future__ import annotations

import csv
import json

import pytest
import torch
import yaml

from knoll.runner import Runner

MY_NET = """\
from torch import nn

from knoll.registry import BACKBONES


@BACKBONES.register_module()
class MyNet(nn.Module):
    \"\"\"One convolution.\"\"\"

    num_features = 8

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, width, 3, stride=2)

    def forward(self, images):
        return self.layer(images).relu()
"""


@pytest.fixture
def config(tiny, working_directory):
    path = working_directory / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny))
    return path


@pytest.mark.usefixtures("config")
def test_train_then_test_prints_the_same_metrics_to_the_last_digit(tool, working_directory):
    trained = tool("train", "tiny.yaml", "hooks.log.type=JSONLog", "--work-dir", "run")
    assert trained.returncode == 0, trained.stderr
    last = [json.loads(line) for line in (working_directory / "run/log.jsonl").read_text().splitlines()][-1]
    tested = tool("test", "run/checkpoints/last.pt", "--out", "predictions.csv")
    assert tested.returncode == 0, tested.stderr
    for metric in ("loss", "top1", "top2"):
        assert f"val/{metric}: {last[metric]!r}  (arrays)" in tested.stdout.splitlines()

    rows = list(csv.DictReader((working_directory / "predictions.csv").open()))
    assert len(rows) == 18
    assert sum(int(row["correct"]) for row in rows) / 18 == pytest.approx(last["top1"])
    assert rows[5]["name"] == "val/00005"
    assert sum(float(rows[0][f"p({name})"]) for name in "0123") == pytest.approx(1, abs=1e-4)


@pytest.mark.usefixtures("config")
def test_the_runs_own_config_runs_the_experiment_again(tool, working_directory, fingerprint):
    assert tool("train", "tiny.yaml", "seed=5", "--work-dir", "first").returncode == 0
    assert tool("train", "first/config.yaml", "--work-dir", "second").returncode == 0
    prints = {fingerprint(working_directory / name / "checkpoints/last.pt") for name in ("first", "second")}
    assert len(prints) == 1


@pytest.mark.usefixtures("config")
@pytest.mark.row(42)
def test_test_says_what_is_wrong(tool, working_directory):
    assert tool("train", "tiny.yaml", "duration=1", "--work-dir", "run").returncode == 0
    checkpoint = "run/checkpoints/last.pt"
    (working_directory / "text.pt").write_text("no checkpoint")
    for arguments, message in [
        (["gone.pt"], "there is no checkpoint gone.pt"),
        (["text.pt"], "text.pt cannot be used: it carries no SHA-256"),
        ([checkpoint, "--set", "vall"], "the config has no evaluation set `vall`; it has val"),
        ([checkpoint, "evaluation.val.batch_sise=3"], "Did you mean `batch_size`"),
        ([checkpoint, "evaluation.val.dataset.path=gone.npz"], "there is no file gone.npz"),
        ([checkpoint, "--out", "nowhere/x.csv"], "there is no folder"),
        ([checkpoint, checkpoint], "one checkpoint at a time"),
        ([checkpoint, "imports=['this']"], "asks to import code of yours: this"),
    ]:
        done = tool("test", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_class_in_a_file_outside_is_found_by_imports(tool, config, working_directory):
    (working_directory / "mine").mkdir()
    (working_directory / "mine/nets.py").write_text(MY_NET)
    done = tool("train", "tiny.yaml", "model.backbone.type=MyNet", "imports=['mine.nets']", "duration=2")
    assert done.returncode == 0, done.stderr


def test_without_the_import_the_error_names_its_file_and_line_and_the_remedy(tool, config, working_directory):
    (working_directory / "mine").mkdir()
    (working_directory / "mine/nets.py").write_text(MY_NET)
    done = tool("train", "tiny.yaml", "model.backbone.type=MyNet", "duration=2")
    assert done.returncode == 2
    assert "MyNet is not in the backbone registry" in done.stderr
    assert "registered in mine/nets.py:7, which is not imported: add imports=['mine.nets']" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_class_in_a_plugin_folder(tool, config, working_directory):
    (working_directory / "plugins").mkdir()
    (working_directory / "plugins/net.py").write_text(MY_NET)
    done = tool("train", "tiny.yaml", "model.backbone.type=MyNet", "plugins=['plugins']", "duration=2")
    assert done.returncode == 0, done.stderr


def test_list(tool):
    kinds = tool("list").stdout
    assert "backbones" in kinds
    assert "timm/..." in kinds
    backbones = tool("list", "backbones", "RES*").stdout
    assert backbones.startswith("ResNet")
    assert "Residual network" in backbones
    assert "timm/lamb" in tool("list", "optimizers", "*lamb", "--all").stdout.split()
    part, whole = (tool("list", "losses", word).stdout.splitlines() for word in ("l1los", "L1Loss"))
    assert [line.split()[0] for line in part] == ["L1Loss", "SmoothL1Loss"]
    assert [line.split()[0] for line in whole] == ["L1Loss"]
    assert tool("list", "backbones", "timm/resnet18").stdout == "timm/resnet18\n"
    wrong = tool("list", "backbone5")
    assert wrong.returncode == 2
    assert "there is no kind 'backbone5'. Did you mean `backbones`" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizers", "lamb"], "no optimizer matches 'lamb'. Add --all for names of libraries: timm/"),
        (["optimizers", "adanw*"], "no optimizer matches 'adanw*'. Did you mean `AdamW`"),
        (["optimizers", "timm/lambb"], "no optimizer matches 'timm/lambb'. Did you mean `timm/lamb`"),
    ],
)
def test_list_says_that_nothing_matches(tool, words, said):
    done = tool("list", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


@pytest.mark.usefixtures("config")
def test_check_shows_the_origin_of_every_value(tool):
    done = tool("check", "tiny.yaml", "optimizer.lr=0.5")
    assert done.returncode == 0
    lines = {line.split("#")[0].strip(): line.split("#")[1].strip() for line in done.stdout.splitlines()}
    assert lines["lr: 0.5"] == "command line"
    assert lines["momentum: 0.9"].startswith("tiny.yaml:")


def test_every_tool_has_help_worth_reading(tool):
    for name in ("train", "test", "list", "check"):
        done = tool(name, "--help")
        assert done.returncode == 0
        assert f"python tools/{name}.py" in done.stdout
        assert "--debug" in done.stdout


def test_debug_shows_the_traceback(tool):
    assert "Traceback" in tool("train", "gone.yaml", "--debug").stderr
    quiet = tool("train", "gone.yaml")
    assert quiet.stderr == "error: there is no config file gone.yaml.\n"


def test_weights_that_others_trained_are_measured_by_a_config(tiny, tool, tmp_path):
    (tmp_path / "x.py").write_text(f"config = {tiny!r}")
    runner = Runner(tiny | dict(duration=2), "run")
    measured = runner.train()
    torch.save({"state_dict": {f"module.{k}": v for k, v in runner.model.state_dict().items()}}, tmp_path / "w.pth")
    done = tool("test", "x.py", "weights=w.pth", "--out", "p.csv")
    assert done.returncode == 0, done.stderr
    assert "  matched 10 of 10 tensors\n" in done.stdout
    assert f"val/top1: {measured['val/top1']!r}  (arrays)" in done.stdout
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 19
    done = tool("test", "x.py")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: x.py is a config: its model knows nothing yet. Give a checkpoint, or say which"
    )
