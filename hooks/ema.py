"""A moving average of the weights, measured beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from torch import Tensor, nn

from ..registry import HOOKS, Duration
from ..registry.fit import AtLeast, AtMost
from .hook import Hook

if TYPE_CHECKING:
    from ..runner import Runner


@HOOKS.register_module()
class EMA(Hook):
    """Keeps an exponential moving average of the weights (timm's ModelEmaV3), and has it evaluated beside them.

    After a step the average becomes decay * average + (1 - decay) * weights; after the first it is the weights.
    Averaged weights are often better than the last ones (Polyak and Juditsky 1992; Szegedy et al. 2016, section 8). The
    average remembers about 1 / (1 - decay) steps: a run of fewer wants a smaller decay, or `use_warmup`.

    Every evaluation measures each set twice, and the figures of the averaged weights are called `val_ema/top1` where
    those of the weights are `val/top1`. The training itself never sees the average.

    One deviation from timm: a tensor that a model uses in several places is averaged once in a step. timm averages it
    once for each of its names, as if the decay were a power of what it is.

    Args:
        decay: how much of the average a step leaves; of the `every` steps together, if there are several.
        use_warmup: begin with a small decay: after n steps it is 1 - (1 + n / warmup_gamma) ** -warmup_power, up to
            `decay`. With a gamma and a power of 1 the average is the plain mean of all steps.
        warmup_gamma: how slowly the decay rises.
        warmup_power: how near to 1 it comes; timm advises 2/3 for a million steps or more, 3/4 for fewer.
        update_after_step: how long the average is simply the weights.
        every: how often the average is updated.
        exclude_buffers: copy buffers, such as BatchNorm's running statistics, instead of averaging them. Whole numbers
            among them are always copied.
    """

    averages_as = "ema"
    takes_whole_weights = True

    def __init__(
        self,
        decay: Annotated[float, AtLeast(0), AtMost(1)] = 0.9999,
        use_warmup: bool = False,
        warmup_gamma: Annotated[float, AtLeast(1e-9)] = 1.0,
        warmup_power: Annotated[float, AtLeast(0)] = 2 / 3,
        update_after_step: Duration = 0,
        every: Duration = 1,
        exclude_buffers: bool = False,
    ) -> None:
        self.update_after_step = update_after_step
        self.every = every
        self.options: dict[str, Any] = dict(
            decay=decay,
            use_warmup=use_warmup,
            warmup_gamma=warmup_gamma,
            warmup_power=warmup_power,
            exclude_buffers=exclude_buffers,
        )
        self.average: Any = None
        self.state: dict[str, Any] = {}

    def setup(self, runner: Runner) -> None:
        self.steps = runner.interval(self.every)
        self.options["update_after_step"] = runner.to_steps(self.update_after_step) // self.steps
        for name in runner.evaluation_loaders:
            runner.sources[f"{name}_{self.averages_as}"] = runner.sources[name]

    def before_run(self, runner: Runner) -> None:
        # Not earlier: now the model is on its device, in its memory order, and has the weights the run begins with.
        from timm.utils.model_ema import ModelEmaV3  # seconds to import

        # Weights are fp32 here; rounding at random, for narrower ones, would be a state that no checkpoint holds.
        self.average = ModelEmaV3(_OncePerTensor(runner.model), stochastic_rounding=False, **self.options)
        if self.state:
            self.model.load_state_dict(self.state["model"])
            self.state = {}
        runner.measured[f"_{self.averages_as}"] = runner.forward.of(self.model)

    @property
    def model(self) -> nn.Module:
        """The model with the averaged weights, in evaluation mode."""
        return self.average.module.model

    def after_update(self, runner: Runner) -> None:
        if runner.step % self.steps == 0:
            self.average.update(_OncePerTensor(runner.model), step=runner.step // self.steps)

    def state_dict(self) -> dict[str, Any]:
        return self.state if self.average is None else {"model": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


class _OncePerTensor(nn.Module):
    """A model whose state, which timm's average goes through, has each tensor once, however many names it has."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def state_dict(self, *_args: Any, **_kwargs: Any) -> dict[str, Tensor]:  # pyright: ignore
        return dict(self._tensors())

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        for name, value in self.model.state_dict(keep_vars=True).items():
            if isinstance(value, Tensor) and id(value) not in seen:
                seen.add(id(value))
                yield name, value.detach()
