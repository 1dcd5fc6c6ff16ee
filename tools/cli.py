"""`knoll <command>`: the tools of this folder under one name, and how each of them ends."""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import io
import multiprocessing
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn, TextIO

from knoll.registry.errors import UserError, one_line
from knoll.registry.system_errors import in_words, lacks_memory

USER_ERROR, INTERRUPTED = 2, 130
_FIRST_SAYS = 5.0  # seconds; torchrun looks ten times in one
# Names of files are bytes, and those that are not UTF-8 no text: `\\udcff` is written for such a byte, 0xff.
NOT_UNICODE = "backslashreplace"


def commands(package: ModuleType) -> dict[str, str]:
    """The commands and the first line of what each says of itself, read without importing them."""
    files = sorted(Path(package.__path__[0]).glob("*.py"))
    tools = [file for file in files if file.stem not in ("__init__", "cli")]
    docs = {file.stem: ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) for file in tools}
    return {name: (doc or "").partition("\n")[0] for name, doc in docs.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return the exit status."""
    from knoll import tools

    return run(lambda words: dispatch("knoll", "Image classification research on PyTorch.", tools, words), argv)


def dispatch(usage: str, description: str, package: ModuleType, argv: Sequence[str] | None = None) -> int:
    """Call the main of that file of a package which the first word names; without one, say which there are."""
    argv = list(sys.argv[1:] if argv is None else argv)
    known = commands(package)
    if argv and argv[0] in known:
        return importlib.import_module(f"{package.__name__}.{argv[0]}").main(argv[1:])
    width = max(map(len, known))
    listed = "\n".join(f"  {name:<{width}}  {line}" for name, line in known.items())
    parser = argparse.ArgumentParser(
        usage,
        description=f"{description}\n\ncommands:\n{listed}",
        epilog=f"`{usage} <command> --help` says more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=known, metavar="command", help="one of the above")
    parser.parse_args(argv or ["--help"])
    return USER_ERROR


def run(tool: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Call a tool's main, and return the exit status.

    What is the user's to mend, or the machine's, such as a full disk, is printed as a message; `--debug` shows the
    traceback too. Any other error is a programmer's, and has its traceback.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=NOT_UNICODE)  # as of stderr; a name shall not end a run that prints it
    threading.excepthook, before = threading.__excepthook__ if debug else _in_a_thread, threading.excepthook
    try:
        status = tool([word for word in argv if word != "--debug"])
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except KeyboardInterrupt as error:
        if _is_first():  # of several processes, which Ctrl-C all reaches
            _say("; ".join(["interrupted", *map(str, error.args)]))
        _leave(INTERRUPTED)
    except Exception as error:
        if isinstance(error, OSError) and _is_of_stdout(error):
            return 0 if isinstance(error, BrokenPipeError) else _end(f"the output cannot be written: {in_words(error)}")
        message = _message(error)
        if debug or message is None:
            raise
        return _end(message)
    finally:
        threading.excepthook = before
        for stream in (sys.stdout, sys.stderr):
            _let_go(stream)


def _message(error: Exception) -> str | None:
    """What to print instead of a traceback; None if that is what should be seen."""
    if isinstance(error, UserError):
        return str(error)
    if lacks_memory(error):
        reason = one_line(str(error).strip().partition("\n")[0])[:300]
        return f"not enough memory: {reason or type(error).__name__}. Take smaller batches or images, or end others"
    if isinstance(error, OSError):
        return in_words(error)
    return None


def _end(message: str) -> int:
    if not _is_first() and "TORCHELASTIC_RUN_ID" in os.environ:
        # What all processes have found the first one says, and torchrun then ends the others before they do, too.
        time.sleep(_FIRST_SAYS)
    _say(f"error: {message}")
    return USER_ERROR


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _say(line: str) -> None:
    with suppress(OSError):  # nobody reads any more: the exit status tells
        print(line, file=sys.stderr)


def _let_go(stream: TextIO | None) -> None:
    """What a stream holds that nobody takes is dropped; Python would try again at its end, and exit with 120."""
    if stream is None:
        return
    with suppress(io.UnsupportedOperation, ValueError):  # it is no file: in a test, in a notebook; or it is closed
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_of_stdout(error: OSError) -> bool:
    """Whether it is the standard output that nobody reads (`knoll list backbones | head -1`), or whose disk is full."""
    if error.filename is not None or sys.stdout is None:
        return False
    with suppress(io.UnsupportedOperation):  # it is no file: in a test, in a notebook
        descriptor = sys.stdout.fileno()
        try:
            sys.stdout.flush()
            if not (isinstance(error, BrokenPipeError) and _has_no_reader(descriptor)):
                return False
        except OSError:
            pass
        return True
    return False


def _has_no_reader(pipe: int) -> bool:
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(pipe, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _in_a_thread(caught: threading.ExceptHookArgs) -> None:
    """An error of the system in a thread that writes: who waits for the thread raises it again, and that is shown."""
    if not isinstance(caught.exc_value, OSError):
        threading.__excepthook__(caught)


def _leave(status: int) -> NoReturn:
    """End the process now: Python takes a second to take torch down, and one more Ctrl-C then shows a traceback."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # closed, or none at all
            stream.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(status)


@contextmanager
def importing() -> Iterator[None]:
    """Inside, Python looks for no garbage: in libraries that are being imported it finds none, and the search takes a
    quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def parser(usage: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the tool's own docstring."""
    made = argparse.ArgumentParser(usage, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def place(text: str) -> Path:
    """A file or a folder that an option names; an empty one is a variable of a script that was not set."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty: name a place")
    return Path(text)


EMA_HELP = "take the averaged weights, or not (default: averaged if the run's best is by them, as by val_ema/top1)"
OVERRIDES_HELP = "changes to the config, such as optimizer.lr=0.1 or hooks.checkpoint.every=500"

if __name__ == "__main__":
    sys.exit(main())
