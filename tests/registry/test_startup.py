"""What is not imported: torch for names and for mistakes in a config, libraries for a config that uses none of them."""

from __future__ import annotations

import json
import subprocess
import sys

import yaml

NAMES = """
import contextlib, io, json, sys
import knoll.registry
from knoll.tools import check, cli
from knoll.tools import list as listing

HEAVY = ("torch", "torchvision", "timm", "torchmetrics", "tensorboard", "rich")
said, imported = {}, {}

def note(what, run):
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told), contextlib.suppress(SystemExit):
        run()
    said[what], imported[what] = told.getvalue(), [name for name in HEAVY if name in sys.modules]

note("import", lambda: None)
note("help", lambda: cli.main(["--help"]))
note("list", lambda: listing.main([]))
for kind in said["list"].split("\\n")[:-1]:
    name = kind.split()[0]
    note(f"list {name}", lambda: listing.main([name, "*", "--all"]))
for mistake in ("model.backbone.type=LeNet55", "optimizer.type=timm/lambb", "loss.reductoin=mean", "train.batchsize=3"):
    note(mistake, lambda: cli.run(check.main, ["tiny.yaml", mistake]))
"""

RUNNER = """
mistake = "optimizer.lr=fast"  # a number or a tensor: what a tensor takes, only torch says
note(mistake, lambda: cli.run(check.main, ["tiny.yaml", mistake]))

import yaml
from pathlib import Path
from knoll.runner import Runner

config = yaml.safe_load(Path("tiny.yaml").read_text())
del config["metrics"], config["hooks"]["checkpoint"]
note("run", lambda: Runner(config | dict(duration=1), "run").train())
print(json.dumps([said, imported]))
"""


def test_torch_is_imported_by_none_of_these_and_libraries_not_by_a_run_without_them(tiny, working_directory):
    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    command = [sys.executable, "-c", NAMES + RUNNER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    said, imported = json.loads(done.stdout.splitlines()[-1])

    assert imported.pop("run") == ["torch", "torchvision"]
    assert imported.pop("optimizer.lr=fast")[0] == "torch"
    assert "optimizer.lr (command line): expected a number or" in said["optimizer.lr=fast"]
    assert {what: names for what, names in imported.items() if names} == {}
    assert "timm/resnet50" in said["list backbones"]
    assert "SGD " in said["list optimizers"]
    assert (
        "model.backbone.type (command line): LeNet55 is not in the backbone registry. Did you mean `LeNet5`"
        in (said["model.backbone.type=LeNet55"])
    )
    assert "timm/lambb is not in the optimizer registry. Did you mean `timm/lamb`" in said["optimizer.type=timm/lambb"]
    assert "loss.reductoin (command line): unknown key. Did you mean `reduction`" in said["loss.reductoin=mean"]
    assert "train.batchsize (command line): unknown key. Did you mean `batch_size`" in said["train.batchsize=3"]
