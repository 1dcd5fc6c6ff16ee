"""What a difference means, in words: the entry in which it first shows, and what that says of its cause."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from .prints import Prints, how_different, is_readable
from .watch import RESTORED, Difference

MOST = 5  # attributes that are told

# By the beginning of the entry's name. What comes before it in the list was equal, so it is not the cause.
CAUSES = {
    "indices": "The order of the samples is another: it does not follow from the sampler's seed and the epoch alone.",
    "images": "The samples are the same, their images are not. A transform or the data set draws from something else "
    "than the generators of torch, numpy and random, which are seeded for every sample: from a generator of its own, "
    "the clock, the worker's number; or a hook changes batches by something that is not in its state_dict.",
    "random before": "Something draws from the process's generators where an uninterrupted run does not: while it is "
    "built, before the run or before an epoch.",
    "logits": "The weights, the batch and the process's generators were equal: the model keeps something outside its "
    "state_dict, such as a counter or a generator of its own: register_buffer, or get_extra_state, puts it there.",
    "value of the loss": "The logits and labels were equal: the loss keeps something outside its state_dict: "
    "register_buffer, or get_extra_state, puts it there.",
    "model.": "The loss was equal: the optimizer, or a hook that changes gradients or weights, keeps something that is "
    "not in its state_dict.",
    "hooks.": "Model and optimizer were equal: that hook keeps something else that is not in its state_dict.",
    "metrics": "The weights were equal: the evaluation depends on something that is not in the checkpoint.",
    "random.": "All else was equal: something draws from the process's generators, or does not, by what it keeps "
    "outside the checkpoint.",
}
CAUSES |= {"labels": CAUSES["images"], "optimizer.": CAUSES["model."], "loss.": CAUSES["value of the loss"]}


def explain(
    difference: Difference, expected: Tensor | None, resumed: int, outside_before: Prints, outside_after: Prints
) -> list[str]:
    """Of a run that was resumed after the step `resumed`, and of which all was equal that is not told.

    Args:
        expected: the first entry that differs as the uninterrupted run has it, if it is a tensor.
        outside_before, outside_after: what was kept outside the checkpoint, before the stop and after the resume.
    """
    how = _how(difference, expected)
    more = f" So do {len(difference.names) - 1} other entries." if len(difference.names) > 1 else ""
    if difference.what == RESTORED:
        lines = [f"resumed after step {resumed}: {difference.names[0]} was not restored: {how}.{more}"]
        lines.append("What saves it and what loads it, state_dict and load_state_dict, do not fit together.")
        return lines
    lines = [
        f"step {difference.step}: {difference.names[0]} first differs there: {how}.{more}",
        f"What the checkpoint of step {resumed} holds was restored. {_cause(difference.names[0])}",
    ]
    if changed := list(_changed(outside_before, outside_after)):
        lines.append("Not in the checkpoint, and after the resume not what it was:")
        lines += [f"  {line}" for line in changed[:MOST]]
        lines += [f"  and {len(changed) - MOST} more"] if len(changed) > MOST else []
    return lines


def does_not_repeat(difference: Difference, killed: bool) -> list[str]:
    """Of two uninterrupted runs that differ: no resume can be exact."""
    lines = [
        f"step {difference.step}: {difference.names[0]} differs between two uninterrupted runs: the experiment does "
        "not repeat itself, so it cannot be resumed exactly either.",
        "It draws from the clock or from a generator that nothing seeds; or, on an accelerator, from algorithms that "
        "are not deterministic.",
    ]
    if not killed:
        lines.append(
            "Or something is kept in a module or a class, which outlasts a run in one process: --kill tells, for there "
            "every run has processes of its own."
        )
    return lines


def _how(difference: Difference, expected: Tensor | None) -> str:
    if difference.expected is None or difference.found is None:
        return "it is only in the resumed run" if difference.expected is None else "the resumed run does not have it"
    if expected is not None and difference.value is not None:
        return how_different(expected, difference.value)
    if is_readable(difference.expected) and is_readable(difference.found):
        return f"{difference.found}, without the interruption {difference.expected}"
    return "another value"


def _cause(name: str) -> str:
    part = name.partition(": ")[2] if name.startswith("batch ") else name
    return next((cause for beginning, cause in CAUSES.items() if part.startswith(beginning)), "")


def _changed(before: Prints, after: Prints) -> Iterator[str]:
    for name, old in before.items():
        new = after.get(name)
        if new == old:
            continue
        if new is None:
            yield f"{name} (is not there)"
        elif is_readable(old) and is_readable(new):
            yield f"{name}: {old} before the stop, {new} after"
        else:
            yield f"{name} ({'a generator' if old.startswith('generator') else 'numbers'})"
