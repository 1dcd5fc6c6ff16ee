"""Several processes: what torchrun says of them, and what those of one run have to agree on."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ...datasets.loading.randomness import derive_seed, seed_sample
from ...registry import ConfigError, UserError
from ...registry.errors import one_line
from ..saving.resume import flatten

if TYPE_CHECKING:
    from ..runner import Runner

T = TypeVar("T")

# Longer than a loader waits for its workers, which can say more of what is wrong.
TIMEOUT = timedelta(minutes=10)
# What gloo, NCCL and the store behind them say when another process is no longer there.
GONE = ("closed by peer", "reset by peer", "Broken pipe", "refused", "remote process exited", "recvValue failed")
_RESUME = "Start all of them again with --resume to continue from the last checkpoint"


class LostProcess(UserError):
    """Another process of the run is gone, or does not answer."""


class World:
    """The processes of a run: one alone, or those that torchrun has started.

    Alone, nothing here costs anything. Of several, all must call a method, in the same order, for it to return.

    Args:
        rank: which of the processes this one is, from 0.
        size: how many there are.
        local_rank: which of those on this machine.
        saves_together: each has a part of what is saved, so that all must be there for it.

    Attributes: `ends_together`, whether the run ends by what all know of.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, saves_together: bool = False) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.is_first = rank == 0
        self.part = rank, size
        self.saves_together = saves_together
        self.ends_together = False

    def sums(self, *numbers: int) -> list[int]:
        """Each number, added over the processes."""
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def largest(self, *numbers: int) -> list[int]:
        """Of each number the processes' largest."""
        return self._reduced(numbers, dist.ReduceOp.MAX)

    def _reduced(self, numbers: Sequence[int], how: Any) -> list[int]:
        if self.size == 1:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.int64)  # on the CPU: nobody waits for a device
        dist.all_reduce(values, how)
        return values.tolist()

    def mean(self, value: Tensor) -> Tensor:
        """The processes' mean of a value of any shape, on any device; overwrites it."""
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size
        return value

    def gather(self, own: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """The tensors (length, ...) of all processes, by rank."""
        if self.size == 1:
            return [own]
        padded = own.new_zeros(max(lengths), *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        return [part[:length] for part, length in zip(parts, lengths, strict=True)]

    def collect(self, own: T) -> list[T]:
        """What each process has, by rank: small things."""
        found = [own] * self.size
        if self.size > 1:
            dist.all_gather_object(found, own)
        return found

    def of_first(self, own: T) -> T:
        """What the first process has."""
        held = [own]
        if self.size > 1:
            dist.broadcast_object_list(held)
        return held[0]

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the first one's buffers, such as BatchNorm's running averages, of which each has moved
        its own."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def mean_gradients(self, module: nn.Module) -> None:
        """The mean of the processes' gradients, for the few parameters that are not the model's: a loss may have some.

        Those of the model are DistributedDataParallel's business.
        """
        if self.size > 1:
            for parameter in module.parameters():
                if parameter.requires_grad:
                    if parameter.grad is None:
                        parameter.grad = torch.zeros_like(parameter)
                    self.mean(parameter.grad)

    def seed_step(self, seed: int, step: int) -> None:
        """Seed what a step draws besides its samples: dropout and the like, for each process its own.

        So there is no state of a process that a checkpoint would have to hold: the first one saves it alone, also when
        another is gone.
        """
        if self.size > 1:
            own = derive_seed(seed, "step", step, self.rank)
            seed_sample(own)
            if torch.cuda.is_initialized():
                torch.cuda.manual_seed(own)

    def own_device(self, wanted: torch.device) -> torch.device:
        """Of the CUDA devices of this machine the one that is this process's; any other device as it is.

        Raises:
            ConfigError: there are fewer than processes, or all were to share one.
        """
        if self.size == 1 or wanted.type == "cpu":
            return wanted
        if wanted.type != "cuda" or wanted.index is not None:
            raise ConfigError(f"DevicePlacement: {self.size} processes cannot share {wanted}: use 'cuda' or 'cpu'")
        if self.local_rank >= (devices := torch.cuda.device_count()):
            raise ConfigError(
                f"process {self.rank} has no CUDA device: there are {devices} on this machine. Start with "
                f"--nproc-per-node={devices}, or set hooks.device_placement.device=cpu"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def require_same(self, values: Mapping[str, Any]) -> None:
        """The processes must be at the same thing: several machines may have other files each.

        Raises:
            UserError: names what differs, with both values.
        """
        first, *others = self.collect(dict(values))
        for rank, other in enumerate(others, start=1):
            for key in [*first, *other]:
                if first.get(key) != other.get(key):
                    raise self.error(
                        f"the processes of this run differ in {key}: {first.get(key)!r} in process 0, "
                        f"{other.get(key)!r} in process {rank}. Give all of them the same config, data and checkpoint"
                    )

    def error(self, message: str) -> UserError:
        """An error that all processes have found: one tells it, the others end as well."""
        self.ends_together = self.size > 1
        return UserError(message if self.is_first else f"process {self.rank} ends for the reason that process 0 gives")

    @contextmanager
    def explained(self, remedy: str = _RESUME) -> Iterator[None]:
        """Say in words what went wrong if another process is gone.

        Args:
            remedy: what to do then.

        Raises:
            LostProcess: in place of torch's own error.
        """
        try:
            yield
        except (RuntimeError, OSError) as error:
            said = str(error)
            if self.size == 1 or isinstance(error, UserError):
                raise
            if "DTensor" in said:  # of an optimizer, say, that computes with weights and tensors of its own
                raise ConfigError(
                    f"parallel='fsdp': a part of this run does not take weights in parts ({one_line(said)[:200]}): "
                    "take another optimizer, or parallel='ddp'"
                ) from error
            if any(words in said for words in GONE):
                what = "is gone: it was killed, or ended by an error that it has told itself"
            elif "imed out" in said or "imeout" in said:
                what = f"has not answered for {TIMEOUT.total_seconds() / 60:.0f} minutes"
            else:
                raise
            raise LostProcess(f"process {self.rank} of {self.size} stops: another one {what}. {remedy}") from error


ALONE = World()


def explained(method: Callable[..., T]) -> Callable[..., T]:
    """A Runner's method that says in words what went wrong if another process is gone; see World.explained."""

    @wraps(method)
    def call(runner: Runner, *arguments: Any, **options: Any) -> T:
        with runner.world.explained():
            return method(runner, *arguments, **options)

    return call


def what_must_agree(runner: Runner, state: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the processes of a run must have in common, by what it is called."""
    data = {"train": runner.train_loader, **runner.evaluation_loaders}
    return {
        **{f"the config's {key}": value for key, value in flatten(runner.config.data).items()},
        **{f"the number of images of {name}": len(loader.dataset) for name, loader in data.items()},
        **{f"the data of {name}": source for name, source in runner.sources.items()},
        "the step of the checkpoint": state["step"] if state else None,
        "the version of torch": str(torch.__version__),
        "what `auto` has become": tuple(runner.forward.how),
    }


def join(saves_together: bool = False) -> World:
    """The World that torchrun has started this process in; without torchrun it is alone.

    Args:
        saves_together: see World.

    Joins the process group, once, with gloo for what is on the CPU and NCCL for what is on CUDA. At exit it is left.

    Raises:
        UserError: torchrun's variables are incomplete, or the others cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        return ALONE
    missing = [name for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise UserError(
            f"RANK and WORLD_SIZE are set, but not {', '.join(missing)}: start with torchrun, or unset them to train "
            "in one process"
        )
    rank, size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        try:
            dist.init_process_group(backend, timeout=TIMEOUT)
        except (RuntimeError, ValueError) as error:
            address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"process {rank} of {size} does not reach the others through {address}: {reason}"
            ) from error
        atexit.register(leave)
    return World(rank, size, local_rank, saves_together)


def leave() -> None:
    """Leave the process group, if this process has joined one."""
    if dist.is_initialized():
        dist.destroy_process_group()
