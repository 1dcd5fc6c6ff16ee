"""Whatever is registered, built with values that pass the check: all of it works, or is refused with its place."""

from __future__ import annotations

import copy
import resource
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from knoll.registry import (
    BACKBONES,
    DATASETS,
    HEADS,
    HOOKS,
    LOSSES,
    METRICS,
    MODELS,
    OPTIMIZERS,
    SAMPLERS,
    SCHEDULERS,
    TRANSFORMS,
    Experiment,
    Registry,
    TrainData,
    config_from_dict,
    require_valid,
)
from knoll.registry.fit import Misfit, fit
from knoll.registry.signature import parameters
from knoll.runner import Runner

POOL: list[Any] = [
    *(None, True, False, 0, 1, 2, 3, 4, 5, 28, 128, -1, -100, 2**31, 2**63 - 1, -(2**63), 2**64 - 1),
    *(0.0, 0.1, 0.5, 1.0, -1.5, 1e308, 5e-324, float("nan"), float("inf"), float("-inf")),
    *("", " ", "\0", "a\nb", "\ud800", "..", "/", "*", "[", "x" * 5000, "1ep", "0ep", "10%", "100%", "5img", "1e9ep"),
    *("val/top1", "train", "val", "cpu", "cuda:99", "meta", "float32", "mean", "none", "sum", "backbone", "head*"),
    *("arrays.npz", "list.csv", "folder", "max", "min", "bilinear", "relu", "multiclass", "(", "(?P<label>.)", "nccl"),
    *([], [1], [3, 3], [0.5], [0.5, 0.5, 0.5], [-1, -1], [0, 1, 2, 3], [2**31, 2**31], ["backbone"], ["*"], [[1]]),
    *({}, {"backbone": "1ep"}, {"0": 0.5}, {"train": 0.5, "val": 0.5}, {"a": 1}, {"p": {}}, [None], [{}], [""]),
]
# Left out: what compiles for minutes, and networks that take seconds to build and fail on 28 x 28 pixels.
LARGE = {"DrawnFlowers", "AlexNet", "GoogLeNet", "ResNet", "VGG", "ResNeXt", "WideResNet"}
NAMES = {
    BACKBONES: ["timm/resnet10t", "torchvision/shufflenet_v2_x0_5"],
    LOSSES: ["CrossEntropyLoss", "timm/SoftTargetCrossEntropy"],
    METRICS: ["torchmetrics/MulticlassF1Score", "torchmetrics/BinaryAUROC", "torchmetrics/R2Score"],
    OPTIMIZERS: ["timm/lamb", "timm/madgradw"],
}
SLOTS = [
    *[(MODELS, ("model",)), (BACKBONES, ("model", "backbone")), (HEADS, ("model", "head")), (LOSSES, ("loss",))],
    *[(OPTIMIZERS, ("optimizer",)), (DATASETS, ("train", "dataset")), (DATASETS, ("evaluation", "val", "dataset"))],
    *[(TRANSFORMS, ("train", "transforms", 0)), (TRANSFORMS, ("evaluation", "val", "transforms", 0))],
    *[(METRICS, ("metrics", "top2")), (HOOKS, ("hooks", "checkpoint")), (HOOKS, ("hooks", "lr_schedule"))],
    *[(SCHEDULERS, ("hooks", "lr_schedule", "scheduler")), (SAMPLERS, ("train", "sampler"))],
]


def fitting(annotation: Any) -> list[Any]:
    def fits(value: Any) -> bool:
        try:
            fit(value, annotation)
        except Misfit:
            return False
        return True

    return [value for value in POOL if fits(value)]


def argument(draw: st.DrawFn, key: str, annotation: Any, depth: int) -> Any:
    registry = Registry.by_key.get(key)
    if registry is None or depth > 3:
        return copy.deepcopy(draw(st.sampled_from(fitting(annotation) or [None])))
    if key == registry.plural:
        return [entry(draw, registry, depth + 1) for _ in range(draw(st.integers(0, 2)))]
    return entry(draw, registry, depth + 1)


def ours(registry: Registry) -> set[str]:
    """Without what other tests have registered: the cases shall be the same whichever tests are run beside these."""
    own = ("knoll.", "torch", "timm")
    return {name for name, each in registry.module_dict.items() if each.__module__.startswith(own)}


def entry(draw: st.DrawFn, registry: Registry, depth: int = 0) -> dict[str, Any]:
    """A registered thing with what it must be given, and one or two things that it may be given."""
    kind = draw(st.sampled_from(sorted(ours(registry) - LARGE) + NAMES.get(registry, [])))
    known = parameters(registry.require(kind))
    optional = sorted(set(known.annotations) - known.required)
    chosen = draw(st.lists(st.sampled_from(optional), max_size=2, unique=True)) if optional else []
    wanted = [key for key in (*sorted(known.required), *chosen) if key not in registry.provides]
    return dict(type=kind) | {key: argument(draw, key, known.annotations[key], depth) for key in wanted}


@st.composite
def experiments(draw: st.DrawFn, original: dict) -> dict:
    data = copy.deepcopy(original)
    for registry, path in draw(st.lists(st.sampled_from(SLOTS), min_size=1, max_size=2, unique=True)):
        holder: Any = data
        for key in path[:-1]:
            holder = holder[key] if isinstance(holder, list) else holder.setdefault(key, {})
        own = holder.get(path[-1]) if isinstance(holder, dict) else holder[path[-1]]
        if own and draw(st.booleans()):
            known = parameters(registry.require(own["type"])).annotations
            if free := sorted(set(known) - set(registry.provides)):
                key = draw(st.sampled_from(free))
                own[key] = argument(draw, key, known[key], 0)
        else:
            holder[path[-1]] = entry(draw, registry)
    if draw(st.booleans()):
        where, kind = draw(st.sampled_from([(data, Experiment), (data["train"], TrainData)]))
        known = parameters(kind).annotations
        key = draw(st.sampled_from(sorted(set(known) - {"compile"})))
        where[key] = argument(draw, key, known[key], 0)
    return data


@pytest.fixture
def bounded(monkeypatch):
    """No more memory than this, and no network."""

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * 2**30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.row(40)
@pytest.mark.usefixtures("bounded", "index_in_memory")
def test_what_passes_the_check_is_built_or_refused(fuzz, attempt, figure, tiny):
    Path("folder/a").mkdir(parents=True)
    Path("list.csv").write_text("image,label\nx.png,a\n")
    del tiny["hooks"]["checkpoint"]["best"]

    def outcome(data: dict) -> str:
        config = config_from_dict(data)
        if attempt(require_valid, config) == "refused":
            return "invalid"
        return attempt(Runner, config, "run")

    seen = fuzz(400, experiments(tiny), outcome)
    figure(
        f"{seen['taken'] + seen['refused']:,} experiments of any registered parts that passed the check: "
        f"{seen['taken']:,} built up to their first step, {seen['refused']:,} refused by a message, 0 tracebacks"
    )
    assert seen["taken"] > 50
    assert seen["refused"] > 100
