"""A hook that fingerprints every step of a run, and ends the run where it should stop or first differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...datasets.loading.randomness import random_state
from ...hooks.hook import Hook
from ...registry import UserError
from ..saving.checkpoint import step_file
from .prints import Entry, Prints, entries, outside_of, prints, state_of

if TYPE_CHECKING:
    from ..runner import Runner

# A step is looked at three times: what it is given, what comes of the forward pass, and the state it leaves. What was
# loaded is compared with the state that the step before left.
GIVEN, COMPUTED, LEFT, RESTORED = "given", "computed", "left", "restored"

Trace = dict[str, Prints]


def moment(step: int, what: str) -> str:
    """The key of a trace. Steps count from 1."""
    return f"{step} {LEFT if what == RESTORED else what}"


@dataclass
class Difference:
    """Where a run first differs from another.

    Args:
        names: of the entries, in the order in which one thing leads to another.
        expected: the fingerprint of the first of them in the other run; None if it is not there.
        found: here.
        value: of the first here, if it is a tensor.
    """

    step: int
    what: str
    names: list[str]
    expected: str | None
    found: str | None
    value: Tensor | None = None


@dataclass
class Seen:
    """What was seen of a run: plain types and tensors.

    Args:
        trace: by `moment`.
        outside: what is kept outside any checkpoint: after every step, and, of a resumed run, before its first ("0").
        kept: the tensor that was asked for.
    """

    trace: Trace = field(default_factory=dict)
    outside: Trace = field(default_factory=dict)
    difference: Difference | None = None
    kept: Tensor | None = None


class Ended(BaseException):
    """The run has been stopped, for a reason that is in `Seen`. No Exception: nothing has gone wrong."""


class Watch(Hook):
    """Fingerprints every step; the last of all hooks, so that it sees what they have done.

    Args:
        expected: the trace of the run that this one should be equal to.
        stop: the step after which to call `at_stop`, once its checkpoint is there.
        keep: step, moment and name of a tensor to keep; the run ends there.
    """

    only_records = True

    def __init__(
        self,
        expected: Trace | None,
        stop: int | None,
        keep: tuple[int, str, str] | None,
        at_stop: Callable[[Seen], Any],
    ) -> None:
        self.expected = expected
        self.stop = stop
        self.keep = keep
        self.at_stop = at_stop
        self.seen = Seen()

    def before_run(self, runner: Runner) -> None:
        self.seen.outside["0"] = prints(outside_of(runner))
        if runner.step:
            self._look(runner.step, RESTORED, state_of(runner))

    def before_iter(self, runner: Runner) -> None:
        given = [
            (f"batch {number}: {part}", getattr(batch, part))
            for number, batch in enumerate(runner.batches)
            for part in ("indices", "images", "labels")
        ]
        self._look(runner.step + 1, GIVEN, [*given, *entries(random_state(), "random before the forward pass")])

    def before_update(self, runner: Runner) -> None:
        logits = [(f"logits {number}", value) for number, value in enumerate(runner.logits)]
        self._look(runner.step + 1, COMPUTED, [*logits, ("value of the loss", runner.loss)])

    def end_iter(self, runner: Runner) -> None:
        self.seen.outside[str(runner.step)] = prints(outside_of(runner))
        self._look(runner.step, LEFT, state_of(runner))
        if runner.step == self.stop:
            self._await_checkpoint(runner)
            self.at_stop(self.seen)

    def _look(self, step: int, what: str, found: Iterable[Entry]) -> None:
        values = dict(found)
        here, key = prints(values.items()), moment(step, what)
        self.seen.trace[key] = here
        if self.expected is not None:
            there = self.expected[key]
            names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
            if names:
                first, value = names[0], values.get(names[0])
                kept = value.detach().cpu().clone() if isinstance(value, Tensor) else None
                self.seen.difference = Difference(step, what, names, there.get(first), here.get(first), kept)
                raise Ended
        if self.keep and (step, what) == self.keep[:2]:
            value = values.get(self.keep[2])
            self.seen.kept = value.detach().cpu().clone() if isinstance(value, Tensor) else None
            raise Ended

    def _await_checkpoint(self, runner: Runner) -> None:
        runner.saver.wait()  # it is written by a thread
        file = step_file(runner.work_dir / "checkpoints", runner.step)
        if not file.exists():
            raise UserError(f"the Checkpoint hook has written no {file.name}, with every={runner.step}")
