"""Checkpoint files are whole on the disk, carry their SHA-256, and are not read when they are not what was written."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from knoll.models.weights import load_weights
from knoll.registry import UserError
from knoll.registry.sealed import SealingWriter, verify
from knoll.runner import Runner
from knoll.runner.saving import checkpoint
from knoll.runner.saving.checkpoint import damage, load, save, save_step
from knoll.runner.saving.resume import find_checkpoint
from knoll.runner.saving.state_kinds import KINDS

# A part of each kind that a checkpoint has, empty.
PLAIN = {key: getattr(kind, "__origin__", kind)() for key, kind in KINDS.items()} | dict(world_size=1)


def state(step: int) -> dict:
    weights = torch.randn(50, 50, generator=torch.Generator().manual_seed(step))
    return {**PLAIN, "step": step, "model": {"weight": weights}}


@pytest.fixture
def run(tiny, working_directory):
    """A run of 12 steps that kept those of steps 10 and 12; `last.pt` and perhaps `best.pt` are the same file."""
    Runner(tiny, "run").train()
    return working_directory / "run"


@pytest.mark.row(2)
def test_file_and_folder_are_on_the_disk_before_anything_is_relied_on(working_directory, monkeypatch, figure):
    """The order of calls to the system; what is synchronised is told from what descriptors stand for."""
    folder = working_directory / "checkpoints"
    for step in (1, 2):
        save_step(state(step), folder, keep=2, best=False)
    calls: list[str] = []
    fsync, replace, unlink = os.fsync, os.replace, Path.unlink

    def synchronise(handle: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{handle}"))
        calls.append(f"fsync {place.name}")
        assert place.is_dir() or damage(place) is None  # all of it is in the system's hands
        fsync(handle)

    def rename(source: Path, target: Path) -> None:
        calls.append(f"{source.name} -> {target.name}")
        replace(source, target)

    def remove(path: Path, missing_ok: bool = False) -> None:
        if path.exists():
            calls.append(f"remove {path.name}")
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "fsync", synchronise)
    monkeypatch.setattr(os, "replace", rename)
    monkeypatch.setattr(Path, "unlink", remove)
    save_step(state(3), folder, keep=2, best=True)
    step, last, best = (f".{name}.{os.getpid()}.partial" for name in ("step_00000003.pt", "last.pt", "best.pt"))
    file, links = [f"fsync {step}", f"{step} -> step_00000003.pt", "fsync checkpoints"], []
    for partial, name in ((last, "last.pt"), (best, "best.pt")):
        links += [f"{partial} -> {name}", "fsync checkpoints"]
    assert calls == [*file, *links, "remove step_00000001.pt"]
    assert (folder / "last.pt").samefile(folder / "best.pt")

    def no_links(*_: object) -> None:
        raise OSError("this file system has no hard links")

    monkeypatch.setattr(os, "link", no_links)
    calls.clear()
    save_step(state(4), folder, keep=3, best=False)
    assert calls[3:] == [f"fsync {last}", f"{last} -> last.pt", "fsync checkpoints"]
    assert load(folder / "last.pt")["step"] == 4
    figure(f"fsync of the file, rename, fsync of the folder: {len(file) + len(links)} calls in this order, links too")


def test_the_hash_is_over_all_bytes_before_the_comment_and_any_zip_reader_reads_the_file(working_directory):
    path = working_directory / "x.pt"
    save(state(1), path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        comment = archive.comment
    whole = path.read_bytes()
    assert comment == b"knoll sha256 " + hashlib.sha256(whole[: -len(comment)]).hexdigest().encode()
    assert whole.endswith(comment)
    read = torch.load(path, weights_only=True)
    assert torch.equal(read["model"]["weight"], state(1)["model"]["weight"])
    for copied in (shutil.copy(path, "copied.pt"), "linked.pt"):
        if copied == "linked.pt":
            os.link(path, copied)
        assert load(copied)["step"] == 1


def test_any_way_of_writing_gives_the_same_file():
    """torch.save writes in pieces of its own choice; the end may come in one or byte by byte."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a", random.Random(0).randbytes(5000))
    results = set()
    for seed in range(20):
        sizes, left, file = random.Random(seed), whole.getvalue(), io.BytesIO()
        writer = SealingWriter(file)
        while left:
            size = sizes.choice((0, 1, 2, 21, 22, 23, 44, 3000))
            assert writer.write(left[:size]) == len(left[:size])
            left = left[size:]
        writer.seal()
        assert writer.size == len(file.getvalue())
        assert verify(file)
        results.add(file.getvalue())
    assert len(results) == 1


