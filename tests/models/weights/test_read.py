"""What files are read, and what is refused: with the reason and the way out, and without running anything in them."""

from __future__ import annotations

import argparse
import pickle
import sys
import types
from collections import OrderedDict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from knoll.models.weights import load_weights
from knoll.registry import Weights


@pytest.mark.parametrize(
    "wrapper", [None, "state_dict", "model", "model_state_dict", "net", "model_ema", "state_dict_ema"]
)
@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_torch(tmp_path: Path, small, equal, wrapper: str | None, legacy: bool) -> None:
    first, second = small(), small()
    state = first.state_dict()
    saved = {wrapper: state, "epoch": 3} if wrapper else state
    torch.save(saved, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    load_weights(second, tmp_path / "x.pth")
    assert equal(first, second)


def test_safetensors(tmp_path: Path, small, equal) -> None:
    first, second = small(), small()
    save_file(first.state_dict(), tmp_path / "x.safetensors")
    load_weights(second, str(tmp_path / "x.safetensors"))
    assert equal(first, second)


def test_checkpoints_of_training_scripts(tmp_path: Path, small, equal, monkeypatch) -> None:
    """timm and torchvision save their command line, mmengine logs of a class of its own, many scripts numpy numbers."""
    module = types.ModuleType("some.library.logs")
    module.Log = type("Log", (), {"__module__": module.__name__, "__qualname__": "Log"})  # pyright: ignore
    log = module.Log()
    log._log_history, log._history_length = np.array([0.5, 0.25]), 1000000
    first, second = small(), small()
    with monkeypatch.context() as patched:
        for name in ("some", "some.library"):
            patched.setitem(sys.modules, name, types.ModuleType(name))
        patched.setitem(sys.modules, module.__name__, module)
        torch.save(
            dict(
                meta=dict(epoch=3, time="2026"),
                state_dict=OrderedDict(first.state_dict()),
                message_hub=dict(log_scalars=OrderedDict(loss=log)),
                args=argparse.Namespace(lr=0.1, model="resnet34", paths=[1, 2]),
                best=np.float64(93.4),
                accuracies=np.arange(3, dtype=np.int64),
                hyper_parameters=dict(folder=Path("x"), day=date(2026, 1, 2)),
            ),
            tmp_path / "x.pth",
        )
    load_weights(second, tmp_path / "x.pth")
    assert equal(first, second)


def test_plain_weights_are_taken_where_averaged_ones_lie_beside(tmp_path: Path, small, equal) -> None:
    plain, averaged, model = small(), small(), small()
    torch.save(dict(state_dict=plain.state_dict(), state_dict_ema=averaged.state_dict()), tmp_path / "x.pth")
    report = load_weights(model, tmp_path / "x.pth").lines
    assert equal(model, plain)
    assert report[-1] == "  the file holds `state_dict_ema` too: weights.entry='state_dict_ema' takes that"
    load_weights(model, Weights(str(tmp_path / "x.pth"), entry="state_dict_ema"))
    assert equal(model, averaged)


def test_an_entry_that_is_not_there(tmp_path: Path, small, refusal) -> None:
    torch.save(dict(generator=small().state_dict()), tmp_path / "x.pth")
    told = refusal(small(), Weights(str(tmp_path / "x.pth"), entry="generater"))
    assert told.endswith("holds nothing called `generater`. Did you mean `generator`?")


def test_a_pickled_whole_model_is_refused(tmp_path: Path, small, refusal) -> None:
    torch.save(torchvision.models.squeezenet1_1(), tmp_path / "x.pth")
    told = refusal(small(), tmp_path / "x.pth")
    assert told == (
        f"{tmp_path / 'x.pth'} holds not only tensors but a whole model or other objects (a pickled "
        "torchvision.models.squeezenet.SqueezeNet). Unpickling such can run any code, so it is refused. Where it was "
        "made, save the weights alone: torch.save(model.state_dict(), 'new.pth')"
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_is_refused(tmp_path: Path, small, refusal) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "x.pth")
    assert "(a TorchScript archive)" in refusal(small(), tmp_path / "x.pth")


class Runs:
    """Code that unpickling would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("plain_pickle", [False, True])
def test_nothing_in_a_file_is_run(tmp_path: Path, small, refusal, plain_pickle: bool) -> None:
    harmful = {"state_dict": {"0.bias": Runs(tmp_path / "was_run")}}
    if plain_pickle:
        (tmp_path / "x.pth").write_bytes(pickle.dumps(harmful))
    else:
        torch.save(harmful, tmp_path / "x.pth")
    refusal(small(), tmp_path / "x.pth")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html><title>Sign in</title>", b"\n  <html lang='en'>"])
def test_a_web_page_in_the_place_of_weights(tmp_path: Path, small, refusal, page: bytes, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(page)
    assert refusal(small(), path) == (
        f"{path} is a web page, not weights: the address leads to a page about the file, or to one that says no. "
        "Fetch it again with the address of the file itself (on GitHub, the one under 'raw')."
    )


def test_a_pointer_of_git_lfs(tmp_path: Path, small, refusal) -> None:
    (tmp_path / "x.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    assert "is a pointer of Git LFS, not weights: run `git lfs pull`" in refusal(small(), tmp_path / "x.pth")


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 4, b"PK\x03\x04" + bytes(99)])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_refused(tmp_path: Path, small, refusal, content: bytes, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    told = refusal(small(), path)
    assert told.startswith(f"{path} cannot be read as weights: it is damaged or cut off ({len(content):,} bytes), or")


def test_truncated_files_are_refused(tmp_path: Path, small, refusal) -> None:
    torch.save(small().state_dict(), tmp_path / "x.pth")
    content = (tmp_path / "x.pth").read_bytes()
    for length in range(0, len(content), len(content) // 20):
        (tmp_path / "x.pth").write_bytes(content[:length])
        assert "cannot be read as weights" in refusal(small(), tmp_path / "x.pth")


def test_a_missing_file_and_a_folder(tmp_path: Path, small, refusal) -> None:
    assert refusal(small(), tmp_path / "x.pth") == f"weights: {tmp_path / 'x.pth'} does not exist"
    assert refusal(small(), tmp_path) == f"weights: {tmp_path} is a folder, not a file"


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        ([torch.zeros(1)], "x.pth holds no state dict but a list"),
        (torch.zeros(1), "x.pth holds no state dict but a Tensor"),
        (
            {"generator": {"0.bias": torch.zeros(1)}, "epoch": 3},
            "there are no tensors, but other values, under generator, epoch. weights.entry names its key.",
        ),
        ({}, "x.pth holds no state dict: there are no tensors, but nothing"),
    ],
)
def test_files_of_something_else(tmp_path: Path, small, refusal, saved: Any, told: str) -> None:
    torch.save(saved, tmp_path / "x.pth")
    assert told in refusal(small(), tmp_path / "x.pth")


def test_an_export_of_ours_says_which_classes_it_knows(tmp_path: Path, small) -> None:
    save_file(
        small(3).state_dict(), tmp_path / "x.safetensors", metadata={"knoll": '{"classes": ["ant", "bee", "wasp"]}'}
    )
    assert load_weights(small(3), tmp_path / "x.safetensors").classes == ["ant", "bee", "wasp"]
    report = load_weights(small(3), tmp_path / "x.safetensors", ["daisy", "rose", "tulip"]).lines
    assert "  made anew: 3 (3 other classes)" in report


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_an_exported_model_is_no_weights(tmp_path: Path, small, refusal, suffix: str) -> None:
    (tmp_path / f"x{suffix}").write_bytes(b"...")
    assert refusal(small(), tmp_path / f"x{suffix}").endswith("take its checkpoint, or export it to .safetensors")
