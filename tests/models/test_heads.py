from __future__ import annotations

import pytest
import torch
from torch import nn

from knoll.models.classifier import ImageClassifier
from knoll.models.heads.binary import BinaryHead
from knoll.models.heads.cosine import CosineHead
from knoll.models.heads.linear import LinearHead
from knoll.models.heads.mlp import MLPHead
from knoll.models.heads.multi_label import MultiLabelHead
from knoll.models.heads.stack import StackHead
from knoll.models.weights import load_weights
from knoll.registry import HEADS, LOSSES, ConfigError, config_from_dict
from knoll.registry.check import check


def test_linear_head_averages_a_feature_map() -> None:
    head = LinearHead(8, 3)
    features = torch.randn(2, 8, 5, 4)
    average = features.sum(dim=(2, 3)) / 20
    torch.testing.assert_close(head(features), average @ head.fc.weight.T + head.fc.bias)
    torch.testing.assert_close(head(features), head(average))


def test_linear_head_dropout_is_for_training_only() -> None:
    head = LinearHead(1000, 1, dropout=0.25)
    torch.manual_seed(0)
    for training, low, high in ((True, 200, 300), (False, 0, 0)):
        features = torch.ones(1, 1000, requires_grad=True)
        head.train(training)(features).sum().backward()
        assert features.grad is not None
        assert low <= int((features.grad == 0).sum()) <= high


def test_mlp_head_layers() -> None:
    head = MLPHead(in_features=6, num_classes=5, hidden=[11, 13], pool=2)
    shapes = [tuple(layer.weight.shape) for layer in head.classifier if isinstance(layer, nn.Linear)]
    assert shapes == [(11, 6 * 2 * 2), (13, 11), (5, 13)]
    assert head(torch.randn(3, 6, 7, 9)).shape == (3, 5)


def test_mlp_head_initialisation() -> None:
    torch.manual_seed(0)
    for layer in MLPHead(64, 500, hidden=[500]).classifier:
        if isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.01)
            assert not layer.bias.any()


def test_mlp_head_without_hidden_layers() -> None:
    assert MLPHead(6, 5, hidden=[], pool=1)(torch.randn(3, 6, 4, 4)).shape == (3, 5)


def test_mlp_head_takes_vectors_with_pool_1() -> None:
    assert MLPHead(6, 5, hidden=[4], pool=1)(torch.randn(3, 6)).shape == (3, 5)
    with pytest.raises(ConfigError, match=r"shape \(3, 6\), without a height and width to pool to 7 x 7: set pool=1"):
        MLPHead(6, 5, hidden=[4])(torch.randn(3, 6))


def test_missing_number_of_classes() -> None:
    with pytest.raises(ConfigError, match="num_classes: is missing"):
        HEADS.build(dict(type="LinearHead", in_features=3))


@pytest.mark.parametrize("head", [LinearHead(4, 3), MLPHead(4, 3, hidden=[2])])
def test_num_classes(head: LinearHead | MLPHead) -> None:
    assert head.num_classes == 3


# --- binary -----------------------------------------------------------------------------------------------------------


def test_cross_entropy_of_a_binary_head_is_binary_cross_entropy() -> None:
    torch.manual_seed(0)
    head, features, labels = BinaryHead(4), torch.randn(6, 4), torch.tensor([0, 1, 1, 0, 1, 0])
    z = features @ head.fc.weight.T + head.fc.bias

    logits = head(features)
    torch.testing.assert_close(logits.softmax(1)[:, 1], torch.sigmoid(z)[:, 0])
    ours = nn.functional.cross_entropy(logits, labels)
    theirs = nn.functional.binary_cross_entropy_with_logits(z[:, 0], labels.float())
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, head.parameters(), retain_graph=True) for loss in (ours, theirs)]
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)
    # Without a decision of its own: the probability above one half is the class.
    assert torch.equal(logits.argmax(1), (z[:, 0] > 0).long())


def test_binary_head_is_the_end_of_the_8_6_4_1_network() -> None:
    body = nn.Sequential(nn.Linear(8, 6), nn.Sigmoid(), nn.Linear(6, 4), nn.Sigmoid())
    net = nn.Sequential(body, BinaryHead(4))
    assert sum(each.numel() for each in net.parameters()) == (8 + 1) * 6 + (6 + 1) * 4 + (4 + 1) * 1 == 87
    assert net(torch.randn(3, 8)).shape == (3, 2)


# --- multi-label ------------------------------------------------------------------------------------------------------


