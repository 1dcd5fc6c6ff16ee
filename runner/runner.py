"""Runner: builds an experiment from its config and trains it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..datasets.combining.combine import name_source
from ..datasets.combining.first_available import Choices, same_choices
from ..datasets.loading.loader import Batch
from ..datasets.loading.randomness import derive_seed, put_back_on_error, seed_run
from ..hooks.hook import Hooks
from ..models.freezing import Freezing
from ..models.pretrained import compare
from ..models.weights import load_weights
from ..optim.param_groups import build_optimizer
from ..registry import LOSSES, MODELS, Config, ConfigError, Experiment, config_from_dict, make_experiment
from ..registry.batch_size import lr_factor
from ..registry.check import require_valid
from ..registry.config import tells_places
from ..registry.duration import to_steps
from .data import build_evaluation_loaders, build_train_loader, check_classes
from .duplicates import note_duplicates
from .evaluate import evaluate, in_words
from .labels import told_labels
from .logs import start_logging
from .metrics import MetricSet
from .parameter_table import parameter_table
from .preflight import try_everything
from .processes import distributed, parallel
from .profile.account import accounted
from .profile.time_shares import CHECKPOINTS, EVALUATION, Stopwatch, timed
from .saving import run_folder
from .saving.resume import load_same
from .saving.saver import Saver
from .saving.state import digest, require_trainable, restore, state_of
from .saving.state_kinds import fitting
from .step.clipping import Clipping
from .step.compute import build_forward
from .step.not_finite import note_not_finite, require_finite, require_finite_weights
from .step.update import Update
from .step.update_batches import batch_number, updates_of_this_epoch
from .stopping import Stopping
from .views import build_views

logger = logging.getLogger("knoll")


class Runner:
    """Builds everything a config names, and trains.

        before_run
        for epoch:                      # or by steps: the same loop
            before_epoch
            for batches of one update:
                before_iter             # device placement
                thaw what is due, forward, backward
                before_update           # gradients whole, unscaled, unclipped
                optimizer step
                after_update            # the weights are new: an average of them
                after_iter              # act: LR schedule, evaluation when due -> after_eval(metrics)
                end_iter                # record: checkpoint, TensorBoard, progress
            after_epoch
        after_run                       # always, also after an error

    Args:
        config: a Config, or the dict of one. Every mistake in it is reported before anything is built.
        work_dir: where the run is kept; by default `runs/<config name>/<time>`.
        resume: a checkpoint file to continue from.
        allow_world_size: with another number of processes, too, if each step stays what it was.

    Attributes that hooks read: `model`, `optimizer`, `device`, `step` (updates done), `epoch` (from 0), `batches`
    (of this update), `loss`, `logits` (one tensor per batch), `metrics` (of the last evaluation), `work_dir`, `world`.

    Raises:
        UserError: a mistake in the config, or data that is missing or does not fit.
    """

    @tells_places
    def __init__(
        self,
        config: Config | dict,
        work_dir: str | Path | None = None,
        resume: str | Path | None = None,
        allow_world_size: bool = False,
    ) -> None:
        self.stopwatch = Stopwatch()
        self.config = config if isinstance(config, Config) else config_from_dict(config)
        require_valid(self.config)
        self.world = distributed.join(saves_together=self.config.data.get("parallel") == "fsdp")
        start_logging(self.world.rank)
        self.experiment: Experiment = make_experiment(self.config.data)
        self.work_dir = Path(work_dir) if work_dir else run_folder.RUNS / self.config.name
        self.lr_factor = lr_factor(self.experiment, self.world.size)
        self._named_by_time, self._resumes = work_dir is None, resume is not None
        run_folder.require_usable(self.work_dir, resume)
        state = load_same(Path(resume), self.config.data, self.world, allow_world_size) if resume else None

        self.step = self.epoch = self.evaluated_at = 0
        self.metrics: dict[str, float] = {}
        self.is_between_steps = True  # what is done so far is whole, and can be saved
        self.batches: list[Batch] = []
        self.loss: Tensor
        self.logits: list[Tensor] = []
        self.device = torch.device("cpu")
        self.saver = Saver(self.stopwatch, writes=self.world.is_first)
        self.hooks = Hooks.build(self.experiment.hooks, recording=self.world.is_first, saving=self.world.saves_together)
        self.stopping = Stopping(self.world, saves=self.hooks.save or not self.world.is_first)
        self.choices: Choices = dict(state["choices"]) if state else {}
        with same_choices(self.choices):
            self._build_data(state["sources"] if state else {})
        self._build_model(state["computed_with"] if state else None)
        self.world.require_same(distributed.what_must_agree(self, state))
        if state:
            with fitting(str(resume)):
                self.load_state_dict(state)
            logger.info("continuing from %s, step %d of %d", resume, self.step, self.total_steps)

    # --- building ------------------------------------------------------------------------------------------------

    def _build_data(self, sources: dict[str, str]) -> None:
        experiment, part = self.experiment, self.world.part
        self.train_loader = build_train_loader(experiment.train, experiment.seed, sources.get("train"), part)
        train = self.train_loader.dataset
        self.sources = {"train": name_source(train, experiment.train.dataset)}
        self.evaluation_loaders = build_evaluation_loaders(experiment.evaluation, experiment.seed, sources.get, part)
        sets = {name: loader.dataset for name, loader in self.evaluation_loaders.items()}
        self.sources |= {name: name_source(each, experiment.evaluation[name].dataset) for name, each in sets.items()}
        check_classes(train, sets, experiment.model)
        note_duplicates(train, sets)
        self.classes = [str(name) for name in getattr(train, "classes", [])]
        self.labels = digest(told_labels(train))

        self.steps_per_epoch = -(-self.train_loader.batches_per_epoch // experiment.accumulate)
        self.total_steps = 0  # unknown yet: a duration in percent has nothing to be a share of
        self.total_steps = self.to_steps(experiment.duration)
        if self.total_steps == 0:  # half an image's worth
            raise ConfigError(f"duration: {experiment.duration!r} is less than one step")
        self.epochs = -(-self.total_steps // self.steps_per_epoch)

    def _build_model(self, computed_with: dict[str, Any] | None) -> None:
        experiment, with_weights = self.experiment, computed_with is None
        seed_run(derive_seed(experiment.seed, "model"))
        self.model = MODELS.build(experiment.model)
        unfilled: list[str] = []
        if with_weights and experiment.weights is not None:
            loaded = load_weights(self.model, experiment.weights, self.classes)
            unfilled = loaded.unfilled
            for line in [*loaded.lines, *compare(self.config)]:
                logger.info("%s", line)
        self.loss_function = LOSSES.build(experiment.loss)
        self.model = parallel.prepare(self)
        self.freezing = Freezing(self.model, experiment.freeze, self.to_steps)
        self.freezing.require_none_of(unfilled, self.model)
        if self.freezing.whole_run and with_weights and experiment.weights is None:
            logger.info("note: the config names no weights: what is frozen stays at the random numbers it began with")
        parts = self.model, self.loss_function, experiment.param_groups
        self.optimizer = build_optimizer(experiment.optimizer, *parts, self.freezing.whole_run, self.lr_factor)
        if experiment.freeze or experiment.param_groups:
            logger.info("%s", parameter_table(self.optimizer, *parts, self.freezing))
        self.hooks.call("setup", self)
        self.forward = build_forward(experiment, self.model, self.device, self.total_steps, computed_with)
        self.measured = {"": self.forward}  # by what is added to the sets' names: a hook may add an average
        clipping = Clipping.of(experiment, self.model)
        parts = self.forward, self.loss_function, self.optimizer, clipping
        self.update = Update(*parts, self.world, self.stopwatch)
        sets = {"train": self.train_loader, **self.evaluation_loaders}
        self.views = build_views(experiment.evaluation, self.evaluation_loaders, self.model, self.loss_function)
        tried = self.forward, self.loss_function, sets, experiment.metrics, len(self.classes), self.views
        self.num_classes = try_everything(*tried, mixed=self.hooks.mix_labels)
        self._evaluation_metrics = self.new_metrics()
        seed_run(derive_seed(experiment.seed, "train"))

    # --- training ------------------------------------------------------------------------------------------------

    @distributed.explained
    def train(self, deadline: float | None = None) -> dict[str, float]:
        """Train to the end, and return the metrics of the last evaluation.

        Args:
            deadline: when to stop and save, by `time.monotonic`, whatever is left to do.

        Raises:
            UserError: it has been trained already; or there can be no deadline here.
            KeyboardInterrupt, SystemExit: a signal or the deadline has stopped it; see Stopping.
        """
        require_trainable(self, deadline)
        with run_folder.held(self, self._named_by_time, self._resumes), accounted(self):
            return self._train(deadline)

    def _train(self, deadline: float | None) -> dict[str, float]:
        logger.info("run: %s  (train data: %s)", self.work_dir, self.sources["train"])
        self.model.train()
        batches = self.train_loader.batches(batch_number(self, self.step), batch_number(self, self.total_steps))
        try:
            self.stopping.listen(deadline)
            self.hooks.call("before_run", self)
            for epoch in range(self.epoch, self.epochs):
                self.epoch = epoch
                self.hooks.call("before_epoch", self)
                if self.hooks.left:
                    self._end_step()
                    self.saver.wait()  # workers are started next, and are not to have the locks of a thread that writes
                for _ in updates_of_this_epoch(self, batches):
                    self.is_between_steps = False
                    self.world.seed_step(self.experiment.seed, self.step)
                    self.hooks.call("before_iter", self)
                    self.freezing.apply(self.step)
                    self.loss, self.logits = self.update.backward(self.batches)
                    self.hooks.call("before_update", self)
                    require_finite(self)
                    self.update.step()
                    self.step += 1
                    self.hooks.call("after_update", self)
                    self.is_between_steps = True
                    self._end_step()
                self.hooks.call("after_epoch", self)
        finally:
            try:
                self.hooks.close(self)
                if not self.stopping.in_haste:
                    self.saver.wait()
            finally:
                batches.close()  # ends the workers
                self.stopping.ignore()
        return self.metrics

    def _end_step(self) -> None:
        self.hooks.act(self)
        self.hooks.call("end_iter", self)
        if self.step < self.total_steps:
            self.stopping.check()

    @timed(EVALUATION)
    def evaluate(self) -> dict[str, float]:
        """Measure every evaluation set, and log a line for each."""
        if any(loader.num_workers for loader in self.evaluation_loaders.values()):
            self.saver.wait()  # a process that is forked while a thread writes has that thread's locks
        parts = self.evaluation_loaders, self.loss_function, self._evaluation_metrics, None, self.views
        metrics: dict[str, float] = {}
        with put_back_on_error():  # it will be done again from its beginning
            for suffix, forward in self.measured.items():
                metrics |= evaluate(forward, *parts, self.stopping.check, suffix, self.world)
        self.metrics, self.evaluated_at = metrics, self.step
        for line in in_words(self.metrics, self.sources):
            logger.info("epoch %d/%d  step %d  %s", self.epoch + 1, self.epochs, self.step, line)
        note_not_finite(self.metrics)
        return self.metrics

    # --- what hooks ask for --------------------------------------------------------------------------------------

    def to_steps(self, duration: int | str, of: int | None = None) -> int:
        """A duration ("5ep", "10%", 500) in steps; a percentage is of the run, or of so many steps."""
        return to_steps(
            duration,
            steps_per_epoch=self.steps_per_epoch,
            batch_size=self.experiment.train.batch_size * self.experiment.accumulate * self.world.size,
            total_steps=of or self.total_steps or None,
        )

    def interval(self, duration: int | str) -> int:
        """As `to_steps`, for something that happens again and again: at least one step."""
        return max(1, self.to_steps(duration))

    def is_due(self, steps: int) -> bool:
        """Whether something that happens every so many steps happens after this one; the last step always counts."""
        return self.step % steps == 0 or self.step == self.total_steps

    @property
    def learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def new_metrics(self) -> MetricSet:
        """A fresh set of the config's metrics."""
        return MetricSet(self.experiment.metrics, self.num_classes, self.device)

    # --- saving and loading --------------------------------------------------------------------------------------

    @timed(CHECKPOINTS)
    def save(self, keep: int, best: bool) -> Path:
        """Begin to write a checkpoint of this step; keep so many of the newest, and name it the best if it is."""
        require_finite_weights(self)
        return self.saver.save(self.state_dict(), self.work_dir / "checkpoints", keep, best)

    def state_dict(self) -> dict[str, Any]:
        """Everything a run needs to go on as if it had not stopped, as plain types and tensors."""
        return state_of(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        restore(self, state)
