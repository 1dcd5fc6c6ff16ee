"""What load_weights reads and what it refuses. That torchvision's names fit is in test_parity.py."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from knoll.models.classifier import ImageClassifier
from knoll.models.weights import load_weights
from knoll.registry import UserError


class Small(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 5))


def equal(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[key]) for key, value in first.state_dict().items())


def message(model: nn.Module, source: Any) -> str:
    """The message that the source is refused with; the model must not have changed."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_weights(model, source)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert len(str(caught.value).splitlines()) < 10
    return str(caught.value)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_torch(tmp_path: Path, wrapper: str | None, legacy: bool) -> None:
    first, second = Small(), Small()
    state = first.state_dict()
    saved = {wrapper: state, "epoch": 3} if wrapper else state
    torch.save(saved, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    load_weights(second, tmp_path / "x.pth")
    assert equal(first, second)


def test_safetensors(tmp_path: Path) -> None:
    first, second = Small(), Small()
    save_file(first.state_dict(), tmp_path / "x.safetensors")
    load_weights(second, str(tmp_path / "x.safetensors"))
    assert equal(first, second)


def test_a_half_precision_file_is_widened() -> None:
    first, second = Small().half(), Small()
    load_weights(second, first.state_dict())
    widened = second.state_dict()["0.weight"]
    assert widened.dtype == torch.float32
    assert torch.equal(widened, first.state_dict()["0.weight"].float())


def test_batch_counts_may_be_missing() -> None:
    first, second = Small(), Small()
    load_weights(second, {key: value for key, value in first.state_dict().items() if "num_batches" not in key})
    assert equal(first, second)


def test_missing_left_over_and_other_shapes_are_named() -> None:
    state = dict(Small().state_dict())
    del state["0.bias"]
    state["3.weight"] = torch.zeros(1000, 2)
    state.update({f"extra.{k}": torch.zeros(1) for k in range(5)})
    told = message(Small(), state)
    assert told.startswith("the state dict does not fit Small:\n  missing: 0.bias\n")
    assert "\n  not in the model: extra.0, extra.1, extra.2, and 2 more\n" in told
    assert "\n  of another shape: 3.weight: (1000, 2), in the model (5, 2)\n" in told
    assert "number of classes" in told


def test_two_tensors_for_one_place_are_refused() -> None:
    model = ImageClassifier(dict(type="Tudui"), dict(type="LinearHead", num_classes=10))
    state = dict(model.state_dict())
    state["fc.bias"] = torch.ones(10)
    assert "not in the model: fc.bias" in message(model, state)
    assert "not in the model: head.fc.bias" in message(model, {"fc.bias": torch.ones(10), **state})


def test_whole_model_is_refused(tmp_path: Path) -> None:
    torch.save(Small(), tmp_path / "x.pth")
    told = message(Small(), tmp_path / "x.pth")
    assert told.startswith(f"{tmp_path / 'x.pth'} holds a whole model or other objects, not only tensors: unpickling")
    assert "torch.save(model.state_dict(), 'new.pth')" in told


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "x.pth")
    assert "holds a whole model" in message(Small(), tmp_path / "x.pth")


class Runs:
    """Code that unpickling would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("plain_pickle", [False, True])
def test_nothing_in_a_file_is_run(tmp_path: Path, plain_pickle: bool) -> None:
    harmful = {"state_dict": {"0.bias": Runs(tmp_path / "was_run")}}
    if plain_pickle:
        (tmp_path / "x.pth").write_bytes(pickle.dumps(harmful))
    else:
        torch.save(harmful, tmp_path / "x.pth")
    message(Small(), tmp_path / "x.pth")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>", bytes(range(256)) * 4, b"PK\x03\x04" + bytes(99)])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    assert message(Small(), path).startswith(f"{path} cannot be read as weights: it is damaged, or neither torch.save")


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    torch.save(Small().state_dict(), tmp_path / "x.pth")
    content = (tmp_path / "x.pth").read_bytes()
    for length in range(0, len(content), len(content) // 20):
        (tmp_path / "x.pth").write_bytes(content[:length])
        assert "cannot be read as weights" in message(Small(), tmp_path / "x.pth")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert message(Small(), tmp_path) == f"weights: there is no file {tmp_path}"


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        ([torch.zeros(1)], "x.pth holds no state dict but a list"),
        (torch.zeros(1), "x.pth holds no state dict but a Tensor"),
        (
            {"net": {"0.bias": torch.zeros(1)}, "epoch": 3},
            "there are no tensors, but other values\n  under: net, epoch",
        ),
        ({}, "missing: 0.weight, 0.bias, 1.weight, and "),
    ],
)
def test_files_of_something_else(tmp_path: Path, saved: Any, told: str) -> None:
    torch.save(saved, tmp_path / "x.pth")
    assert told in message(Small(), tmp_path / "x.pth")


def test_the_source_is_not_changed() -> None:
    state: dict[str, Tensor] = dict(Small().state_dict())
    keys = list(state)
    load_weights(Small(), state)
    assert list(state) == keys
