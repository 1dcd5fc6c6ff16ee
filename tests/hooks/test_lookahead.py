"""Lookahead: the weights return to an average that is computed here once more, step by step."""

from __future__ import annotations

from typing import Any

import torch

from knoll.hooks import Hook
from knoll.registry import HOOKS
from knoll.runner import Runner

SEEN: dict[str, list[dict[str, torch.Tensor]]] = dict(before=[], after=[])


@HOOKS.register_module()
class WeightsSeenByATest(Hook):
    """Keeps the weights and buffers of every step, before or after those of another hook."""

    def __init__(self, when: str) -> None:
        self.when = when

    def after_update(self, runner: Runner) -> None:
        state = runner.model.state_dict()
        SEEN[self.when].append({name: value.clone() for name, value in state.items() if value.is_floating_point()})


def hooks(**settings: Any) -> dict[str, Any]:
    return dict(
        before=dict(type="WeightsSeenByATest", when="before"),
        lookahead=dict(type="Lookahead", **settings),
        after=dict(type="WeightsSeenByATest", when="after"),
    )


def test_weights_return_to_their_average(tiny):
    for seen in SEEN.values():
        seen.clear()
    # 10 batches of 4 in an epoch, 3 in an update: 4 steps an epoch, 12 in all.
    Runner(tiny | dict(hooks=hooks(start=2, every=3, decay=0.9, power=2.0)), "run").train()
    average: dict[str, torch.Tensor] = {}
    for step, (before, after) in enumerate(zip(SEEN["before"], SEEN["after"], strict=True), start=1):
        expected = before
        if step in (3, 6, 9, 12):
            rho = 0.9**3 * (step / 12) ** 2
            average = average or before
            average = {name: rho * average[name] + (1 - rho) * before[name] for name in before}
            expected = average
        elif step in (4, 8):  # the end of an epoch
            expected = average
        for name, value in after.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
        assert (step in (6, 8, 9, 12, 4)) == any(not torch.equal(after[name], before[name]) for name in before)


def test_buffers_are_averaged_too(tiny):
    for seen in SEEN.values():
        seen.clear()
    backbone = dict(type="CIFARResNet", depth=8, in_channels=1)
    experiment = tiny | dict(model=tiny["model"] | dict(backbone=backbone), duration=4)
    Runner(experiment | dict(hooks=hooks(start=0, every=2)), "run").train()
    name = "backbone.bn1.running_mean"
    second, before, after = SEEN["before"][1][name], SEEN["before"][3][name], SEEN["after"][3][name]
    rho = 0.95**2 * 1.0
    torch.testing.assert_close(after, rho * second + (1 - rho) * before)


def test_a_resumed_run_has_the_same_bits(tiny, fingerprint):
    experiment = tiny | dict(hooks=tiny["hooks"] | dict(lookahead=dict(type="Lookahead", start=1, every=3)))
    Runner(experiment, "whole").train()
    Runner(experiment, "again", resume="whole/checkpoints/step_00000010.pt").train()
    last = [fingerprint(f"{run}/checkpoints/last.pt") for run in ("whole", "again")]
    assert last[0] == last[1]