def test_the_prior_of_a_multi_label_head() -> None:
    head = MultiLabelHead(16, 5, prior=0.01)
    assert torch.sigmoid(head.fc.bias).tolist() == pytest.approx([0.01] * 5, rel=1e-4)
    assert head(torch.randn(2, 16, 3, 3)).shape == (2, 5)
    for prior in (0.0, 1.0, 3.0):
        with pytest.raises(ConfigError, match="prior is a probability between 0 and 1"):
            MultiLabelHead(16, 5, prior=prior)


@pytest.mark.parametrize("loss", ["BCEWithLogitsLoss", "MultiLabelSoftMarginLoss", "timm/AsymmetricLossMultiLabel"])
def test_losses_for_several_labels_learn_them(loss: str) -> None:
    torch.manual_seed(0)
    head, features = MultiLabelHead(8, 3), torch.randn(64, 8)
    labels = (features[:, :3] > 0).float()
    function = LOSSES.build(dict(type=loss))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        function(head(features), labels).backward()
        optimizer.step()
    assert ((head(features) > 0) == labels.bool()).float().mean() > 0.85


# --- cosine -----------------------------------------------------------------------------------------------------------


def test_cosine_head() -> None:
    torch.manual_seed(0)
    head, features = CosineHead(8, 3, scale=16.0), torch.randn(5, 8)
    expected = torch.stack([nn.functional.cosine_similarity(features, row[None]) for row in head.weight], dim=1)
    torch.testing.assert_close(head(features), 16 * expected)
    torch.testing.assert_close(head(3 * features), head(features))
    maps = torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(head(maps), head(maps.mean(dim=(2, 3))))
    assert head(features).abs().max() <= 16


@pytest.mark.parametrize("learned", [True, False])
def test_the_scale_of_a_cosine_head(learned: bool) -> None:
    head = CosineHead(8, 3, learn_scale=learned)
    trained = {name for name, each in head.named_parameters() if each.requires_grad}
    assert trained == ({"weight", "scale"} if learned else {"weight"})
    assert "scale" in head.state_dict()


# --- stack ------------------------------------------------------------------------------------------------------------


def test_a_stack_learns_every_width_from_what_stands_before() -> None:
    heads = [dict(type="MLPHead", num_classes=11, hidden=[7], pool=1), dict(type="LinearHead", num_classes=3)]
    stack = StackHead(5, heads)
    shapes = [tuple(each.weight.shape) for each in stack.modules() if isinstance(each, nn.Linear)]
    assert shapes == [(7, 5), (11, 7), (3, 11)]
    assert stack.num_classes == 3
    features = torch.randn(2, 5, 4, 4)
    torch.testing.assert_close(stack.eval()(features), stack.heads[1](stack.heads[0](features)))


def test_the_1000_classes_of_vgg_keep_their_weights_below_ten_new_ones() -> None:
    def vgg(head: dict) -> ImageClassifier:
        return ImageClassifier(dict(type="VGG", column="A"), head)

    thousand = dict(type="MLPHead", num_classes=1000, hidden=[16, 16])
    trained = vgg(thousand)
    names = {key.removeprefix("backbone.").removeprefix("head."): v for key, v in trained.state_dict().items()}
    stacked = vgg(dict(type="StackHead", heads=[thousand, dict(type="LinearHead", num_classes=10)]))
    report = load_weights(stacked, names)  # torchvision's names: `features.0.weight`, `classifier.6.weight`
    assert report[1:] == ["  matched 22 of 24 tensors", "  made anew, for the file has none: head.heads.1.fc"]
    assert torch.equal(stacked.state_dict()["head.heads.0.classifier.6.weight"], names["classifier.6.weight"])


def test_mistakes_in_a_stack(tiny) -> None:
    with pytest.raises(ConfigError, match="`heads` is empty"):
        StackHead(5, [])
    tiny["model"]["head"] = dict(
        type="StackHead",
        heads=[dict(type="LinearHead", num_clases=7), dict(type="LinearHead", num_classes=4, in_features=3)],
    )
    told = "\n".join(str(problem) for problem in check(config_from_dict(tiny)))
    assert "model.head.heads.0.num_clases (experiment:1): unknown key. Did you mean `num_classes`?" in told
    assert "model.head.heads.1.in_features (experiment:1): this is filled in by Knoll: leave it out." in told


@HEADS.register_module()
class SaysNothing(nn.Linear):
    def __init__(self, in_features: int) -> None:
        super().__init__(in_features, 3)


def test_a_head_in_a_stack_must_say_its_number_of_classes() -> None:
    with pytest.raises(ConfigError, match="SaysNothing has no num_classes: give your head an attribute `num_classes`"):
        StackHead(5, [dict(type="SaysNothing"), dict(type="LinearHead", num_classes=2)])
