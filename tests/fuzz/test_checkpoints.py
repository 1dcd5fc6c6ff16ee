"""Checkpoints and files of weights with anything in them: read whole and as they were, or refused; nothing is run."""

from __future__ import annotations

import copy
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save as safetensors

from knoll.models.weights import load_weights
from knoll.models.weights.read import read_weights
from knoll.registry import MODELS
from knoll.registry.sealed import SealingWriter
from knoll.runner import Runner, Trained
from knoll.runner.saving import checkpoint

ODD: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        2**70,
        1.5,
        float("nan"),
        "",
        "x",
        "\0",
        b"x",
        [],
        [1],
        [None],
        {},
        {"a": 1},
        {1: 2},
        (),
        (1,),
    ),
    *(set(), torch.zeros(0), torch.zeros(3), torch.zeros(2, 2, dtype=torch.int8), torch.tensor(float("nan")), [[]] * 3),
    *({"type": "os.system"}, {"state": {}, "param_groups": []}, OrderedDict(a=torch.ones(1)), torch.float32, 1j),
    *(torch.zeros(3).to_sparse(), torch.zeros(2, device="meta"), torch.Size([1]), "step_1", -(2**63), 10**400),
]
FLAGS = ["attack.txt"]


class Attack:
    """What would leave a file if it were unpickled."""

    def __reduce__(self):
        return open, (FLAGS[0], "w")


@pytest.fixture
def whole(tiny) -> Path:
    """A checkpoint of the tiny run."""
    tiny |= dict(duration=2)
    tiny["hooks"].pop("evaluation")
    tiny["hooks"]["checkpoint"].pop("best")
    runner = Runner(tiny, "run")
    runner.train()
    return Path("run/checkpoints/last.pt")


def damaged(draw: st.DrawFn, data: bytes, others: list[bytes]) -> bytes:
    spoilt = bytearray(data)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 5]))):
        how = draw(st.integers(0, 6))
        # Most of a checkpoint is weights; what is around them stands at its beginning and at its end.
        near = draw(st.integers(0, 2500))
        place = draw(st.sampled_from([near, len(spoilt) - near, draw(st.integers(0, len(data)))]))
        place = min(max(place, 0), max(0, len(spoilt) - 1))
        if how <= 1 and spoilt:
            spoilt[place] ^= 1 << draw(st.integers(0, 7))
        elif how == 2:
            spoilt[place : place + 4] = draw(
                st.sampled_from([b"\xff" * 4, b"\0" * 4, b"PK\3\4", b"PK\5\6", b"\x80\2c"])
            )
        elif how == 3:
            del spoilt[place : place + draw(st.integers(1, 64))]
        elif how == 4:
            spoilt[place:place] = draw(st.binary(min_size=1, max_size=16))
        elif how == 5:
            del spoilt[place:]
        else:
            other = draw(st.sampled_from(others))
            spoilt[place:] = other[draw(st.integers(0, len(other))) :]
    return bytes(spoilt)


@st.composite
def files(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([b"", b"PK\3\4", b"\x80\4", b"<html>", pickle.dumps(Attack())])) + draw(st.binary())
    return damaged(draw, draw(st.sampled_from(originals)), originals)


