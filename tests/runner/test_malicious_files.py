"""Files made to run code when they are unpickled: none of it runs, at any entry, whatever stands around it."""

from __future__ import annotations

import ast
import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save as to_safetensors

from knoll.registry import UserError
from knoll.registry.discover import PACKAGE_ROOT
from knoll.registry.sealed import SealingWriter
from knoll.runner import Runner, Trained
from knoll.runner.saving.checkpoint import load
from knoll.tools import export, predict, test, train

RAN = Path("ran")


class Reduces:
    """Unpickled, it calls what it was given."""

    def __init__(self, call: Callable, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable, tuple]:
        return self.call, self.arguments

    def __call__(self) -> None: ...  # pickle wants what it will call to be callable now


def payloads(ran: Path) -> dict[str, Any]:
    text = str(ran)
    return {
        "os.system": Reduces(os.system, f"touch {text}"),
        "eval": Reduces(eval, f"open({text!r}, 'w')"),
        "Path.touch": Reduces(Path.touch, ran),
        "getattr": Reduces(Reduces(getattr, Path, "touch"), ran),  # pyright: ignore[reportArgumentType]
        "pickle.loads": Reduces(pickle.loads, pickle.dumps(Reduces(os.system, f"touch {text}"))),
        "torch.hub": Reduces(torch.hub._load_local, str(ran.parent), "hubconf"),
    }


def sealed(state: Any) -> bytes:
    file = io.BytesIO()
    writer = SealingWriter(file)
    torch.save(state, writer)  # pyright: ignore[reportArgumentType]
    writer.seal()
    return file.getvalue()


def plain(state: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def with_comment(content: bytes) -> bytes:
    """The SHA-256 of ours after what is no zip archive."""
    return content + b"knoll sha256 " + hashlib.sha256(content).hexdigest().encode()


def legacy_tar(state: Any) -> bytes:
    """What torch wrote before 0.1.10: an archive of pickles."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("storages", "tensors", "pickle", "sys_info"):
            content = pickle.dumps(state if name in ("pickle", "storages") else 0, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def files(state: dict[str, Any], payload: Any) -> dict[str, bytes]:
    """A checkpoint with code in one place of it, in every form that a reader may be led to unpickle."""
    bad = state | {"hooks": {"checkpoint": payload}}
    in_model = state | {"model": dict(state["model"], extra=payload)}
    return {
        "sealed.pt": sealed(bad),
        "sealed_model.pt": sealed(in_model),
        "zip.pt": plain(in_model),
        "legacy.pt": plain(in_model, _use_new_zipfile_serialization=False),
        "legacy_sealed.pt": with_comment(plain(in_model, _use_new_zipfile_serialization=False)),
        "pickle.pt": pickle.dumps(in_model),
        "tar.pt": legacy_tar(in_model),
        "pickle.safetensors": pickle.dumps(payload),
        "zip.safetensors": sealed(in_model),
        "metadata.safetensors": to_safetensors({"x": torch.zeros(1)}, {"knoll": str(pickle.dumps(payload, 0))}),
    }


@pytest.fixture
def genuine(tiny, working_directory) -> dict[str, Any]:
    """The state of a run that `tiny.yaml` is the config of."""
    (working_directory / "hubconf.py").write_text(f"open({str(working_directory / RAN)!r}, 'w')")
    (working_directory / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    Runner(tiny, "run").train()
    return load("run/checkpoints/last.pt")


def entries(tiny: dict, path: str, new: str) -> dict[str, Callable[[], object]]:
    """Every way into Knoll for a file; those of the tools as they are called from a shell."""
    folder = Path("runs/damaged/checkpoints")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("step_00000012.pt", "last.pt"):
        (folder / name).write_bytes(Path(path).read_bytes())
    step = str(folder / "step_00000012.pt")
    return {
        "train --resume FILE": lambda: train.main(["tiny.yaml", "--resume", step]),
        "train --resume FOLDER": lambda: train.main(["tiny.yaml", "--resume", str(folder.parent)]),
        "train --resume": lambda: train.main(["tiny.yaml", "--work-dir", str(folder.parent), "--resume"]),
        "train weights=": lambda: train.main(["tiny.yaml", f"weights={path}", "duration=1", "--work-dir", new]),
        "test": lambda: test.main([path]),
        "test weights=": lambda: test.main(["tiny.yaml", f"weights={path}"]),
        "predict": lambda: predict.main([path, "--random", "1"]),
        "export": lambda: export.main([path, "--to", "out.safetensors"]),
        "Runner": lambda: Runner(tiny, new, resume=path),
        "Trained": lambda: Trained(path),
    }


@pytest.mark.row(20)
def test_the_payloads_run_where_they_are_unpickled_without_care(working_directory, genuine):
    """Else the test below would show nothing."""
    ran = working_directory / RAN
    for name, payload in payloads(ran).items():
        content = plain(genuine | {"hooks": payload})
        with suppress(Exception):  # what it calls need not like what it was given
            torch.load(io.BytesIO(content), weights_only=False)
        assert ran.exists(), name
        ran.unlink()


@pytest.mark.row(20)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_nothing_in_a_file_runs_at_any_entry(tiny, genuine, working_directory, figure):
    """Of weights the tensors are taken, and what else is in the file is not looked at: see models/weights/read.py."""
    ran = working_directory / RAN
    tried = refused = without = 0
    for payload in payloads(ran).values():
        for name, content in files(genuine, payload).items():
            Path(name).write_bytes(content)
            for entry, call in entries(tiny, name, f"new/{tried}").items():
                tried += 1
                try:
                    call()
                    without += 1
                    assert "weights=" in entry, (name, entry)
                except UserError as error:
                    refused += len(str(error).splitlines()) < 10
                assert not ran.exists(), (name, entry)
    assert not Path("out.safetensors").exists()
    assert refused + without == tried
    assert refused > without
    figure(
        f"{tried} attempts (payloads x kinds of file x entries): {refused} refused with a message, {without} took the "
        "tensors as weights and left out the rest; nothing ran"
    )


@pytest.mark.row(20)
def test_no_line_of_ours_reads_a_pickle_without_care(figure):
    """Each call of a reader in the package, by its syntax."""
    calls, wrong = 0, []
    for file in PACKAGE_ROOT.rglob("*.py"):
        if {"tests", ".typings", "build", ".venv"} & set(file.relative_to(PACKAGE_ROOT).parts):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called, place = ast.unparse(node.func), f"{file.relative_to(PACKAGE_ROOT)}:{node.lineno}"
            given = {each.arg: ast.unparse(each.value) for each in node.keywords}
            if called == "torch.load":
                calls += 1
                wrong += [place] if given.get("weights_only") != "True" else []
            elif called == "np.load":
                calls += 1
                wrong += [place] if given.get("allow_pickle", "False") != "False" else []
            elif called.partition(".")[0] in ("dill", "joblib", "marshal", "shelve", "cloudpickle") or called in (
                *("pickle.load", "pickle.Unpickler", "torch.jit.load", "torch.hub.load", "yaml.load", "eval"),
                *("torch.serialization.add_safe_globals", "torch.package.PackageImporter", "yaml.unsafe_load"),
            ):
                wrong.append(place)
            elif called in ("exec", "pickle.loads"):
                # A config is code. A worker that is not forked gets its data set from the process that starts it.
                allowed = {"exec": "registry/config.py", "pickle.loads": "datasets/loading/workers.py"}
                wrong += [place] if file.relative_to(PACKAGE_ROOT).as_posix() != allowed[called] else []
    assert wrong == []
    assert calls >= 2
    figure(f"{calls} calls of torch.load and np.load in the source, all of plain types only")
