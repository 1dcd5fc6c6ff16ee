"""What the file system may answer while checkpoints are written, looked for and removed."""

from __future__ import annotations

import builtins
import errno
import os
from pathlib import Path

import pytest

from knoll.registry import UserError
from knoll.runner.saving import checkpoint
from knoll.runner.saving.checkpoint import damage, load, make_ready, newest_whole, save_step
from knoll.runner.saving.resume import find_checkpoint, folder_of
from knoll.runner.saving.state_kinds import KINDS

# A part of each kind that a checkpoint has, empty.
PLAIN = {key: getattr(kind, "__origin__", kind)() for key, kind in KINDS.items()} | dict(world_size=1)


def steps(*numbers: int, keep: int = 9, best: int = 0) -> Path:
    """Write checkpoints of these steps, and return their folder."""
    for step in numbers:
        save_step({**PLAIN, "step": step}, Path("run/checkpoints"), keep=keep, best=step == best)
    return Path("run/checkpoints")


def rot(file: Path) -> None:
    """One bit; every name of the file has it."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int, owner: object = os) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner, name, fail)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_not_taken_for_damaged(monkeypatch):
    folder = steps(1, 2)
    rot(steps(3) / "step_00000003.pt")
    names = sorted(file.name for file in folder.iterdir())
    real = builtins.open

    def flaky(path, *arguments, **options):
        if str(path).endswith("step_00000002.pt"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(builtins, "open", flaky)
    told = r"step_00000002\.pt is whole cannot be told: Input/output error\. It stays as it is"
    with pytest.raises(UserError, match=told):
        newest_whole(Path("run"))
    with pytest.raises(UserError, match=told):
        make_ready(folder, 3)
    assert sorted(file.name for file in folder.iterdir()) == names  # nor is what is damaged renamed


def test_a_whole_best_is_offered_when_all_steps_are_damaged():
    folder = steps(1, 2, keep=1, best=1)
    rot(folder / "step_00000002.pt")  # and with it last.pt
    with pytest.raises(UserError) as error:
        newest_whole(Path("run"))
    assert str(error.value).splitlines()[-1] == f"{folder}/best.pt is whole: --resume {folder}/best.pt"
    with pytest.raises(UserError, match=f"beside it that is whole is {folder}/best.pt"):
        load(folder / "last.pt")
    assert load(find_checkpoint(f"{folder}/best.pt", "x", None) or "")["step"] == 1


def test_a_file_is_hashed_once_as_long_as_it_is_the_same(monkeypatch):
    folder = steps(1, 2, best=1)
    for file in folder.glob("step_*.pt"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
    hashed: list[str] = []
    real = checkpoint.verify
    monkeypatch.setattr(checkpoint, "verify", lambda file: hashed.append(Path(file.name).name) or real(file))
    found = newest_whole(Path("run"))
    assert found is not None
    load(found)
    make_ready(folder, 2)
    assert hashed == ["step_00000002.pt", "step_00000001.pt"]
    rot(found)
    assert damage(found) == "it is damaged: its SHA-256 is not the one that it carries"


def test_what_has_just_been_written_is_hashed_again():
    """Two changes within a tick of the clock have the same time."""
    found = steps(1) / "step_00000001.pt"
    assert damage(found) is None
    status = found.stat()
    rot(found)
    os.utime(found, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert damage(found) is not None


def test_the_folder_of_checkpoints_may_be_named_itself(monkeypatch):
    folder = steps(1, 2)
    run = Path("run").absolute()
    assert find_checkpoint(str(folder), "x", None) == folder / "step_00000002.pt"
    monkeypatch.chdir(folder)
    found = find_checkpoint(".", "x", None)
    assert found is not None
    assert (found, folder_of(found)) == (Path("step_00000002.pt"), run)
    monkeypatch.chdir(run)
    Path("checkpoints").rename("copied")
    assert find_checkpoint("copied", "x", None) == Path("copied/step_00000002.pt")


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_file_system_that_cannot_synchronise_folders(monkeypatch, number):
    real = os.fsync

    def fsync(handle: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{handle}")).is_dir():
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    if number == errno.EIO:
        with pytest.raises(UserError, match="Input/output error"):
            steps(1)
    else:
        assert load(steps(1) / "last.pt")["step"] == 1


@pytest.mark.parametrize(("number", "room"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.ESTALE, False)])
def test_of_a_full_disk_only_it_is_said_that_room_is_needed(monkeypatch, number, room):
    folder = steps(1)
    failing(monkeypatch, "replace", number)
    with pytest.raises(UserError) as error:
        steps(2)
    told = str(error.value)
    assert told.startswith(f"the checkpoint {folder}/step_00000002.pt could not be written: {os.strerror(number)}\n")
    assert f"{folder}/step_00000001.pt is untouched and whole." in told
    assert ("Make room" in told, "are free there" in told) == (room, room)


def test_if_a_second_name_cannot_be_given_it_is_that_which_is_named(monkeypatch):
    folder = steps(1)
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target).name == "last.pt":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(source), None, str(target))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(UserError) as error:
        steps(2)
    assert str(error.value).splitlines()[:2] == [
        f"the checkpoint {folder}/last.pt could not be written: {os.strerror(errno.ESTALE)}",
        f"{folder}/step_00000001.pt is untouched and whole.",
    ]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES])
def test_an_old_checkpoint_that_cannot_be_removed_ends_no_run(monkeypatch, logged, number):
    folder = steps(1, 2)
    real = os.unlink

    def unlink(path, **options) -> None:
        if str(path).endswith("step_00000001.pt"):
            if number == errno.EACCES:
                raise OSError(number, os.strerror(number))
            real(path)  # someone else was faster
        real(path, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    steps(3, keep=1)
    warned = [f"{folder}/step_00000001.pt could not be removed: Permission denied"]
    assert logged == (warned if number == errno.EACCES else [])
    assert not (folder / "step_00000002.pt").exists()