def bare(state: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def legacy(state: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@pytest.mark.row(19)
@pytest.mark.row(21)
def test_a_damaged_checkpoint_is_whole_or_refused(fuzz, attempt, figure, whole):
    data = whole.read_bytes()
    state = checkpoint.load(whole)

    def outcome(spoilt: bytes) -> str:
        Path("spoilt.pt").write_bytes(spoilt)
        found: list[Any] = []
        said = attempt(lambda: found.append(checkpoint.load("spoilt.pt")))
        return "the same" if found and same(found[0], state) else "other" if found else said

    seen = fuzz(1000, files([data, bare(state), legacy(state)]), outcome)
    figure(f"{seen.total():,} damaged checkpoints: {seen['refused']:,} refused, {seen['the same']:,} read as they were")
    assert not Path(FLAGS[0]).exists()
    assert seen["refused"] > 500
    assert seen["other"] == 0


@st.composite
def resealed(draw: st.DrawFn, original: bytes) -> bytes:
    """An archive of which one file is damaged, with right checksums and a right SHA-256 around it."""
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    pickled = next(name for name in parts if name.endswith("data.pkl"))
    name = draw(st.sampled_from([pickled, pickled, pickled, *parts]))
    parts[name] = damaged(draw, parts[name], [parts[pickled], pickle.dumps(Attack(), 2)])
    packed, sealed = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    writer = SealingWriter(sealed)
    writer.write(packed.getvalue())
    writer.seal()
    return sealed.getvalue()


@pytest.mark.row(20)
@pytest.mark.row(21)
def test_a_damaged_pickle_in_a_sealed_checkpoint(fuzz, attempt, figure, whole):
    """As somebody would make it who wants it to be read."""

    def outcome(spoilt: bytes) -> str:
        Path("spoilt.pt").write_bytes(spoilt)
        said = attempt(checkpoint.load, "spoilt.pt")
        used = attempt(lambda: Trained("spoilt.pt", device="cpu").evaluation_loaders()) if said == "taken" else said
        return f"{said}, {used}, {attempt(read_weights, Path('spoilt.pt'))}"

    seen = fuzz(500, resealed(whole.read_bytes()), outcome)
    read = sum(count for said, count in seen.items() if said.startswith("taken"))
    figure(f"{seen.total():,} checkpoints with damaged contents and a right SHA-256: {read} read as data, nothing run")
    assert not Path(FLAGS[0]).exists()
    assert read < seen.total()


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


@pytest.mark.row(20)
@pytest.mark.row(21)
def test_damaged_weights_are_refused_or_read(fuzz, attempt, figure, tiny):
    model = MODELS.build(tiny["model"])
    weights = dict(model.state_dict())
    originals = [bare(weights), legacy(weights), safetensors(weights), bare({"state_dict": weights, "log": Attack()})]

    def outcome(spoilt: bytes) -> str:
        name = "spoilt.safetensors" if b'"dtype"' in spoilt[:200] else "spoilt.pth"
        Path(name).write_bytes(spoilt)
        return attempt(load_weights, model, name)

    seen = fuzz(700, files(originals), outcome)
    figure(f"{seen.total():,} damaged files of weights: {seen['refused']:,} refused, 0 tracebacks, nothing run")
    assert not Path(FLAGS[0]).exists()
    assert seen["refused"] > 300


@st.composite
def states(draw: st.DrawFn, state: dict) -> dict:
    """A whole file in which some value, however deep, is another one."""
    state = copy.deepcopy(state)
    for _ in range(draw(st.integers(1, 2))):
        holder: Any = state
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            key = draw(st.sampled_from(keys))
            if not (isinstance(holder[key], (dict, list)) and holder[key] and draw(st.integers(0, 2))):
                break
            holder = holder[key]
        if draw(st.integers(0, 4)):
            holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
        else:
            del holder[key]
    return state


@pytest.mark.row(42)
@pytest.mark.row(21)
def test_a_checkpoint_of_odd_values_is_refused(fuzz, attempt, figure, whole, tiny):
    """A whole file, its own digest included, that some other program wrote."""
    state = checkpoint.load(whole)

    def outcome(odd: dict) -> str:
        checkpoint.save({key: value for key, value in odd.items() if key != "format"}, Path("odd.pt"))
        if same(odd.get("config"), state["config"]):
            resumed = attempt(lambda: Runner(tiny, "run2", resume="odd.pt"))
        else:
            resumed = attempt(lambda: checkpoint.load("odd.pt"))
        tested = attempt(lambda: Trained("odd.pt", device="cpu").evaluation_loaders())
        read = attempt(read_weights, Path("odd.pt"))
        return f"resume {resumed}, test {tested}, weights {read}"

    seen = fuzz(300, states(state), outcome)
    figure(f"{seen.total():,} checkpoints with odd values: 0 tracebacks of resume, test and weights")
    assert len(seen) > 3
