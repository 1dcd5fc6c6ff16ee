"""TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import HOOKS, Duration
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

    def before_run(self, runner: Runner) -> None:
        from torch.utils.tensorboard import SummaryWriter  # a second to import

        super().before_run(runner)
        for name in runner.sources:
            folder = runner.work_dir / "tensorboard" / name
            # What a killed run recorded after its last checkpoint is recorded again: hide the first version.
            self.writers[name] = SummaryWriter(str(folder), purge_step=runner.step + 1)
        sources = ", ".join(dict.fromkeys(runner.sources.values()))
        text = f"```yaml\n{runner.config.to_yaml()}```\n\nData: {sources}"
        self.writers["train"].add_text("config", text, runner.step)

    def record(self, runner: Runner, name: str, values: dict[str, float]) -> None:
        for tag, value in values.items():
            self.writers[name].add_scalar(tag, value, runner.step)

    def after_run(self, runner: Runner) -> None:
        for writer in self.writers.values():
            writer.close()
