"""What can be said to each benchmark. Apart from them: they import torch, and `--help` is to come at once."""

from __future__ import annotations

import argparse
import ast
from pathlib import Path


def parser(name: str) -> argparse.ArgumentParser:
    """The parser of a benchmark, whose help begins with that file's docstring."""
    text = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    made = argparse.ArgumentParser(
        f"python -m benchmarks {name}",
        description=ast.get_docstring(ast.parse(text)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _OPTIONS[name](made)
    return made


def _step(made: argparse.ArgumentParser) -> None:
    made.add_argument("--turns", type=int, default=30, help="of 100 steps of every loop (default: %(default)s)")
    made.add_argument("--peer-turns", type=int, default=15, help="of every framework (default: %(default)s)")
    made.add_argument("--peers", nargs="*", metavar="PACKAGE", help="which frameworks, or none (default: all)")
    made.add_argument("--cpu-time", action="store_true", help="time of the processor, where much else runs")
    made.add_argument("--memory", type=int, default=2, metavar="TIMES", help="how often to measure the peaks")


def _input(made: argparse.ArgumentParser) -> None:
    cases = ["jpeg", "packed", "cifar", "mnist"]
    made.add_argument("cases", nargs="*", default=cases, help=f"of {', '.join(cases)} (default: all)")
    made.add_argument("--photos", type=Path, default=Path("data/flower_photos"), help="class folders of JPEGs")
    made.add_argument("--pairs", type=int, default=5)
    made.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    made.add_argument("--scale", type=float, default=1.0, help="times the number of images of a timing")
    made.add_argument("--profile", action="store_true", help="also say where Knoll's time goes, without workers")


def _compute(made: argparse.ArgumentParser) -> None:
    made.add_argument("cases", nargs="*", metavar="CASE", help="of those above (default: all)")
    made.add_argument("--rounds", type=int, default=11)
    made.add_argument("--threads", type=int, help="default: as many as torch takes")
    auto = "default: auto; on CUDA bf16, compiled, channels_last"
    made.add_argument("--precision", help=auto)
    made.add_argument("--compile", help="true, false, auto or a mode of torch.compile")
    made.add_argument("--memory-format")


def _startup(made: argparse.ArgumentParser) -> None:
    made.add_argument("--root", type=Path, default=Path("data"), help="the folder that torchvision keeps MNIST in")
    made.add_argument("--turns", type=int, default=7, help="of every command (default: %(default)s)")


def _scale(made: argparse.ArgumentParser) -> None:
    cases = ["mlp", "resnet18"]
    made.add_argument("--cases", nargs="*", default=cases, choices=cases)
    made.add_argument("--processes", nargs="*", type=int, default=[1, 2], metavar="N")
    made.add_argument("--turns", type=int, default=15)


_OPTIONS = {"step": _step, "input": _input, "compute": _compute, "startup": _startup, "scale": _scale}
