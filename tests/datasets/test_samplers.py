"""Samplers: how often a class and an image come, against the formulas, and the same for the same seed and epoch."""

from __future__ import annotations

from collections import Counter
from math import sqrt

import numpy as np
import pytest
import torch
from timm.data.distributed_sampler import RepeatAugSampler

from knoll.datasets.samplers import RepeatedAugmentation, Shuffled
from knoll.registry import DATASETS, SAMPLERS, ConfigError

COUNTS = dict(cat=400, dog=100, emu=25)


@pytest.fixture
def pets(working_directory):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), list(COUNTS.values())))
    np.savez("pets.npz", train_images=np.zeros((len(labels), 2, 2), np.uint8), train_labels=labels)
    return DATASETS.build(dict(type="ArrayFile", path="pets.npz", classes=list(COUNTS)))


def build(dataset, seed=0, **config):
    return SAMPLERS.build(config, default_args=dict(dataset=dataset, seed=seed))


def classes_of(dataset, order) -> Counter[str]:
    return Counter(dataset.classes[dataset.labels[index]] for index in order)


CONFIGS = [
    dict(type="Shuffled"),
    dict(type="RepeatedAugmentation"),
    dict(type="ClassBalanced"),
    dict(type="ClassBalanced", size=101),
    dict(type="Weighted", power=0.5),
    dict(type="Weighted", weights=dict(emu=4.0), size=77),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_order_follows_from_seed_and_epoch(pets, config):
    sampler = build(pets, **config)
    first, second = sampler.order(0), sampler.order(1)
    assert len(first) == len(second) == len(sampler)
    assert set(first) <= set(range(len(pets)))
    assert first != second
    assert sampler.order(0) == build(pets, **config).order(0) == first
    assert build(pets, seed=1, **config).order(0) != first
    assert all(type(index) is int for index in first)


def test_balanced_classes_come_equally_often_and_so_do_their_images(pets):
    sampler = build(pets, type="ClassBalanced")
    assert len(sampler) == 3 * 400
    order = sampler.order(0)
    assert classes_of(pets, order) == dict(cat=400, dog=400, emu=400)
    times = Counter(order)
    assert Counter((pets.classes[pets.labels[i]], n) for i, n in times.items()) == {
        ("cat", 1): 400,
        ("dog", 4): 100,
        ("emu", 16): 25,
    }


def test_a_balanced_epoch_of_a_size_of_its_own(pets):
    sampler = build(pets, type="ClassBalanced", size=100)
    dearest, images = Counter(), Counter()
    for epoch in range(60):
        order = sampler.order(epoch)
        counts = classes_of(pets, order)
        assert sorted(counts.values()) == [33, 33, 34]
        dearest[max(counts, key=counts.__getitem__)] += 1
        times = Counter(order)
        images.update(order)
        assert all(times[index] in (1, 2) for index in range(len(pets)) if pets.labels[index] == 2)
        assert all(times[index] in (0, 1) for index in range(len(pets)) if pets.labels[index] != 2)
    # The class that gets one more, and the images of the largest class, change from epoch to epoch.
    assert all(abs(count - 20) < 4 * sqrt(60 * 1 / 3 * 2 / 3) for count in dearest.values())
    assert len(images) > 0.98 * len(pets)  # a cat is missed by all with (1 - 33/400) ** 60 = 0.6 %


def test_classes_without_images_are_left_out(working_directory):
    np.savez("two.npz", train_images=np.zeros((3, 2, 2), np.uint8), train_labels=np.array([2, 0, 2]))
    two = DATASETS.build(dict(type="ArrayFile", path="two.npz", classes=list(COUNTS)))
    assert sorted(build(two, type="ClassBalanced").order(0)) == [0, 1, 1, 2]
    assert set(build(two, type="Weighted", power=0.0).order(0)) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        (dict(power=1.0), dict(cat=400, dog=100, emu=25)),
        (dict(power=0.5), dict(cat=20, dog=10, emu=5)),
        (dict(power=0.0), dict(cat=1, dog=1, emu=1)),
        (dict(weights=dict(emu=8.0)), dict(cat=400, dog=100, emu=200)),
        (dict(weights=dict(cat=0.0, dog=0.5)), dict(cat=0, dog=50, emu=25)),
    ],
)
def test_classes_are_drawn_by_their_weights(pets, options, shares):
    draws = 20_000
    order = build(pets, type="Weighted", size=draws, **options).order(0)
    counts = classes_of(pets, order)
    for name, share in shares.items():
        p = share / sum(shares.values())
        assert abs(counts[name] - draws * p) <= 4 * sqrt(draws * p * (1 - p))
    # Within a class every image is as likely as another: chi-square, of mean and variance 24 and 48 for 25 emus.
    emus = np.array([count for index, count in Counter(order).items() if pets.labels[index] == 2])
    assert len(emus) == 25
    assert abs(((emus - emus.mean()) ** 2 / emus.mean()).sum() - 24) < 4 * sqrt(48)


