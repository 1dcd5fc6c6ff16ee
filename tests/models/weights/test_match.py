"""Which tensor goes where, and the report that says so."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from knoll.models.classifier import ImageClassifier
from knoll.models.weights import load_weights
from knoll.registry import UserError, Weights


def resnet(classes: int = 5, depth: int = 18, **options) -> ImageClassifier:
    head = dict(type="LinearHead", num_classes=classes)
    return ImageClassifier(dict(type="ResNet", depth=depth, **options), head)


@pytest.fixture(scope="module")
def resnet18() -> dict[str, Tensor]:
    """torchvision's names, random values: 122 tensors, of which `fc` has two."""
    torch.manual_seed(0)
    return torchvision.models.resnet18().state_dict()


@pytest.mark.row(37)
def test_a_head_for_another_number_of_classes_is_made_anew(resnet18, figure) -> None:
    model = resnet(5)
    before = model.head.state_dict()["fc.weight"].clone()
    assert load_weights(model, resnet18).lines == [
        "weights: the state dict",
        "  matched 120 of 122 tensors",
        "  made anew: head.fc (1000 -> 5)",
    ]
    own = model.state_dict()
    equal = sum(torch.equal(own[f"backbone.{name}"], value) for name, value in resnet18.items() if name[:3] != "fc.")
    figure(f"1000 to 5 classes: {equal} of {len(resnet18)} tensors taken from the file, the rest made anew and listed")
    assert equal == 120
    assert torch.equal(model.head.state_dict()["fc.weight"], before)
    assert torch.equal(model.state_dict()["backbone.layer4.1.conv2.weight"], resnet18["layer4.1.conv2.weight"])


def test_the_same_number_of_classes_takes_the_head_too(resnet18) -> None:
    model = resnet(1000)
    assert load_weights(model, resnet18).lines[1:] == ["  matched 122 of 122 tensors"]
    assert torch.equal(model.head.state_dict()["fc.bias"], resnet18["fc.bias"])


def test_dropping_the_keys_before_loading_comes_to_the_same(resnet18) -> None:
    report = load_weights(resnet(5), {key: value for key, value in resnet18.items() if not key.startswith("fc.")}).lines
    assert report[1:] == ["  matched 120 of 122 tensors", "  made anew, for the file has none: head.fc"]


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "model.", "_orig_mod.", "_orig_mod.module.model."])
def test_what_wrappers_put_before_a_name(resnet18, prefix: str) -> None:
    model = resnet(1000)
    report = load_weights(model, {prefix + key: value for key, value in resnet18.items()}).lines
    assert report[1:] == ["  matched 122 of 122 tensors"]
    assert torch.equal(model.state_dict()["backbone.conv1.weight"], resnet18["conv1.weight"])


def test_names_of_mmpretrain_fit_ours_and_those_of_a_whole_model(resnet18) -> None:
    theirs = {("head." if key.startswith("fc") else "backbone.") + key: value for key, value in resnet18.items()}
    assert load_weights(resnet(1000), theirs).lines[1] == "  matched 122 of 122 tensors"
    whole = timm.create_model("resnet18")
    assert load_weights(whole, theirs).lines[1] == "  matched 122 of 122 tensors"
    assert torch.equal(whole.state_dict()["fc.weight"], resnet18["fc.weight"])


@pytest.mark.parametrize("name", ["linear", "classifier", "last_linear", "head"])
@pytest.mark.parametrize(("classes", "last"), [(1000, "by its width: {0}.weight -> head.fc.weight"), (7, "made anew")])
def test_a_last_layer_of_another_name(resnet18, name: str, classes: int, last: str) -> None:
    """`fc` instead of `head.fc` is the usual case, and needs no rule of its own; these are the others."""
    model = resnet(classes)
    renamed = {key.replace("fc.", f"{name}."): value for key, value in resnet18.items()}
    report = "\n".join(load_weights(model, renamed).lines)
    assert last.format(name) in report
    assert ("matched 122 of 122" in report) == (classes == 1000)
    assert (classes == 1000) == torch.equal(model.head.state_dict()["fc.bias"][:5], resnet18["fc.bias"][:5])


def test_rename_and_drop(resnet18) -> None:
    strange = {key.replace("layer", "stage"): value for key, value in resnet18.items()}
    torch.save(strange, "x.pth")
    model = resnet(1000)
    report = load_weights(model, Weights("x.pth", rename={"stage": "layer"}, drop=["fc"])).lines
    assert report[1:] == ["  matched 120 of 122 tensors", "  made anew, for the file has none: head.fc"]
    assert torch.equal(model.state_dict()["backbone.layer1.0.conv1.weight"], resnet18["layer1.0.conv1.weight"])


def test_a_rename_or_drop_without_effect_is_refused(resnet18, refusal) -> None:
    torch.save(resnet18, "x.pth")
    told = refusal(resnet(), Weights("x.pth", rename={"stage": "layer"}))
    assert told == "weights.rename: no name in the file begins with `stage`; the first is `conv1.weight`"
    told = refusal(resnet(), Weights("x.pth", drop=["head.*"]))
    assert told == "weights.drop: `head.*` matches none of the file's 122 tensors"


