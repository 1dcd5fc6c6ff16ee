"""What "auto" takes, that it is told and kept, and that no way to compute changes a result but by rounding."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from knoll.registry import ConfigError, config_from_dict, make_experiment, require_valid
from knoll.runner import Runner
from knoll.runner.inference.trained import Trained
from knoll.runner.saving.checkpoint import load, save
from knoll.runner.saving.resume import require_same
from knoll.runner.step.compute import LEAST_STEPS, build_forward
from knoll.runner.step.forward import Forward

AUTO = dict(precision="auto", compile="auto", memory_format="auto")
LAST = "run/checkpoints/last.pt"


@pytest.fixture
def units(monkeypatch):
    """Say whether this CPU computes in bf16."""

    def set_units(has: bool) -> None:
        monkeypatch.setattr("knoll.runner.step.compute.computes_in", lambda precision: has or precision == "fp32")

    return set_units


@pytest.fixture
def gpu(monkeypatch):
    """A CUDA device of some compute capability; what it would be asked for is not computed on it."""

    def make(capability: tuple[int, int], triton: bool = True) -> torch.device:
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: capability >= (8, 0))
        monkeypatch.setattr("torch.cuda.get_device_capability", lambda device=None: capability)
        monkeypatch.setattr("knoll.runner.step.compute._has_triton", lambda: triton)
        return torch.device("cuda")

    precision, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield make
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = convolutions


NETWORK, MLP = nn.Conv2d(3, 4, 3), nn.Linear(3, 4)


def chosen(tiny: dict, model: nn.Module, device: torch.device, steps: int = LEAST_STEPS, **changes) -> tuple:
    return tuple(build_forward(make_experiment(tiny | AUTO | changes), model, device, steps).how)


@pytest.mark.parametrize(
    ("capability", "network", "mlp"),
    [
        ((9, 0), ("bf16", True, "channels_last"), ("bf16", True, "contiguous")),
        ((7, 5), ("fp16", True, "channels_last"), ("fp16", True, "contiguous")),
        ((6, 1), ("fp32", True, "contiguous"), ("fp32", True, "contiguous")),
    ],
)
def test_what_auto_takes_on_cuda(tiny, gpu, capability, network, mlp):
    device = gpu(capability)
    assert chosen(tiny, NETWORK, device) == network
    assert chosen(tiny, MLP, device) == mlp
    assert chosen(tiny, NETWORK, device, steps=LEAST_STEPS - 1)[1] is False
    assert chosen(tiny, NETWORK, device, precision="fp32") == ("fp32", True, "contiguous")
    assert chosen(tiny, NETWORK, gpu(capability, triton=False))[1] is False


@pytest.mark.parametrize(("has", "precision"), [(True, "bf16"), (False, "fp32")])
def test_what_auto_takes_on_a_cpu(tiny, units, has, precision):
    units(has)
    cpu = torch.device("cpu")
    assert chosen(tiny, NETWORK, cpu) == (precision, False, "channels_last")
    assert chosen(tiny, MLP, cpu) == ("fp32", False, "contiguous")
    assert chosen(tiny, nn.Conv2d(4, 4, 3, groups=4), cpu) == ("fp32", False, "channels_last")


@pytest.mark.parametrize("on", [True, False])
def test_tf32_is_set_for_the_process_on_cuda_alone(tiny, gpu, on, recwarn):
    before = torch.get_float32_matmul_precision()
    build_forward(make_experiment(tiny | dict(tf32=on)), NETWORK, torch.device("cpu"), 1)
    assert torch.get_float32_matmul_precision() == before
    build_forward(make_experiment(tiny | dict(tf32=on)), NETWORK, gpu((8, 0)), 1)
    assert torch.get_float32_matmul_precision() == ("high" if on else "highest")
    assert torch.backends.cuda.matmul.allow_tf32 is on
    assert torch.backends.cudnn.allow_tf32 is on
    assert not recwarn.list


def test_a_precision_that_the_cpu_imitates_is_warned_of_and_taken(tiny, units, logged):
    units(False)
    assert Runner(tiny | dict(precision="bf16"), "run").forward.precision == "bf16"
    assert "precision='bf16': this CPU has no units for it" in "\n".join(logged)
    logged.clear()
    units(True)
    Runner(tiny | dict(precision="bf16"), "run")
    assert not any("units" in line for line in logged)


def test_auto_is_told_and_a_resumed_run_keeps_it(tiny, units, logged, differences):
    """Also where it would now be another: on such a CPU, or with other rules in another version."""
    units(True)
    Runner(tiny | AUTO, "run").train()
    told = "auto: precision bf16 (this CPU has units for it), memory_format channels_last (convolutions on a CPU)"
    assert any(line.startswith(told) for line in logged)
    units(False)
    logged.clear()
    resumed = Runner(tiny | AUTO, "resumed", resume="run/checkpoints/step_00000010.pt")
    assert any("precision bf16 (as in the checkpoint)" in line for line in logged)
    resumed.train()
    assert differences(load("resumed/checkpoints/last.pt"), load(LAST)) == []
    assert Trained(LAST).forward.how == ("bf16", False, "channels_last")
    assert Trained(LAST, ["precision=fp32"]).forward.how == ("fp32", False, "channels_last")


def test_on_another_kind_of_device_it_is_chosen_anew_and_said(tiny, units, logged):
    units(False)
    Runner(tiny | AUTO | dict(duration=2), "run").train()
    state = load(LAST)
    state["computed_with"] |= dict(device="NVIDIA H200", precision="bf16")
    save(state, Path("other.pt"))
    runner = Runner(tiny | AUTO | dict(duration=2), "resumed", resume="other.pt")
    assert runner.forward.precision == "fp32"
    assert "note: precision was bf16 and is fp32: the run goes on, but not to the bit" in logged


def test_a_key_that_is_gone_says_what_to_write(tiny):
    with pytest.raises(ConfigError, match=r"channels_last .*: no key any more: write memory_format='channels_last'"):
        require_valid(config_from_dict(tiny | dict(channels_last=True)))


@pytest.mark.parametrize(("was", "now"), [(True, "channels_last"), (False, "contiguous")])
def test_a_checkpoint_that_has_it_is_read_and_continued(tiny, was, now):
    Runner(tiny | dict(duration=2, memory_format=now), "run").train()
    state = load(LAST)
    del state["config"]["memory_format"]
    state["config"]["channels_last"] = was
    save(state, old := Path("old.pt"))
    assert Trained(old).forward.memory_format == now
    require_same(load(old)["config"], tiny | dict(duration=2, memory_format=now), old)


def test_no_other_way_to_compute_changes_more_than_rounding(tiny):
    tiny |= dict(duration=4)
    tiny["model"]["head"]["dropout"] = 0.0
    plain = Runner(tiny | dict(optimizer=tiny["optimizer"] | dict(fused=False)), "plain")
    plain.train()
    ways = itertools.product(["contiguous", "channels_last"], [False, "aot_eager"])
    for number, (memory_format, compiled) in enumerate(ways):
        runner = Runner(tiny | dict(memory_format=memory_format, compile=compiled), f"run{number}")
        runner.train()
        for name, value in plain.model.state_dict().items():
            torch.testing.assert_close(runner.model.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_a_set_of_any_length_is_compiled_for_once():
    """Training, evaluation, its last batch: three times at most, however often they come."""
    torch._dynamo.reset()
    counters.clear()
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    forward = Forward(network, compile="aot_eager")
    for _ in range(3):
        network.train()
        forward(torch.randn(8, 1, 2, 2)).sum().backward()
        network.eval()
        with torch.no_grad():
            for count in (16, 16, 5, 16, 7, 11):
                forward(torch.randn(count, 1, 2, 2))
    assert counters["stats"]["unique_graphs"] <= 3


def test_what_cuda_graphs_would_overwrite_is_copied(tiny):
    """The arithmetic alone: here is no such graph, and no device for one."""
    tiny |= dict(duration=4)
    plain = Runner(tiny, "plain")
    plain.train()
    copied = Runner(tiny, "copied")
    copied.forward.has_graphs = True
    copied.train()
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, copied.model.state_dict()[name]), name
    answered = []
    copied.forward._call = lambda images: answered.append(copied.model(images)) or answered[-1]
    kept = copied.forward(next(copied.train_loader.batches(0, 1)).images)
    assert torch.equal(kept, answered[0])
    assert kept.data_ptr() != answered[0].data_ptr()
