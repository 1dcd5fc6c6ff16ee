"""Random numbers by counter: the published words, and no trace of a pattern across what keys them."""

from __future__ import annotations

import numpy as np
import pytest

from knoll.datasets.loading.philox import philox, uniform


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0, 0, 0, 0], (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],  # the digits of pi
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_words_are_those_of_random123(counter, key, words):
    """Known answers of philox4x32-10: kat_vectors of Random123, the authors' own code."""
    made = philox(np.array(counter, np.uint64)[:, None], key)[:, 0]
    assert " ".join(f"{int(word):08x}" for word in made) == words


def test_a_sample_has_its_numbers_whatever_batch_it_is_in():
    alone = uniform(3, np.array([17]), np.array([1]), 6, (5, 2))
    among = uniform(3, np.array([4, 17, 9]), np.array([0, 1, 0]), 6, (5, 2))
    assert np.array_equal(alone[0], among[1])


def test_fewer_numbers_are_the_first_of_more():
    indices, copies = np.arange(9), np.zeros(9, np.int64)
    assert np.array_equal(uniform(0, indices, copies, 3, (1, 1)), uniform(0, indices, copies, 23, (1, 1))[:, :3])


def test_numbers_are_uniform_and_independent_across_all_that_keys_them():
    """2^14 numbers along each: mean and variance within 4 standard errors of 1/2 and 1/12, no correlation."""
    count = 1 << 14
    zeros, many = np.zeros(count, np.int64), np.arange(count)
    along = {
        "index": uniform(0, many, zeros, 1, (0, 0))[:, 0],
        "copy": uniform(0, zeros, many, 1, (0, 0))[:, 0],
        "epoch": np.array([uniform(epoch, zeros[:1], zeros[:1], 1, (0, 0))[0, 0] for epoch in range(2048)]),
        "seed": np.array([uniform(0, zeros[:1], zeros[:1], 1, (seed, 0))[0, 0] for seed in range(2048)]),
        "number": uniform(0, zeros[:1], zeros[:1], count, (0, 0))[0],
    }
    for name, numbers in along.items():
        n = len(numbers)
        assert numbers.min() > 0, name
        assert numbers.max() < 1, name
        assert abs(numbers.mean() - 0.5) < 4 / (12 * n) ** 0.5, name
        assert abs(numbers.var() - 1 / 12) < 4 / (180 * n) ** 0.5, name
        assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 4 / n**0.5, name