@pytest.mark.parametrize("times", [1, 2, 3, 7, 1000])
def test_repeated_augmentation_is_timms_on_one_process(pets, times):
    ours = RepeatedAugmentation(pets, seed=0, times=times).order(5)
    theirs = list(RepeatAugSampler(pets, num_replicas=1, rank=0, num_repeats=times, selected_round=0))
    assert len(ours) == len(theirs) == len(pets)
    # The same but for the shuffling: each order with its images numbered as they come.
    numbered = [[list(dict.fromkeys(order)).index(index) for index in order] for order in (ours, theirs)]
    assert numbered[0] == numbered[1]
    assert numbered[0] == [position // times for position in range(len(pets))]


def test_every_image_is_chosen_for_repetition_as_often(pets):
    chosen = Counter(index for epoch in range(300) for index in set(RepeatedAugmentation(pets, seed=0).order(epoch)))
    counts = torch.tensor([chosen[index] for index in range(len(pets))], dtype=torch.float64)
    assert counts.mean() == 100
    # Binomial(300, 1/3): variance 66.7. Of 525 images about one is beyond 3.1 deviations, none beyond 5.
    assert (counts - 100).abs().max() < 5 * sqrt(300 * 1 / 3 * 2 / 3)
    assert abs(counts.var() / (300 * 1 / 3 * 2 / 3) - 1) < 0.3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="Weighted"), "give either `weights` or `power`"),
        (dict(type="Weighted", weights={}, power=1.0), "give either `weights` or `power`"),
        (dict(type="Weighted", weights=dict(cta=2.0)), "no class `cta`. Did you mean `cat`?"),
        (dict(type="Weighted", weights=dict(cat=-1.0)), "the weight of cat is -1.0; a weight is 0 or more"),
        (dict(type="Weighted", weights=dict(cat=float("nan"))), "the weight of cat is nan"),
        (dict(type="Weighted", weights=dict(cat=0.0, dog=0.0, emu=0.0)), "no sample has a weight above 0"),
        (dict(type="Weighted", weights=dict(cat=1e308)), "too large to be added"),
        (dict(type="ClassBalanced", size=0), "at least 1"),
        (dict(type="RepeatedAugmentation", times=0), "at least 1"),
    ],
)
def test_a_sampler_that_cannot_be(pets, config, message):
    with pytest.raises(ConfigError, match=message):
        build(pets, **config)


def test_rows_have_no_class_to_go_by(working_directory):
    np.savez("rows.npz", train_images=np.zeros((4, 2, 2), np.uint8), train_labels=np.eye(4, dtype=int))
    rows = DATASETS.build(dict(type="ArrayFile", path="rows.npz"))
    for config in (dict(type="ClassBalanced"), dict(type="Weighted", power=0.5)):
        with pytest.raises(ConfigError, match=f"{config['type']} goes by the class .* the labels are rows"):
            build(rows, **config)
    assert len(build(rows, type="RepeatedAugmentation").order(0)) == 4


def test_the_order_of_an_epoch_is_the_one_it_has_always_been(pets):
    """A run that was begun before goes on in the same order."""
    generator = torch.Generator().manual_seed(2905030650)  # of blake2b(b"(0, 'order', 3)"), four bytes
    assert Shuffled(pets, seed=0).order(3) == torch.randperm(525, generator=generator).tolist()
