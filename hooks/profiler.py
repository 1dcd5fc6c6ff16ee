"""A few steps under torch.profiler."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any

from ..registry import HOOKS, ConfigError, Duration
from ..registry.fit import AtLeast
from ..registry.system_errors import naming
from .hook import Hook

if TYPE_CHECKING:
    from torch.profiler import profile

    from ..runner import Runner

logger = logging.getLogger("knoll")

_DEAREST = 10  # operators in the table


@HOOKS.register_module()
class Profiler(Hook):
    """Records what a few steps consist of, by torch.profiler, and which operators they spend their time in.

    In `profile/`: `step_00000011.pt.trace.json`, named by the first step in it, which chrome://tracing, Perfetto and
    TensorBoard's profiler plugin open; and `operators.txt`, the ten dearest operators, which the log has too. A step is
    recorded from its `before_iter` to the next one's, with its evaluation and the wait for data.

    The step before the first one runs under the profiler as well, for that is slow in its first step, and is not
    recorded. A run that is over, or stopped, before the last one leaves what there is. Where there are several
    processes, the first is recorded.

    Args:
        start: how long after the run begins, or continues; earlier if it would be over by then.
        steps: how many.
        memory: record what is allocated, too.
        shapes: record the operators' input shapes, and list an operator once for each of them.

    Raises:
        ConfigError: there are two of these hooks; torch has one profiler in a process.
    """

    only_records = True

    def __init__(
        self, start: Duration = 10, steps: Annotated[int, AtLeast(1)] = 5, memory: bool = False, shapes: bool = False
    ) -> None:
        self.start = start
        self.steps = steps
        self.memory = memory
        self.shapes = shapes
        self._profile: profile | None = None
        self._is_told = False

    def setup(self, runner: Runner) -> None:
        mine = [name for name, hook in runner.hooks.by_name.items() if isinstance(hook, Profiler)]
        if len(mine) > 1:
            raise ConfigError(f"hooks: {' and '.join(mine)} would profile at the same time: keep one Profiler")

    def before_run(self, runner: Runner) -> None:
        latest = max(runner.total_steps - self.steps, runner.step + 1)
        self.before = min(max(runner.step + runner.to_steps(self.start), runner.step + 1), latest)  # the first one
        self.folder = runner.work_dir / "profile"

    def before_iter(self, runner: Runner) -> None:
        if runner.step == self.before - 1:
            self._open(runner)
        elif self._profile is not None:
            self._profile.step()
            if runner.step == self.before + self.steps:
                self._close()

    def after_run(self, runner: Runner) -> None:
        if runner.stopping.in_haste:
            self._is_told = True
        self._close()
        if not self._is_told:
            logger.info("note: no step was profiled: the run ended before step %d was done", self.before + 1)

    def _open(self, runner: Runner) -> None:
        from torch.profiler import ProfilerActivity, profile, schedule

        on_device = [ProfilerActivity.CUDA] if runner.device.type == "cuda" else []
        self._profile = profile(
            activities=[ProfilerActivity.CPU, *on_device],
            schedule=schedule(wait=0, warmup=1, active=self.steps, repeat=1),
            on_trace_ready=self._write,
            record_shapes=self.shapes,
            profile_memory=self.memory,
        )
        self._profile.start()

    def _close(self) -> None:
        profile, self._profile = self._profile, None
        if profile is not None:
            profile.stop()  # which writes what was begun

    def _write(self, profile: profile) -> None:
        if self._is_told:
            return
        self._is_told = True
        with naming(self.folder):
            self.folder.mkdir(exist_ok=True)
            trace = self.folder / f"step_{self.before + 1:08d}.pt.trace.json"
            profile.export_chrome_trace(str(trace))
            table = dearest(profile.key_averages(group_by_input_shape=self.shapes))
            (self.folder / "operators.txt").write_text(f"{table}\n", encoding="utf-8")
        logger.info("profile of step %d and those after it: %s\n%s", self.before + 1, trace, table)


def dearest(averages: Any) -> str:
    """A table of the operators that took most time themselves, without what they called.

    On CUDA it is the device's time. Shares are of the time of all operators together: on the CPU without what Python
    took between them.

    Args:
        averages: what torch's `profile.key_averages` returns.
    """
    # Kernels stand in the list a second time, for themselves; and a step is no operator.
    operators = [
        each for each in averages if each.device_type.name == "CPU" and not each.key.startswith("ProfilerStep")
    ]
    on_device = any(each.self_device_time_total for each in operators)

    def taken(operator: Any) -> float:
        return operator.self_device_time_total if on_device else operator.self_cpu_time_total

    whole = sum(map(taken, operators)) or 1.0
    lines = [("operator", "share", "calls", "GPU ms" if on_device else "CPU ms", "shapes")]
    for each in sorted(operators, key=taken, reverse=True)[:_DEAREST]:
        shapes = " ".join(str(shape) for shape in getattr(each, "input_shapes", None) or [] if shape)
        figures = f"{100 * taken(each) / whole:.1f} %", str(each.count), f"{taken(each) / 1000:.2f}"
        lines.append((each.key, *figures, shapes))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    if not any(line[4] for line in lines[1:]):
        lines[0] = (*lines[0][:4], "")
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:4], widths[1:]), line[4]]).rstrip()
        for line in lines
    )
