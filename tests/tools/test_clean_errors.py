"""How a command ends that cannot do what it is asked: a message, exit status 2, no traceback."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import yaml
from PIL import Image

from knoll.registry.system_errors import in_words, lacks_memory, naming
from knoll.runner import Runner
from knoll.tools import check, cli, data, export, predict, summary, test, train
from knoll.tools import list as list_tool

CHECKPOINT = "run/checkpoints/last.pt"


@pytest.fixture
def call(capsys):
    """A tool in this process: exit status and standard error, which must be a short message."""

    def run(tool, *arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        status = cli.run(tool.main, arguments)
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert error.count("\n") < 10
        return status, error

    return run


@pytest.fixture
def trained(tiny):
    Path("tiny.yaml").write_text(yaml.safe_dump(tiny))
    Runner(tiny | dict(duration=2), "run").train()
    Image.new("L", (28, 28)).save("good.png")


BAD_CONFIGS = {
    "gone.yaml": (None, "there is no config file gone.yaml"),
    "empty.yaml": (b"", "empty.yaml: a config file in YAML is a mapping"),
    "empty.py": (b"", "empty.py: a config file assigns a dict to the name `config`"),
    "binary.yaml": (bytes(range(256)), "binary.yaml is not a text file in UTF-8"),
    "binary.py": (bytes(range(256)), "binary.py is not a text file in UTF-8"),
    "open.py": (b"config = dict(\n", "open.py:1: not valid Python"),
    "open.yaml": (b"model: [1\n", "open.yaml:2: not valid YAML"),
    "raises.py": (b"\nopen('gone')\n", "raises.py:2: running the config raised FileNotFoundError"),
    "x" * 300: (None, "File name too long: choose a shorter name"),
}


@pytest.mark.parametrize("name", BAD_CONFIGS, ids=lambda name: ascii(name)[1:20])
def test_bad_configs(call, working_directory, name):
    content, message = BAD_CONFIGS[name]
    if content is not None:
        Path(name).write_bytes(content)
    for tool, arguments in ((train, [name]), (check, [name]), (summary, [name]), (data, ["stats", name])):
        status, error = call(tool, *arguments)
        assert status == 2
        assert message in error


def test_a_folder_or_a_link_to_itself_as_a_config(call, working_directory):
    Path("folder.yaml").mkdir()
    Path("loop.yaml").symlink_to("loop.yaml")
    for name in ("folder.yaml", "loop.yaml"):
        assert call(train, name) == (2, f"error: there is no config file {name}.\n")


@pytest.mark.usefixtures("trained")
def test_places_that_cannot_be_written_are_named_before_the_work(call, forked):
    """As an ordinary user: root may write where it is forbidden."""
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc here")
    for tool, arguments, option, name in (
        (test, [CHECKPOINT], "--out", "x.csv"),
        (predict, [CHECKPOINT, "good.png"], "--out", "x.json"),
        (predict, [CHECKPOINT, "good.png"], "--show", "x.png"),
        (export, [CHECKPOINT], "--to", "x.safetensors"),
        (data, ["show", "tiny.yaml"], "--out", "x.png"),
    ):
        for place, message in (
            (f"gone/{name}", f"{option}: there is no folder {Path('gone').absolute()}"),
            (f"/proc/{name}", f"error: {option}: /proc/{name}: No such file or directory"),
            (f"{'x' * 300}{Path(name).suffix}", "File name too long: choose a shorter name"),
        ):
            status, error = call(tool, *arguments, option, place)
            assert status == 2
            assert message in error


@pytest.mark.usefixtures("trained")
def test_no_permission_to_write(forked):
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)

    def as_a_user() -> None:
        from knoll.runner.saving.whole_file import require_writable

        if os.getuid() == 0:
            os.setuid(65534)
        with pytest.raises(Exception, match=f"--out: {folder}/x.csv: Permission denied: give yourself"):
            require_writable("--out", folder / "x.csv", (".csv",))

    assert os.waitpid(forked(as_a_user), 0)[1] == 0
    folder.rmdir()


@pytest.mark.usefixtures("trained")
def test_an_empty_place_is_a_variable_that_was_not_set(capsys):
    for option in ("--work-dir", "--resume"):
        with pytest.raises(SystemExit) as ended:
            cli.run(train.main, ["tiny.yaml", option, ""])
        assert ended.value.code == 2
        assert f"argument {option}: it is empty: name a place" in capsys.readouterr().err


def fill(buffered: bool) -> int:
    """A tool that prints, to a standard output that is a file of its own, not what pytest reads."""
    sys.stdout = open(1, "w", buffering=-1 if buffered else 1, closefd=False)  # noqa: SIM115
    return cli.run(list_tool.main, [])


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("where", ["full disk", "no reader", "closed"])
def test_standard_output_that_takes_nothing(forked, working_directory, where, buffered):
    if where == "full disk" and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")

    def child() -> None:
        os.dup2(os.open("stderr", os.O_WRONLY | os.O_CREAT), 2)
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        if where == "full disk":
            os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        elif where == "no reader":
            read, write = os.pipe()
            os.dup2(write, 1)
            os.close(write)
            os.close(read)
        if where == "closed":
            sys.stdout = None
            raise SystemExit(cli.run(list_tool.main, []))
        raise SystemExit(fill(buffered))

    status = os.waitstatus_to_exitcode(os.waitpid(forked(child), 0)[1])
    error = Path("stderr").read_text()
    assert status == (2 if where == "full disk" else 0), error
    if where == "full disk":
        assert error.count("\n") == 1
        assert error.startswith("error: ")
        assert "No space left on device: make room there" in error
        assert not buffered or "the output cannot be written" in error
    else:
        assert error == ""


def failing(error: BaseException):
    def tool(_) -> int:
        raise error

    return tool


def with_cause(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "run/x"), "error: run/x: No space left on device: make room there"),
        (OSError(24, "Too many open files", "a.jpg"), "error: a.jpg: Too many open files: raise the limit (ulimit -n"),
        (OSError(5, "Input/output error", "a.jpg"), "error: a.jpg: Input/output error: the disk or the network"),
        (PermissionError(13, "Permission denied", "a"), "error: a: Permission denied: give yourself the permission"),
        (OSError("cannot identify\nimage"), "error: cannot identify\\nimage: --debug shows where"),
        (MemoryError(), "error: not enough memory: MemoryError. Take smaller batches"),
        (
            with_cause(ValueError("sample 3"), RuntimeError("DefaultCPUAllocator: can't allocate memory")),
            "error: not enough memory: sample 3. Take smaller batches",
        ),
        (BrokenPipeError(32, "Broken pipe"), "error: Broken pipe"),  # of a worker, not of the standard output
    ],
)
def test_errors_of_the_machine_are_messages(error, message, capsys):
    assert cli.run(failing(error), []) == 2
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.count("\n") == 1
    with pytest.raises(type(error)):
        cli.run(failing(error), ["--debug"])


@pytest.mark.parametrize("error", [AttributeError("x"), RuntimeError("x"), KeyError("x"), SystemExit(143)])
def test_errors_of_programmers_and_exits_go_on(error):
    with pytest.raises(type(error)):
        cli.run(failing(error), [])


def test_a_thread_that_writes_leaves_its_error_to_who_waits_for_it(capfd):
    def tool(_) -> int:
        for error in (OSError(28, "No space left on device"), ValueError("a mistake")):
            thread = threading.Thread(target=lambda error=error: (_ for _ in ()).throw(error))
            thread.start()
            thread.join()
        return 0

    before = threading.excepthook
    assert cli.run(tool, []) == 0
    error = capfd.readouterr().err
    assert "ValueError: a mistake" in error
    assert "No space left" not in error
    assert threading.excepthook is before


def test_an_error_that_names_no_file_is_given_one():
    with pytest.raises(OSError, match="No space") as error, naming("a"), naming("b"):
        raise OSError(28, "No space left on device")
    assert error.value.filename == "b"
    assert in_words(error.value).startswith("b: No space left on device: ")
    assert not lacks_memory(error.value)


def test_a_kind_that_there_is_not(call):
    status, error = call(list_tool, "backbone5")
    assert status == 2
    assert error.startswith("error: there is no kind 'backbone5'. Did you mean `backbones`")


def test_garbage_is_not_looked_for_while_libraries_are_imported():
    assert gc.isenabled()
    with cli.importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), cli.importing():
        _ = 1 / 0
    assert gc.isenabled()