def test_names_that_almost_match_are_named(resnet18, refusal) -> None:
    told = refusal(resnet(), {key.replace("layer", "stage"): value for key, value in resnet18.items()})
    assert "of the 120 tensors before the head it fills 6 (5%); weights.least asks for 90%" in told
    assert "backbone.layer1.0.conv1.weight (the file has `stage1.0.conv1.weight`)" in told


@pytest.mark.row(37)
@pytest.mark.parametrize("depth", [34, 50])
def test_another_architecture_is_refused(resnet18, refusal, depth: int) -> None:
    told = refusal(resnet(depth=depth), resnet18)
    assert "the state dict does not fit ResNet: of the " in told
    assert "It is of another architecture, of the same one with other options, or its names differ" in told
    assert "missing in the file, so left as they were made: backbone.layer1." in told


@pytest.mark.row(37)
def test_a_deeper_network_does_not_pass_for_a_shallower_one(refusal) -> None:
    deep = torchvision.models.resnet34().state_dict()  # ResNet-18's names are all there, with the same shapes
    told = refusal(resnet(depth=18), deep)
    assert "96 of its 218 tensors have no place in the model; weights.least asks for 90%" in told


def test_least_may_ask_for_less(resnet18) -> None:
    model = resnet(depth=34)
    torch.save(resnet18, "x.pth")
    report = load_weights(model, Weights("x.pth", least=0.5)).lines
    assert report[1] == "  matched 120 of 218 tensors"
    assert report[3].startswith("  missing in the file, so left as they were made: backbone.layer1.2.conv1.weight, ")


@pytest.mark.row(37)
def test_other_shapes_are_named_with_both(resnet18) -> None:
    model = resnet(stem="3x3")
    report = load_weights(model, resnet18).lines
    line = (
        "  of another shape, so left as they were made: backbone.conv1.weight (64, 3, 7, 7), in the model (64, 3, 3, 3)"
    )
    assert line in report


def test_colour_weights_for_grey_images(resnet18) -> None:
    """Summed over the colours: a grey image gives what the same image in three equal channels gave."""
    grey, colour = resnet(1000, in_channels=1), resnet(1000)
    report = load_weights(grey, resnet18).lines
    load_weights(colour, resnet18)
    assert "  of 3 input channels, made to fit: backbone.conv1.weight" in report
    images = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        logits = grey.eval()(images), colour.eval()(images.expand(-1, 3, -1, -1))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)


def test_batch_counts_may_be_missing(small, equal) -> None:
    first, second = small(), small()
    report = load_weights(second, {k: v for k, v in first.state_dict().items() if "num_batches" not in k}).lines
    assert equal(first, second)
    assert report[1:] == ["  matched 8 of 8 tensors"]


def test_two_tensors_for_one_place(small) -> None:
    model = ImageClassifier(dict(type="Tudui"), dict(type="LinearHead", num_classes=10))
    state = dict(model.state_dict())
    state["fc.bias"] = torch.ones(10)
    assert load_weights(model, state).lines[-1] == "  in the file, but not in the model: fc.bias"


@pytest.mark.row(37)
def test_a_checkpoint_that_knows_other_classes_gives_no_head(small) -> None:
    saved = dict(model=resnet(3).state_dict(), classes=["ant", "bee", "wasp"])
    torch.save(saved, "x.pt")
    same, other = resnet(3), resnet(3)
    assert load_weights(same, "x.pt", ["ant", "bee", "wasp"]).lines[1] == "  matched 122 of 122 tensors"
    report = load_weights(other, "x.pt", ["daisy", "rose", "tulip"]).lines
    assert report[1:] == [
        "  matched 120 of 122 tensors",
        "  made anew: head.fc (3 other classes)",
        "  the file's classes are others: ant, bee, wasp",
    ]


def test_a_half_precision_file_is_widened(small) -> None:
    first, second = small().half(), small()
    load_weights(second, first.state_dict())
    widened = second.state_dict()["0.weight"]
    assert widened.dtype == torch.float32
    assert torch.equal(widened, first.state_dict()["0.weight"].float())


def test_a_model_without_a_head_of_its_own(small) -> None:
    """The last layer is then the head: of a model that is not divided into two."""
    model = small(classes=3)
    assert load_weights(model, small(classes=5).state_dict()).lines[2] == "  made anew: 3 (5 -> 3)"


def test_the_source_is_not_changed(small) -> None:
    state: dict[str, Tensor] = dict(small().state_dict())
    keys = list(state)
    load_weights(small(), state)
    assert list(state) == keys


def test_a_fully_connected_layer_as_a_convolution() -> None:
    class Convolution(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 6, 1))

    linear = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(4, 6))
    model = Convolution()
    assert load_weights(model, linear.state_dict()).lines[1] == "  matched 4 of 4 tensors"
    assert torch.equal(model.state_dict()["2.weight"].flatten(), linear.state_dict()["2.weight"].flatten())


