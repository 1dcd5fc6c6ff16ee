"""Random numbers by counter: each follows from a key and a place alone, so those of a whole batch are drawn at once.

Philox4x32-10 of Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011), section 3.3.
numpy's own Philox draws along one counter; here every image of a batch has a counter of its own.
"""

from __future__ import annotations

import functools
import sys

import numpy as np

_MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], np.uint64)
# What is added to the keys each round: the golden ratio, and the square root of 3 less 1, as fractions of 2^32.
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW_WORD = 0 if sys.byteorder == "little" else 1
_ROUNDS = 10


def philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Four 32-bit random words for each counter.

    Args:
        counters: uint64 (4, N), of which the lower 32 bits count.
        key: two numbers of 32 bits.

    Returns:
        uint32 (4, N).
    """
    first, second = counters[::2].astype(np.uint32), counters[1::2].astype(np.uint32)
    for key_of_round in _keys_of_rounds(key):
        products = np.multiply(first, _MULTIPLIERS, dtype=np.uint64).view(np.uint32)
        # Of each product the upper word goes to the other pair, with what was there and the key; so does the lower.
        first = products[::-1, 1 - _LOW_WORD :: 2] ^ second
        first ^= key_of_round
        second = products[::-1, _LOW_WORD::2]
    return np.stack([first[0], second[0], first[1], second[1]])


@functools.lru_cache(maxsize=64)
def _keys_of_rounds(key: tuple[int, int]) -> list[np.ndarray]:
    return [
        np.array([[(part + count * step) % 2**32] for part, step in zip(key, _WEYL, strict=True)], np.uint32)
        for count in range(_ROUNDS)
    ]


def uniform(epoch: int, indices: np.ndarray, copies: np.ndarray, count: int, key: tuple[int, int]) -> np.ndarray:
    """`count` numbers between 0 and 1, neither included, for each sample of a batch: float64 (N, count).

    Args:
        indices: of the samples in their data set (N,).
        copies: how often each has been drawn in this epoch before (N,).
        key: the seed, and what the numbers are for.
    """
    blocks = -(-count // 4)
    counters = np.empty((4, blocks, len(indices)), np.uint64)
    counters[0], counters[1], counters[2] = indices, epoch, copies
    counters[3] = np.arange(blocks)[:, None]
    words = philox(counters.reshape(4, -1), key).reshape(4, blocks, len(indices))
    return (words.transpose(2, 1, 0).reshape(len(indices), -1)[:, :count] + 0.5) * 2.0**-32
