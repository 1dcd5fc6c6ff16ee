"""A copy of a run's state that stays as it is while the run goes on."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from ...registry import UserError

# What torch.load reads with weights_only=True. A subclass, such as numpy's float, it refuses.
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.Size, torch.dtype, torch.device)
_DICTS = (dict, OrderedDict, Counter)
_SEQUENCES = (list, tuple, set)


class Snapshot:
    """Copies plain data, and tensors onto the CPU. Tensors that share their memory share it in the copy.

    From CUDA they are copied into pinned memory, which torch keeps for the next time, and waited for once.

    Attributes:
        state: the copy.
        nbytes: the size of its tensors.

    Raises:
        UserError: the state holds what a checkpoint could not be read with; says where.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self._memory: dict[int, torch.UntypedStorage] = {}
        self._on_cuda = False
        self.state: dict[str, Any] = self._copy(state, "")
        if self._on_cuda:
            torch.cuda.synchronize()
        self.nbytes = sum(memory.nbytes() for memory in self._memory.values())

    def _copy(self, value: Any, where: str) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind in _DICTS:
            copied = copy.copy(value)  # with the versions of layers that a model's state_dict has as an attribute
            for key, each in value.items():
                copied[self._copy(key, where)] = self._copy(each, f"{where}.{key}" if where else str(key))
            return copied
        if kind in _SEQUENCES:
            return kind(self._copy(each, f"{where}.{number}") for number, each in enumerate(value))
        if kind in (Tensor, nn.Parameter):
            return self._copy_tensor(value)
        raise UserError(
            f"the run's state cannot be saved: {where} is a {kind.__module__}.{kind.__qualname__}, and a checkpoint "
            "holds plain types and tensors. Turn it into such in the hook's or the module's own state."
        )

    def _copy_tensor(self, tensor: Tensor) -> Tensor:
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_conj() or tensor.is_neg():
            return tensor.detach().to("cpu", copy=True)  # more than memory and a view of it
        memory = self._copy_memory(tensor.untyped_storage())
        view = torch.empty(0, dtype=tensor.dtype).set_(
            memory,
            tensor.storage_offset(),
            tensor.size(),
            tensor.stride(),  # pyright: ignore[reportArgumentType]
        )
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(view, tensor.requires_grad)
        return view.requires_grad_(tensor.requires_grad)

    def _copy_memory(self, memory: torch.UntypedStorage) -> torch.UntypedStorage:
        if memory._cdata not in self._memory:
            on_cuda = memory.device.type == "cuda"
            copied = torch.empty(memory.nbytes(), dtype=torch.uint8, pin_memory=on_cuda).untyped_storage()
            copied.copy_(memory, non_blocking=on_cuda)
            self._memory[memory._cdata] = copied
            self._on_cuda |= on_cuda
        return self._memory[memory._cdata]