def test_positions_of_a_vision_transformer_are_brought_to_another_image_size() -> None:
    saved = timm.create_model("vit_tiny_patch16_224").state_dict()
    backbone = dict(type="timm/vit_tiny_patch16_224", img_size=96)
    model = ImageClassifier(backbone, dict(type="LinearHead", num_classes=1000))
    assert load_weights(model, saved).lines[1] == "  matched 152 of 152 tensors"
    smaller = timm.create_model("vit_tiny_patch16_224", img_size=96)
    from timm.models.vision_transformer import checkpoint_filter_fn

    expected = checkpoint_filter_fn(dict(saved), smaller)["pos_embed"]
    assert torch.equal(model.state_dict()["backbone.pos_embed"], expected)
    assert expected.shape == (1, 37, 192)


def test_the_auxiliary_heads_of_googlenet() -> None:
    theirs = torchvision.models.googlenet(init_weights=False).state_dict()
    head, auxiliary = dict(type="LinearHead", num_classes=5), dict(type="GoogLeNetAuxiliaryHead", num_classes=5)
    with_them = ImageClassifier(dict(type="GoogLeNet"), head, auxiliary_head=auxiliary)
    total = len(theirs)
    assert load_weights(with_them, theirs).lines[1:] == [
        f"  matched {total - 6} of {total} tensors",
        "  made anew: auxiliary.aux1.fc2 (1000 -> 5)",
        "  made anew: auxiliary.aux2.fc2 (1000 -> 5)",
        "  made anew: head.fc (1000 -> 5)",
    ]
    without = ImageClassifier(dict(type="GoogLeNet"), head)
    report = load_weights(without, theirs).lines
    assert report[3].startswith("  in the file, but not in the model: aux1.conv.conv.weight, ")


def test_what_the_file_does_not_fill_may_not_be_frozen_for_good(tiny) -> None:
    """Random numbers that are never trained: the 3x3 stem is not the file's 7x7."""
    from knoll.runner import Runner

    torch.save(resnet(4, in_channels=1).state_dict(), "x.pth")
    tiny["model"]["backbone"] = dict(type="ResNet", depth=18, stem="3x3", in_channels=1)
    with pytest.raises(UserError, match=r"freeze: `backbone` freezes backbone.conv1.weight, which the weights do not"):
        Runner(tiny | dict(weights="x.pth", freeze=["backbone"]), "run")
    Runner(tiny | dict(weights="x.pth", freeze=["backbone.layer*"]), "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor.char(), "`conv1.weight` is int8: quantised weights cannot be trained on"),
        (lambda tensor: tensor * float("nan"), "`conv1.weight` holds values that are not finite"),
    ],
)
def test_what_would_become_weights_by_a_cast_alone_is_refused(resnet18, refusal, change, message: str) -> None:
    assert message in refusal(resnet(), resnet18 | {"conv1.weight": change(resnet18["conv1.weight"])})


def test_names_that_a_rename_makes_equal_are_refused(resnet18, refusal) -> None:
    torch.save({**resnet18, "ema.conv1.weight": resnet18["conv1.weight"]}, "x.pth")
    told = refusal(resnet(), Weights("x.pth", rename={"ema.": ""}))
    assert told.startswith("weights.rename: two tensors of the file would be called `conv1.weight`")


def test_a_backbone_may_come_from_a_file_with_a_larger_head() -> None:
    """torchvision's VGG ends in three layers of its own, which LinearHead has not."""
    with torch.device("meta"):
        theirs = torchvision.models.vgg11().state_dict()
    tensors = {key: torch.zeros(value.shape) for key, value in theirs.items() if not key.startswith("classifier.0")}
    model = ImageClassifier(dict(type="VGG", column="A"), dict(type="LinearHead", num_classes=5))
    assert load_weights(model, tensors).lines[1] == "  matched 16 of 18 tensors"


def test_every_last_layer_of_a_model_of_timm_is_made_anew() -> None:
    """The distilled DeiT has two."""
    saved = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=7).state_dict()
    model = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=5)
    report = load_weights(model, saved).lines
    assert report[2:] == ["  made anew: head (7 -> 5)", "  made anew: head_dist (7 -> 5)"]


def test_our_own_checkpoint_goes_on_at_another_image_size() -> None:
    def vit(size: int) -> ImageClassifier:
        backbone = dict(type="timm/vit_tiny_patch16_224", img_size=size)
        return ImageClassifier(backbone, dict(type="LinearHead", num_classes=3))

    small, large = vit(96), vit(128)
    report = load_weights(large, small.state_dict()).lines
    assert report[1:] == ["  matched 152 of 152 tensors", "  resized by timm: pos_embed (1, 37, 192) -> (1, 65, 192)"]


def test_what_to_leave_out_is_named_as_the_file_names_it(refusal) -> None:
    deep = {f"module.{key}": value for key, value in torchvision.models.resnet34().state_dict().items()}
    assert "weights.drop=['module.layer1', 'module.layer2', " in refusal(resnet(depth=18), deep)
