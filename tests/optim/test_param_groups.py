"""Groups of an optimizer: learning rates and weight decays by pattern."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from knoll.models.classifier import ImageClassifier
from knoll.optim.param_groups import build_optimizer
from knoll.registry import ConfigError, ParamGroup, ParamGroups

SGD = dict(type="SGD", lr=0.5, momentum=0.9, weight_decay=0.01)


def lenet() -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(dict(type="LeNet5"), dict(type="LinearHead", num_classes=4))


def build(settings: ParamGroups | None, config: dict = SGD, model: nn.Module | None = None, loss=None, frozen=()):
    return build_optimizer(config, model or lenet(), loss or nn.CrossEntropyLoss(), settings, set(frozen))


def told(settings: ParamGroups, config: dict = SGD) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter."""
    model = lenet()
    group_of = {each: group for group in build(settings, config, model).param_groups for each in group["params"]}
    return {name: (group_of[each]["lr"], group_of[each]["weight_decay"]) for name, each in model.named_parameters()}


def test_without_settings_there_is_the_one_group_that_torch_makes():
    model = lenet()
    theirs = torch.optim.SGD([*model.parameters()], lr=0.5, momentum=0.9, weight_decay=0.01)
    assert build(None, model=model).state_dict() == theirs.state_dict()
    assert build(ParamGroups(), model=model).state_dict() == theirs.state_dict()


def test_a_step_equals_one_with_groups_written_by_hand():
    ours, theirs = lenet(), lenet()
    patterns = {"head": ParamGroup(lr_scale=10.0), "backbone.c1": ParamGroup(lr_scale=0.1, weight_decay=0.3)}
    optimizers = [
        build(ParamGroups(patterns), model=ours),
        torch.optim.SGD(
            [
                dict(params=theirs.head.parameters(), lr=5.0),
                dict(params=theirs.backbone.c1.parameters(), lr=0.05, weight_decay=0.3),
                dict(params=[each for name, each in theirs.backbone.named_parameters() if not name.startswith("c1")]),
            ],
            lr=0.5,
            momentum=0.9,
            weight_decay=0.01,
        ),
    ]
    images = torch.randn(4, 1, 28, 28)
    for model, optimizer in zip((ours, theirs), optimizers, strict=True):
        for _ in range(3):
            optimizer.zero_grad()
            model(images).square().mean().backward()
            optimizer.step()
    for name, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[name]), name


def test_of_several_patterns_the_last_one_counts_and_it_alone():
    wide, narrow = ParamGroup(lr_scale=0.1), ParamGroup(weight_decay=0.0)
    got = told(ParamGroups({"backbone": wide, "*.bias": narrow}))
    assert got["backbone.c1.weight"] == (0.05, 0.01)
    assert got["backbone.c1.bias"] == got["head.fc.bias"] == (0.5, 0.0)
    assert told(ParamGroups({"*.bias": narrow, "backbone": wide}))["backbone.c1.bias"] == (0.05, 0.01)


def test_a_pattern_and_the_decay_by_layer_are_multiplied():
    got = told(ParamGroups({"backbone.c3": ParamGroup(lr_scale=3.0)}, layer_decay=0.5))
    rates = {name.removesuffix(".weight"): lr for name, (lr, _) in got.items() if name.endswith("weight")}
    layers = {"backbone.c1": 1 / 16, "backbone.c3": 3 / 8, "backbone.c5": 1 / 4, "backbone.f6": 1 / 2, "head.fc": 1}
    assert rates == {name: 0.5 * share for name, share in layers.items()}


def test_norms_and_biases_are_left_out_of_decay_whatever_a_pattern_says():
    patterns = {"backbone": ParamGroup(weight_decay=0.2)}
    for decayed in (True, False):
        for name, (_, decay) in told(ParamGroups(patterns, decay_norms_and_biases=decayed)).items():
            own = 0.2 if name.startswith("backbone") else 0.01
            assert decay == (0.0 if name.endswith("bias") and not decayed else own)


