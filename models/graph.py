"""The graph of a model: which module reads what from which, found by running it once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..registry import UserError
from .summary import tensors


class Box(NamedTuple):
    """A call of a module, or of a function between modules.

    Args:
        name: the module's place, "backbone.layer1.0.conv1"; of a function, that of the module it stands in.
        type: the class, or the function's name.
        shape: of what it returns.
        is_module: or else a function, or the input.
    """

    name: str
    type: str
    shape: str
    is_module: bool


@dataclass
class Graph:
    """Boxes in the order of their calls, the images first; and pairs of positions: the second reads from the first."""

    boxes: list[Box] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)


def trace(model: nn.Module, images: Tensor, depth: int | None = None) -> Graph:
    """Follow a batch of images (N, C, H, W) through a model in evaluation mode.

    Boxes are the modules without children, or those at `depth`. Of functions between them, those that only look at the
    same numbers in another shape are passed over, and so is nn.Identity.

    torch.fx is not used: it traces with stand-ins that are no tensors, which any `if` about a shape breaks.

    Raises:
        UserError: the output cannot be followed back to the images, for something on the way is not torch's.
    """
    was_training = model.training
    recorder = _Recorder(model.eval(), depth)
    try:
        with torch.no_grad():
            return recorder.run(images)
    finally:
        model.train(was_training)


class _Recorder(TorchFunctionMode):
    """Keeps, for every tensor outside the boxes, the box that it comes from."""

    def __init__(self, model: nn.Module, depth: int | None) -> None:
        super().__init__()
        self.model = model
        self.names = {module: name for name, module in model.named_modules()}
        self.leaves = {
            module
            for module, name in self.names.items()
            if not any(module.children()) or (depth is not None and name and name.count(".") + 1 >= depth)
        }
        self.graph = Graph()
        self.sources: dict[int, int] = {}
        self.alive: list[Tensor] = []  # an id stands for the same tensor only while that exists
        self.running: list[nn.Module] = []
        self.within: nn.Module | None = None  # the leaf that is running; what happens in it is its own affair
        self.before: list[tuple[Tensor, int]] = []  # what that leaf was given, and how often it had been changed

    def run(self, images: Tensor) -> Graph:
        self._add(Box("", "images", _shape(images), is_module=False), [], [images])
        hooks = [module.register_forward_pre_hook(self._enter, with_kwargs=True) for module in self.names]
        hooks += [module.register_forward_hook(self._leave, with_kwargs=True) for module in self.names]
        try:
            with self:
                output = self.model(images)
        finally:
            for hook in hooks:
                hook.remove()
        if not any(id(tensor) in self.sources for tensor in tensors(output)):
            last = self.graph.boxes[-1]
            raise UserError(
                f"the model cannot be drawn: behind {last.name or last.type} ({last.type}) its output is made by "
                "something that is no function of torch, such as NumPy. Put that into a module without children"
            )
        return self.graph

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if self.within is not None:
            return func(*args, **kwargs)
        inputs = list(tensors((args, kwargs)))
        before = _versions(inputs)
        output = func(*args, **kwargs)
        changed = _changed(before)
        new = [tensor for tensor in tensors(output) if not any(tensor is each for each in inputs)]
        if not changed and new and (seen := self._source_of_views(new, inputs)) is not None:
            for tensor in new:
                self._come_from(tensor, seen)
        elif changed or new:
            place = self.names[self.running[-1]] if self.running else ""
            name = func.__name__.strip("_")
            name = "add" if name in ("iadd", "radd") else name
            self._add(Box(place, name, _shape(output if new else changed), is_module=False), inputs, [*changed, *new])
        return output

    def _source_of_views(self, outputs: list[Tensor], inputs: list[Tensor]) -> int | None:
        """The one box of which all the outputs are views, if there is one."""
        known = {_address(tensor): self.sources[id(tensor)] for tensor in inputs if id(tensor) in self.sources}
        found = {known.get(_address(tensor)) for tensor in outputs}
        return found.pop() if len(found) == 1 else None

    def _enter(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if self.within is None:
            self.running.append(module)
            if module in self.leaves:
                self.within = module
                self.before = _versions(tensors((args, kwargs)))

    def _leave(self, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
        if self.within not in (None, module):
            return None
        self.running.pop()
        if self.within is None or isinstance(module, nn.Identity):
            self.within = None
            return None
        inputs = [tensor for tensor, _ in self.before]
        if isinstance(output, Tensor) and any(output is each for each in inputs):
            # Dropout returns what it was given: who reads that later need not have read it from here.
            output = output.view_as(output)
        box = Box(self.names[module], type(module).__name__, _shape(output), is_module=True)
        self._add(box, inputs, [*_changed(self.before), *tensors(output)])
        self.within = None
        return output

    def _add(self, box: Box, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        sources = sorted({self.sources[id(tensor)] for tensor in inputs if id(tensor) in self.sources})
        if not sources and self.graph.boxes:
            return  # made of parameters and constants alone
        here = len(self.graph.boxes)
        self.graph.boxes.append(box)
        self.graph.edges += [(source, here) for source in sources]
        for tensor in outputs:
            self._come_from(tensor, here)

    def _come_from(self, tensor: Tensor, box: int) -> None:
        self.sources[id(tensor)] = box
        self.alive.append(tensor)


def _versions(inputs: Iterable[Tensor]) -> list[tuple[Tensor, int]]:
    return [(tensor, tensor._version) for tensor in inputs]


def _changed(before: list[tuple[Tensor, int]]) -> list[Tensor]:
    """Those that were written to in place since."""
    return [tensor for tensor, version in before if tensor._version != version]


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _shape(output: Any) -> str:
    return " + ".join(str(tuple(tensor.shape)) for tensor in tensors(output))
