"""What is no checkpoint, in the place of one: an error of a few lines that names the file, and nothing new on disk."""

from __future__ import annotations

import io
import pickle
import random
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from knoll.registry import UserError
from knoll.registry.sealed import SealingWriter
from knoll.runner import Runner
from knoll.runner.saving.checkpoint import KEYS, load, save
from knoll.tools import export, predict, test, train


def write_wrong_files() -> dict[str, Path]:
    """One of each kind, by what it is."""
    Path("wrong").mkdir()
    draw = random.Random(0)
    contents = {
        "empty": b"",
        "random bytes": draw.randbytes(5000),
        "random bytes after zip's signature": b"PK\x03\x04" + draw.randbytes(5000),
        "text": "no checkpoint, 只是文字\n".encode() * 20,
        "a web page": b"<!DOCTYPE html><html><title>Sign in</title></html>",
        "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "the hash alone": b"knoll sha256 " + b"0" * 64,
        "an end of a zip archive alone": b"PK\x05\x06" + bytes(16) + b"\x4d\x00knoll sha256 " + b"0" * 64,
    }
    files = {}
    for number, (kind, content) in enumerate(contents.items()):
        files[kind] = Path(f"wrong/{number}.pt")
        files[kind].write_bytes(content)

    def path(kind: str) -> Path:
        return files.setdefault(kind, Path(f"wrong/{len(files)}.pt"))

    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path("TorchScript"))
    torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict()}, path("weights of others"))
    torch.save(torch.nn.Linear(2, 2), path("a whole model"))
    torch.save({"a": 1}, path("the format before 1.6"), _use_new_zipfile_serialization=False)
    with tarfile.open(path("legacy tar"), "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            content = pickle.dumps({"protocol_version": 1000}, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with zipfile.ZipFile(path("a zip archive"), "w") as archive:
        archive.writestr("a.txt", "a")
    with zipfile.ZipFile(path("a zip archive with our comment"), "w") as archive:
        archive.writestr("a.txt", "a")
        archive.comment = b"knoll sha256 " + b"0" * 64
    with open(path("a zip archive with our comment, and right"), "wb") as file:
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w") as archive:
            archive.writestr("a.txt", "a")
        writer = SealingWriter(file)
        writer.write(whole.getvalue())
        writer.seal()
    save({"model": {}}, path("a sealed state without the rest"))
    save(dict.fromkeys(KEYS, 7), path("another format"))
    for kind in ("a folder", "a folder that is named as a file"):
        path(kind).mkdir()
    files["not there"] = Path("wrong/gone.pt")
    return files


@pytest.mark.row(21)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_checkpoint_is_refused_everywhere(tiny, working_directory, figure):
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    files = write_wrong_files()
    there = set(working_directory.rglob("*"))
    refused = 0
    for kind, path in files.items():
        ways = {
            "read": lambda path=path: load(path),
            "resume": lambda path=path: train.main(["tiny.yaml", "--resume", str(path)]),
            "Runner": lambda path=path: Runner(tiny, "new", resume=path),
            "test": lambda path=path: test.main([str(path)]),
            "predict": lambda path=path: predict.main([str(path), "--random", "1"]),
            "export": lambda path=path: export.main([str(path), "--to", "out.safetensors"]),
            "weights": lambda path=path: train.main(["tiny.yaml", f"weights={path}", "--work-dir", "new"]),
        }
        for way, call in ways.items():
            with pytest.raises(UserError) as error:
                call()
            assert str(path) in str(error.value), (kind, way)
            assert len(str(error.value).splitlines()) < 10, (kind, way)
            refused += 1
    assert set(working_directory.rglob("*")) == there
    figure(f"{len(files)} kinds of file x {len(ways)} entries: {refused} errors of a few lines, nothing new on disk")


@pytest.mark.row(21)
def test_from_a_shell_too(tiny, launcher, working_directory):
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    files = write_wrong_files()
    for name, *arguments in (
        ("train", "tiny.yaml", "--work-dir", "new", "--resume", files["random bytes"]),
        ("test", files["legacy tar"]),
        ("predict", files["TorchScript"], "--random", "1"),
    ):
        process = launcher.start(name, *arguments, folder=working_directory, output=f"{name}.txt")
        assert launcher.wait(process) == 2
        told = Path(f"{name}.txt").read_text()
        assert told.startswith(f"error: {next(each for each in arguments if isinstance(each, Path))} ")
        assert len(told.splitlines()) < 10
        assert "Traceback" not in told
    assert not Path("new").exists()
