"""TensorBoard."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..registry import HOOKS, Duration
from ..registry.system_errors import naming
from .recorder import Recorder

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class TensorBoard(Recorder):
    """Writes loss, metrics, learning rate and images per second; look at them with `tensorboard --logdir runs`.

    Training and each evaluation set write under the same tags (`loss`, `top1`) into folders of their own, so that
    TensorBoard draws them into one chart, against steps.

    Args:
        every: how often training is recorded; evaluations are always.
    """

    usual_name = "tensorboard"

    def __init__(self, every: Duration = 20) -> None:
        super().__init__(every)
        self.writers: dict[str, Any] = {}
        self._waiting: list[tuple[str, dict[str, float], int, float]] = []
        self._due = 0.0

    def before_run(self, runner: Runner) -> None:
        from torch.utils.tensorboard import SummaryWriter  # a second to import

        super().before_run(runner)
        self.folder = runner.work_dir / "tensorboard"
        since = (self.recorded or 0) + 1
        for name in runner.sources:
            folder = self.folder / name
            _come_first(folder)
            # What a killed run recorded later than its checkpoint is recorded again: hide the first version.
            with naming(folder):
                self.writers[name] = SummaryWriter(str(folder), purge_step=since)
        sources = ", ".join(dict.fromkeys(runner.sources.values()))
        text = f"```yaml\n{runner.config.to_yaml()}```\n\nData: {sources}"
        with naming(self.folder / "train"):
            self.writers["train"].add_text("config", text, since)

    def record(self, runner: Runner, name: str, values: dict[str, float]) -> None:
        self._waiting.append((name, values, runner.step, time.time()))
        if name != "train" or time.perf_counter() > self._due:
            self._write()

    def _write(self) -> None:
        """Hand over what waits. Training's records not more often than once a second: each time wakes the writer's
        thread, which takes the interpreter from the loop."""
        if not self._waiting:
            return
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        self._due = time.perf_counter() + 1
        while self._waiting:
            name, values, step, when = self._waiting[0]
            # One event for all of them: `add_scalar` takes a third of the time of all this, for each.
            scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
            with naming(self.folder / name):
                self.writers[name].file_writer.add_summary(Summary(value=scalars), step, when)
            self._waiting.pop(0)

    def state_dict(self) -> dict[str, Any]:
        with suppress(OSError):  # that is raised where something is recorded; a checkpoint shall not be lost by it
            self._write()
            for writer in self.writers.values():
                writer.flush()  # what the checkpoint calls recorded must outlive the process
        return super().state_dict()

    def after_run(self, runner: Runner) -> None:
        super().after_run(runner)
        with ExitStack() as stack:  # every one, also if another cannot be written
            for name, writer in self.writers.items():
                stack.enter_context(naming(self.folder / name))
                stack.callback(writer.close)
            stack.callback(self._write)


def _come_first(folder: Path) -> None:
    """Let the files that are there sort before one that is begun now, also if the clock was set back.

    TensorBoard reads a folder in the order of the files' names, and these begin with the time.
    """
    files = sorted(each for each in folder.glob("events.out.tfevents.*.*") if each.name.split(".")[3].isdecimal())
    if files and int(files[-1].name.split(".")[3]) >= int(time.time()):
        for number, file in enumerate(files):
            rest = file.name.split(".", 4)[4]
            file.rename(file.with_name(f"events.out.tfevents.{number:010d}.{rest}"))