@pytest.mark.row(18)
def test_a_truncated_newest_checkpoint_is_passed_over_for_the_one_before(tiny, run, logged, fingerprint, figure):
    newest, before = (run / f"checkpoints/step_{step:08d}.pt" for step in (12, 10))
    whole, uninterrupted = newest.read_bytes(), fingerprint(newest)
    ends = [0, 1, 21, 22, 98, 99, 100, *(len(whole) - cut for cut in (1, 2, 63, 64, 76, 77, 78, 98, 99, 100, 500))]
    offsets = [*ends, *random.Random(0).sample(range(101, len(whole) - 501), 100 - len(ends))]
    fell_back = 0
    for offset in offsets:
        newest.write_bytes(whole[:offset])  # in its place, so that last.pt, the same file, is cut off too
        logged.clear()
        found = find_checkpoint("auto", "tiny", run)
        fell_back += found == before and len(logged) == 1 and logged[0].startswith(f"passed over: {newest} cannot")
    assert len(set(offsets)) == fell_back == 100

    for offset in offsets[::40]:
        newest.write_bytes(whole[:offset])
        Runner(tiny, run, resume=find_checkpoint("auto", "tiny", run)).train()
        assert load(newest)["step"] == load(run / "checkpoints/last.pt")["step"] == 12
        assert fingerprint(newest) == uninterrupted
        assert newest.with_name(f"{newest.name}.damaged").stat().st_size == offset
    figure(f"{fell_back} of 100 truncations: the one before is taken, and the other named; 3 trained to the same SHA")


@pytest.mark.row(19)
def test_no_flipped_bit_is_loaded_silently(run, logged, figure):
    newest, before = (run / f"checkpoints/step_{step:08d}.pt" for step in (12, 10))
    whole = newest.read_bytes()
    model = torch.nn.Linear(1, 1)  # the file is refused before anything is compared with it
    bits = random.Random(0)
    in_the_end = [8 * (len(whole) - 99) + bit for bit in bits.sample(range(8 * 99), 60)]  # zip's end and the hash
    flips = [*bits.sample(range(8 * (len(whole) - 99)), 340), *in_the_end]
    refused = passed_over = as_weights = torch_took = 0
    for flip in flips:
        place, bit = divmod(flip, 8)
        newest.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        refused += _refuses(load, newest)
        as_weights += _refuses(lambda path: load_weights(model, path), newest)
        passed_over += find_checkpoint("auto", "tiny", run) == before
        try:
            torch.load(newest, weights_only=True)
            torch_took += 1
        except Exception:  # a damaged file can raise anything
            pass
    assert len(set(flips)) == refused == passed_over == as_weights == 400
    assert torch_took > 300  # else this test would show nothing
    figure(f"{400 - refused} of 400 flips loaded; torch.load alone took {torch_took}. As weights: {400 - as_weights}")


def _refuses(reader, path: Path) -> bool:
    try:
        reader(path)
    except UserError as error:
        return "its SHA-256 is not the one that it carries" in str(error)
    return False


def test_a_damaged_file_that_was_named_is_an_error_that_names_the_newest_whole_one(tiny, run):
    newest = run / "checkpoints/step_00000012.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    for named in (newest, run / "checkpoints/last.pt"):
        with pytest.raises(UserError) as error:
            Runner(tiny, run, resume=find_checkpoint(str(named), "tiny", None))
        assert str(error.value) == (
            f"{named} cannot be used: it carries no SHA-256: it was cut off, or this version did not write it. "
            f"The newest beside it that is whole is {run / 'checkpoints/step_00000010.pt'}"
        )


def test_if_all_are_damaged_they_are_named_and_no_new_run_begins(run):
    for file in checkpoint.step_files(run / "checkpoints"):
        file.write_bytes(b"")
    for wanted, folder in (("auto", run), ("must", run), (str(run), None)):
        with pytest.raises(UserError) as error:
            find_checkpoint(wanted, "tiny", folder)
        told = str(error.value).splitlines()
        assert told[0] == f"no checkpoint of {run} can be used:"
        assert [line.split(":")[0].strip() for line in told[1:3]] == [
            str(run / f"checkpoints/step_{step:08d}.pt") for step in (12, 10)
        ]


def test_what_is_damaged_does_not_stay_under_its_name_when_the_run_goes_on(tiny, run, logged):
    """The best, of an early step, rots by itself; the newest and `last.pt` are one file."""
    folder = run / "checkpoints"
    (folder / "best.pt").unlink()
    save(load(folder / "step_00000010.pt") | {"step": 4}, folder / "best.pt")
    for name in ("best.pt", "last.pt"):
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
    (folder / ".step_00000011.pt.4242.partial").write_bytes(b"half")
    (folder / ".last.pt.4242.partial").write_bytes(b"")
    found = find_checkpoint("auto", "tiny", run)
    Runner(tiny, run, resume=found).train()
    assert damage(folder / "last.pt") is None
    assert load(folder / "last.pt")["step"] == 12
    assert not (folder / "best.pt").exists() or damage(folder / "best.pt") is None
    aside = {f"{name}.damaged" for name in ("best.pt", "last.pt", "step_00000012.pt")}
    assert {file.name for file in folder.iterdir() if file.name.endswith(".damaged")} == aside
    assert not list(folder.glob(".*"))
    text = (run / "log.txt").read_text()
    assert all(f"{name} is set aside as {name}.damaged" in text for name in ("best.pt", "last.pt"))
