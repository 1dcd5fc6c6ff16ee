"""A model over several processes: its weights shared out by FSDP, its batch normalisation synchronised."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ...hooks.device_placement import DevicePlacement
from ...optim.wrappers import innermost
from ...registry import ConfigError

if TYPE_CHECKING:
    from ..runner import Runner

logger = logging.getLogger("knoll")


def prepare(runner: Runner) -> nn.Module:
    """The run's model as several processes train it: as it is, or as `sync_batchnorm` and `parallel` ask for.

    Before anything refers to its parameters, for FSDP puts others in their place. One process trains it as it is.

    Raises:
        ConfigError: the config asks for what does not go together, or not on this device.
    """
    experiment, world = runner.experiment, runner.world
    if experiment.parallel == "fsdp":
        _require_shardable(runner)  # by one process too, so that a config is tried at home
    if world.size == 1 and experiment.sync_batchnorm:
        logger.info("note: sync_batchnorm changes nothing in one process: its batches are whole")
    if world.size == 1 or (experiment.parallel == "ddp" and not experiment.sync_batchnorm):
        return runner.model
    device = world.own_device(_device(runner))
    model = runner.model
    if experiment.sync_batchnorm:
        if device.type == "cpu":
            raise ConfigError("sync_batchnorm: torch synchronises batch normalisation on CUDA only: leave it out here")
        # torch's own would lose the activations of timm's layers.
        from timm.layers.norm_act import convert_sync_batchnorm

        model = convert_sync_batchnorm(model)
    if experiment.parallel == "fsdp":
        _shard(model, device, world.size)
    return model


def _device(runner: Runner) -> torch.device:
    placements: list[Any] = [hook for hook in runner.hooks.by_name.values() if isinstance(hook, DevicePlacement)]
    return placements[-1].device if placements else torch.device("cpu")


# --- FSDP ------------------------------------------------------------------------------------------------------------


def _require_shardable(runner: Runner) -> None:
    """Refuse what has no meaning, or has not been shown to be right, where each process has a part of every weight."""
    experiment, hooks = runner.experiment, runner.hooks.by_name
    whole = [name for name, hook in hooks.items() if hook.takes_whole_weights]
    thaws = isinstance(experiment.freeze, dict) and any(until != "100%" for until in experiment.freeze.values())
    fp16 = experiment.precision not in ("fp32", "bf16")  # "auto" may take it
    ordered = experiment.memory_format != "contiguous"
    fused = experiment.optimizer["type"] == "SGD" and experiment.optimizer.get("fused")
    reasons = {
        "under fp16 gradients are scaled by what one process sees of them: take precision='bf16'": fp16,
        "compile has not been shown to give the same result: leave it out": experiment.compile,
        "memory_format orders whole weights, and here are parts of them: leave it out": ordered,
        f"the hook {', '.join(whole)} takes whole weights, and here are parts of them: leave it out": whole,
        "clip_agc measures whole units of weights, and here are parts of them: take clip_norm": experiment.clip_agc,
        "freeze can thaw nothing during the run: name what is frozen for all of it": thaws,
        "torch's SGD has no fused form for parts of weights: leave out optimizer.fused": fused,
        "the loss has parameters of its own, which are in no block": list(runner.loss_function.parameters()),
    }
    for reason, is_so in reasons.items():
        if is_so:
            raise ConfigError(f"parallel='fsdp': {reason}. Or take parallel='ddp'")


def blocks(model: nn.Module) -> list[nn.Module]:
    """The parts of a model whose weights are brought together for a moment each, those within others first.

    Each block, then the root, is what torch's tutorial of FSDP2 advises. A block is a member of a Sequential or a
    ModuleList that is made of modules itself: a residual block, a transformer's layer, a stage of them.
    """
    members = [
        member
        for container in model.modules()
        if isinstance(container, (nn.Sequential, nn.ModuleList))
        for member in container.children()
        if any(True for _ in member.children()) and any(True for _ in member.parameters())
    ]
    order = {module: place for place, module in enumerate(model.modules())}  # parents before their children
    return sorted(dict.fromkeys(members), key=order.__getitem__, reverse=True)


def _shard(model: nn.Module, device: torch.device, size: int) -> None:
    """In place. The weights are brought to the device block by block: the whole of them never lies there."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    try:
        dist.reduce_scatter_tensor(torch.zeros(1, device=device), torch.zeros(size, device=device))
        mesh = init_device_mesh(device.type, (size,))
        for part in (*blocks(model), model):
            # Also the root, which would else stay whole after an evaluation, for a backward pass that does not come.
            fully_shard(part, mesh=mesh, reshard_after_forward=True)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"parallel='fsdp': torch {torch.__version__} cannot share out {type(model).__name__} on {device.type}: "
            f"{reason}. Take parallel='ddp'"
        ) from error


