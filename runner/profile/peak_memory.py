"""The most memory that was taken so far."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch


def peak_memory(device: torch.device) -> int | None:
    """On a device, in bytes: of the CPU's by this process, of CUDA's by its tensors. None where the system does not
    say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    # Linux counts into ru_maxrss of a process what the one had that started it.
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
