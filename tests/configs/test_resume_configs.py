"""Every experiment here, interrupted and resumed, has the bits of one that was not; on small made-up data."""

from __future__ import annotations

from pathlib import Path

import pytest

from knoll.registry import load_config
from knoll.runner.verification import Report, verify

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))

# Processes that read ahead once it is resumed; before there is none.
WORKERS = dict(lenet_mnist=1, resnet34_flowers=2, mobilenetv2_hymenoptera=2, resnet20_cifar10=2)
# Networks of 10 million parameters and more take a step each before and after the stop.
LARGE = ("resnet34_flowers", "resnet34_flowers_pretrained", "resnet18_cifar10", "vgg16_cifar10")


def in_words(report: Report, name: str) -> str:
    how = "killed" if report.killed else "stopped"
    stops = ", ".join(map(str, report.stops))
    workers = ", then ".join(str(part.workers) for part in report.parts)
    entries = sum(part.entries for part in report.parts)
    return f"{name}: {how} after step {stops} of {report.steps}, workers {workers}: {entries:,} entries equal"


@pytest.mark.row(11)
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_resumes_exactly(path, small, figure):
    changes = ["train.batch_size=8"] + (["vars.resize=40", "vars.crop=32"] if "flowers" in path.stem else [])
    steps = 2 if path.stem in LARGE else 4
    config = load_config(path, [*small(path), *changes])
    report = verify(config, steps, workers=WORKERS.get(path.stem))
    assert report.explanation == []
    assert len(report.parts) == 2
    figure(in_words(report, path.stem))


@pytest.mark.row(11)
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_it_resumes_exactly_in_other_precisions(precision, small, figure):
    """And over the end of an epoch, with accumulation and mixing; fp16's scaler has a state of its own."""
    path = ROOT / "configs/lenet_mnist.py"
    changes = ["train.batch_size=60", "accumulate=3", f"precision={precision}", "hooks.mix.type=Mix"]
    report = verify(load_config(path, [*small(path), *changes]), steps=5, stops=[1, 3], workers=1)
    assert report.explanation == []
    figure(in_words(report, f"lenet_mnist, {precision}, accumulation, mixing"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.row(11)
@pytest.mark.usefixtures("data")
def test_it_resumes_exactly_when_it_was_killed(small, figure):
    path = ROOT / "configs/diabetes.py"
    report = verify(load_config(path, small(path)), steps=6, stops=[4], workers=1, kill=True)
    assert report.explanation == []
    figure(in_words(report, path.stem))