def is_sharded(model: nn.Module) -> bool:
    return hasattr(model, "set_requires_gradient_sync")  # of FSDPModule, whose import takes a while


def no_sync(model: nn.Module) -> AbstractContextManager[None]:
    """Inside of it, gradients of a sharded model are those of this process alone, and are kept whole."""
    return _unsynchronised(model) if is_sharded(model) else nullcontext()


@contextmanager
def _unsynchronised(model: Any) -> Iterator[None]:
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


# --- whole and in parts ----------------------------------------------------------------------------------------------


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which the processes have a part each, put together; any other as it is. All must call it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # pyright: ignore


def norms(tensors: list[Tensor]) -> list[Tensor]:
    """The norm of each tensor; one of all of them, if the processes have a part of each. All must call it then."""
    if any(hasattr(each, "full_tensor") for each in tensors):
        return [whole(torch.nn.utils.get_total_norm(tensors))]
    return list(torch._foreach_norm(tensors)) if tensors else []  # pyright: ignore[reportPrivateImportUsage]


def gathered(state: Any, keep: bool) -> Any:
    """A state with whole tensors on the CPU where the processes have a part each: as one process would have it.

    One tensor at a time is whole on the device. All must call it.

    Args:
        keep: whether this process wants it; the others have None for such tensors.
    """
    if hasattr(state, "full_tensor"):
        complete = state.detach().full_tensor()
        return complete.cpu() if keep else None
    if isinstance(state, Mapping):
        complete = copy.copy(state)
        complete.update({key: gathered(value, keep) for key, value in state.items()})  # pyright: ignore
        return complete
    if type(state) in (list, tuple):
        return type(state)(gathered(value, keep) for value in state)
    return state


def shared_out(state: Mapping[str, Tensor], like: nn.Module) -> Mapping[str, Tensor]:
    """A whole model's state, of it this process's part where the model has only that. All must call it."""
    if not is_sharded(like):
        return state
    parts: Any = copy.copy(state)
    for name, own in like.state_dict().items():
        if name in state and hasattr(own, "full_tensor"):
            parts[name] = _part(state[name], own)
    return parts


def share_out_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """After an optimizer has loaded a whole state, leave this process its part of it. All must call it."""
    optimizer = innermost(optimizer)
    for group in optimizer.param_groups:
        if any(hasattr(each, "full_tensor") for each in group["params"]) and "fused" in group:
            group["fused"] = optimizer.defaults["fused"]  # not that of one process, whose weights were whole
    for parameter, state in optimizer.state.items():
        if hasattr(parameter, "full_tensor"):
            for key, value in state.items():
                if isinstance(value, Tensor) and value.ndim > 0 and not hasattr(value, "full_tensor"):
                    state[key] = _part(value, parameter)


def _part(value: Tensor, like: Any) -> Tensor:
    from torch.distributed.tensor import Replicate, distribute_tensor

    # What an optimizer keeps in another shape than its parameter, such as sums over rows, each process has all of.
    placements = like.placements if value.shape == like.shape else [Replicate()]
    return distribute_tensor(value.to(like.device), like.device_mesh, placements)
