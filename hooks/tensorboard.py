"""TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import HOOKS, Duration
from .hook import Hook
from .window import Window

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class TensorBoard(Hook):
    """Writes loss, metrics, learning rate and images per second; look at them with `tensorboard --logdir runs`.

    Training and each evaluation set write under the same tags (`loss`, `top1`) into folders of their own, so that
    TensorBoard draws them into one chart, against steps. Training's metrics are those of the batches since the last
    record, as the network was when it saw them.

    Args:
        every: how often training is recorded; evaluations are always.
    """

    only_records = True
    usual_name = "tensorboard"

    def __init__(self, every: Duration = 20) -> None:
        self.every = every
        self.writers: dict[str, Any] = {}

    def before_run(self, runner: Runner) -> None:
        from torch.utils.tensorboard import SummaryWriter  # a second to import

        self.steps = runner.interval(self.every)
        for name in ["train", *runner.evaluation_loaders]:
            folder = runner.work_dir / "tensorboard" / name
            # What a killed run recorded after its last checkpoint is recorded again: hide the first version.
            self.writers[name] = SummaryWriter(str(folder), purge_step=runner.step + 1 if runner.step else None)
        text = f"```yaml\n{runner.config.to_yaml()}```\n\nData: {runner.sources_in_words()}"
        self.writers["train"].add_text("config", text, runner.step)
        self.window = Window(runner.new_metrics())
        self.evaluated: dict[str, float] = {}

    def after_eval(self, runner: Runner, metrics: dict[str, float]) -> None:
        self.evaluated = metrics

    def end_iter(self, runner: Runner) -> None:
        self.window.add(runner)
        if runner.is_due(self.steps):
            writer = self.writers["train"]
            for tag, value in self.window.read().items():
                writer.add_scalar(tag, value, runner.step)
            writer.add_scalar("learning_rate", runner.learning_rate, runner.step)
        for name, value in self.evaluated.items():
            evaluated, _, tag = name.partition("/")
            self.writers[evaluated].add_scalar(tag, value, runner.step)
        self.evaluated = {}

    def after_run(self, runner: Runner) -> None:
        for writer in self.writers.values():
            writer.close()
