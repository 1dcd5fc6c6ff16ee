"""Freed memory is kept, where nothing else has been chosen."""

from __future__ import annotations

import os
import platform
import resource
import sys

import pytest
import torch

from knoll.runner.step.allocator import keep_freed_memory

glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="this is about glibc"
)
BLOCKS, SIZE = 20, 8 * 2**20


def faults() -> int:
    """Pages that the system has to clear while blocks are taken and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(BLOCKS):
        torch.empty(SIZE, dtype=torch.uint8).zero_()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_a_page_is_cleared_once_and_not_in_every_step(forked):
    def child() -> None:
        assert keep_freed_memory()
        faults()
        assert faults() < BLOCKS * SIZE // os.sysconf("SC_PAGE_SIZE") // 100

    assert os.waitstatus_to_exitcode(os.waitpid(forked(child), 0)[1]) == 0


@pytest.mark.parametrize("name", ["LD_PRELOAD", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_environment_has_chosen_stays(monkeypatch, name):
    monkeypatch.setenv(name, "")
    assert keep_freed_memory() is False


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert keep_freed_memory() is False
