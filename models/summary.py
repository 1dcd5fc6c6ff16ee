"""What a model consists of, layer by layer: shapes, parameters, arithmetic and memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode


class Row(NamedTuple):
    """One module, with all that is below it.

    Args:
        name: its place, such as "backbone.layer1.0"; "" is the model itself.
        shape: of what it returned last: (N, ...); "" if it was not called.
        parameters: how many numbers; a parameter that several modules share belongs to the first of them.
        flops: of the forward pass, as FlopCounterMode counts: two for a multiply-add; convolutions, matrix products and
            attention only.
        activations: bytes that the forward pass keeps for a backward pass.
    """

    name: str
    type: str
    shape: str
    parameters: int
    flops: int
    activations: int

    @property
    def depth(self) -> int:
        return self.name.count(".") + 1 if self.name else 0


@dataclass
class _Own:
    """What belongs to a module itself, without those below it."""

    type: str
    parameters: int = 0
    shape: str = ""
    flops: int = 0
    activations: int = 0


def summarize(model: nn.Module, images: Tensor) -> list[Row]:
    """A row for the model, and one for every module in it, in the order of `named_modules`.

    A forward pass is run in evaluation mode. What a function of a module does between its children, such as an
    addition, counts for that module; what a module does that has several names, for the first of them.

    Args:
        images: (N, C, H, W).
    """
    own = {name: _Own(type(module).__name__) for name, module in model.named_modules()}
    _run(model, images, own)
    for name, parameter in model.named_parameters():
        own[name.rpartition(".")[0]].parameters += parameter.numel()
    rows = []
    for name, each in own.items():
        within = [below for other, below in own.items() if _is_within(other, name)]
        rows.append(
            Row(
                name,
                each.type,
                each.shape,
                sum(below.parameters for below in within),
                sum(below.flops for below in within),
                sum(below.activations for below in within),
            )
        )
    return rows


def flop_counter() -> FlopCounterMode:
    """Counts FLOPs while it is entered, in any version of torch."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    # torch 2.6 counts attention's FLOPs, but does not know the name that it has on a CPU.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    on_cpu = {attention: lambda query, key, value, *args, **kwargs: sdpa_flop_count(query, key, value)}
    return FlopCounterMode(display=False, custom_mapping=on_cpu)


def _is_within(name: str, other: str) -> bool:
    return not other or name == other or name.startswith(other + ".")


def _run(model: nn.Module, images: Tensor, own: dict[str, _Own]) -> None:
    """The forward pass. What is computed and kept belongs to the innermost module that is running."""
    running: list[_Own] = []
    # Held until the end, so that an address stands for the same memory throughout.
    kept = {each.untyped_storage().data_ptr(): each for each in (*model.parameters(), *model.buffers())}
    counter, counted = flop_counter(), 0

    def settle() -> None:
        nonlocal counted
        total = counter.get_total_flops()
        if running:
            running[-1].flops += total - counted
        counted = total

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in kept:
            kept[storage.data_ptr()] = tensor
            if running:
                running[-1].activations += storage.nbytes()
        return tensor

    def enter(module: nn.Module, inputs: Any) -> None:
        settle()
        running.append(by_module[module])

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        settle()
        running.pop().shape = " + ".join(str(tuple(each.shape)) for each in tensors(output))

    by_module = {module: own[name] for name, module in model.named_modules()}
    hooks = [module.register_forward_pre_hook(enter) for module in by_module]
    hooks += [module.register_forward_hook(leave, always_call=True) for module in by_module]
    was_training = model.training
    model.eval()
    try:
        with counter, torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(images)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()


def tensors(output: Any) -> Iterator[Tensor]:
    """The tensors in what a module returned: one, or several in lists, tuples and dicts."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (list, tuple, dict)):
        for each in output.values() if isinstance(output, dict) else output:
            yield from tensors(each)
