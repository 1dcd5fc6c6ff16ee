"""What a backward pass moves besides gradients, kept so that it can be taken back."""

from __future__ import annotations

from operator import is_

import torch
from torch import Tensor, nn


class Remembered:
    """Buffers, such as BatchNorm's running averages, and torch's generators, from which dropout draws.

    Not the generators of numpy and Python: their states take 40 us to read, in every step.

    Args:
        parts: the modules that the pass goes through.
        device: theirs.
    """

    def __init__(self, parts: tuple[nn.Module, ...], device: torch.device) -> None:
        # The modules' own tables: a walk over the modules takes longer than a small network's whole forward pass.
        self._tables = [module._buffers for part in parts for module in part.modules() if module._buffers]
        self._on_cuda = device if device.type == "cuda" else None
        self._places: list[tuple[dict, str]] = []
        self._now: list[Tensor] = []
        self._before: list[Tensor] = []
        self._by_kind: list[tuple[list[Tensor], list[Tensor]]] = []
        self._random: list[Tensor] = []

    def note(self) -> None:
        """Keep how all of it is now."""
        now = [buffer for table in self._tables for buffer in table.values() if buffer is not None]
        if len(now) != len(self._now) or not all(map(is_, now, self._now)):
            self._allocate(now)
        for before, current in self._by_kind:
            torch._foreach_copy_(before, current)  # pyright: ignore[reportPrivateImportUsage]
        self._random = [torch.default_generator.get_state()]
        if self._on_cuda is not None:
            self._random.append(torch.cuda.get_rng_state(self._on_cuda))

    def put_back(self) -> None:
        """Make all of it again what it was at the last `note`."""
        with torch.no_grad():
            for buffer, before in zip(self._now, self._before, strict=True):
                buffer.copy_(before)
        for (table, name), buffer in zip(self._places, self._now, strict=True):
            table[name] = buffer  # a module may have put another tensor in its place
        torch.set_rng_state(self._random[0])
        if self._on_cuda is not None:
            torch.cuda.set_rng_state(self._random[1], self._on_cuda)

    def _allocate(self, now: list[Tensor]) -> None:
        places = ((table, name) for table in self._tables for name in table)
        self._places = [(table, name) for table, name in places if table[name] is not None]
        self._now, self._before = now, [torch.empty_like(buffer) for buffer in now]
        kinds: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for before, current in zip(self._before, now, strict=True):
            of_kind = kinds.setdefault(current.dtype, ([], []))  # one kernel on CUDA copies all of one dtype
            of_kind[0].append(before)
            of_kind[1].append(current)
        self._by_kind = list(kinds.values())