def test_what_a_backbone_asks_to_leave_out_of_decay_is_found_under_its_prefix():
    model = lenet()
    model.backbone.no_weight_decay = lambda: {"c1.weight", "f?.weight"}
    optimizer = build(ParamGroups(decay_norms_and_biases=False), model=model)
    without = {each for group in optimizer.param_groups if group["weight_decay"] == 0 for each in group["params"]}
    names = {name for name, each in model.named_parameters() if each in without and each.ndim > 1}
    assert names == {"backbone.c1.weight", "backbone.f6.weight"}


def test_one_group_for_each_pair_and_the_optimizers_own_comes_first():
    patterns = {
        "backbone.c1": ParamGroup(lr_scale=0.1),
        "backbone.c3": ParamGroup(lr_scale=0.1, weight_decay=0.01),  # said again
        "backbone.c5": ParamGroup(weight_decay=0.0),
    }
    groups = build(ParamGroups(patterns)).param_groups
    assert [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups] == [
        (0.5, 0.01, 4),
        (0.05, 0.01, 4),
        (0.5, 0.0, 2),
    ]
    assert all("lr_scale" not in group for group in groups)


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "RMSprop", "timm/lamb", "timm/lion", "timm/adopt", "timm/nadamw"])
def test_the_first_group_is_the_optimizers_own_even_if_it_is_empty(kind):
    model = lenet()
    optimizer = build(ParamGroups({"*": ParamGroup(lr_scale=0.1)}), dict(type=kind, lr=0.5), model)
    assert [(group["lr"], len(group["params"])) for group in optimizer.param_groups] == [(0.5, 0), (0.05, 10)]
    before = model.head.fc.weight.clone()
    model(torch.randn(2, 1, 28, 28)).sum().backward()
    for _ in range(2):  # timm/adopt moves nothing at its first
        optimizer.step()
    assert not torch.equal(model.head.fc.weight, before)
    restored = build(ParamGroups({"*": ParamGroup(lr_scale=0.1)}), dict(type=kind, lr=0.5), model)
    restored.load_state_dict(optimizer.state_dict())
    assert len(restored.state) == 10


@pytest.mark.parametrize(("kind", "lr"), [("SGD", 1e-3), ("AdamW", 1e-3), ("Adadelta", 1.0), ("timm/lars", 1.0)])
def test_a_rate_that_the_config_leaves_out_is_the_classes_own(kind, lr):
    groups = build(ParamGroups({"head": ParamGroup(lr_scale=0.5)}), dict(type=kind)).param_groups
    assert [group["lr"] for group in groups] == [lr, lr / 2]


def test_parameters_of_the_loss_are_trained_at_the_optimizers_own_rate():
    loss = nn.Linear(2, 2)
    first = build(ParamGroups({"*": ParamGroup(lr_scale=0.1)}), loss=loss).param_groups[0]
    assert first["lr"] == 0.5
    assert [id(each) for each in first["params"]] == [id(each) for each in loss.parameters()]


def test_what_is_never_trained_is_in_no_group():
    model = lenet()
    frozen = set(model.backbone.parameters())
    for settings in (None, ParamGroups(layer_decay=0.5)):
        groups = build(settings, model=model, frozen=frozen).param_groups
        assert [each for group in groups for each in group["params"]] == list(model.head.parameters())


@pytest.mark.parametrize(
    ("settings", "config", "message"),
    [
        (ParamGroups({"bakbone": ParamGroup()}), SGD, r"patterns: the pattern `bakbone` .* Did you mean `backbone`"),
        (ParamGroups({"head.dropout": ParamGroup()}), SGD, "covers nothing"),  # it has no parameter
        (ParamGroups({"head": ParamGroup(weight_decay=0.1)}), dict(type="Rprop"), "Rprop has no weight decay"),
        (ParamGroups(layer_decay=0.5), dict(type="timm/adafactor"), "finds its learning rate itself: set optimizer.lr"),
    ],
)
def test_what_an_optimizer_or_a_model_has_not_is_an_error(settings, config, message):
    with pytest.raises(ConfigError, match=message):
        build(settings, config)


@pytest.mark.parametrize("kind", ["LBFGS", "SparseAdam", "timm/adahessian"])
def test_an_optimizer_that_needs_more_than_gradients_is_refused(kind):
    with pytest.raises(ConfigError, match=f"optimizer: {kind} "):
        build(None, dict(type=kind))
