"""The gradients of an update: over all its images, and of auxiliary heads at their weight."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from knoll.datasets.loading.loader import Batch
from knoll.models.classifier import ImageClassifier
from knoll.models.outputs import Outputs
from knoll.models.weights import load_weights
from knoll.runner.step.forward import Forward
from knoll.runner.step.update import Update


class WithAuxiliary(nn.Module):
    """Three linear layers on the same inputs, two of them auxiliary."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 4) for _ in range(3))

    def forward(self, images: Tensor) -> Tensor | Outputs:
        logits, *auxiliary = (layer(images.flatten(1)) for layer in self.layers)
        return Outputs(logits, tuple(auxiliary), 0.3) if self.training else logits


def batches(*sizes: int) -> list[Batch]:
    return [Batch(torch.randn(n, 1, 2, 3), torch.randint(4, (n,)), torch.arange(n)) for n in sizes]


def update_of(model: nn.Module, precision: str = "fp32") -> Update:
    return Update(Forward(model, precision), nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1))


def test_auxiliary_losses_count_at_their_weight() -> None:
    torch.manual_seed(0)
    model, parts = WithAuxiliary(), batches(5, 3)
    loss, logits = update_of(model).backward(parts)
    found = [parameter.grad for parameter in model.parameters()]

    images = torch.cat([part.images for part in parts]).flatten(1)
    labels = torch.cat([part.labels for part in parts])
    main, first, second = (cross_entropy(layer(images), labels) for layer in model.layers)
    expected = main + 0.3 * first + 0.3 * second
    torch.testing.assert_close(loss, expected.detach())
    for grad, each in zip(found, torch.autograd.grad(expected, list(model.parameters())), strict=True):
        torch.testing.assert_close(grad, each)
    torch.testing.assert_close(torch.cat(logits), model.layers[0](images).detach())


def test_losses_are_computed_in_single_precision() -> None:
    """In bf16, 0.3 of a loss would be off in the third digit."""
    torch.manual_seed(0)
    model, [batch] = WithAuxiliary(), batches(8)
    outputs = Forward(model, "bf16").outputs(batch.images)
    assert [each.dtype for each in (outputs.logits, *outputs.auxiliary)] == [torch.float32] * 3
    assert not torch.equal(outputs.logits, Forward(model).outputs(batch.images).logits)  # rounded on the way

    loss, _ = update_of(model, "bf16").backward([batch])
    expected = sum(
        weight * cross_entropy(logits, batch.labels)
        for weight, logits in zip((1, 0.3, 0.3), (outputs.logits, *outputs.auxiliary), strict=True)
    )
    assert isinstance(expected, Tensor)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_forward_gives_logits_whatever_the_model_returns() -> None:
    model, [batch] = WithAuxiliary(), batches(8)
    forward = Forward(model)
    training = forward(batch.images)
    model.eval()
    assert torch.equal(forward(batch.images), training)
    assert forward.outputs(batch.images).auxiliary == ()


def test_googlenet_as_in_torchvision() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.GoogLeNet(num_classes=10, aux_logits=True, init_weights=False)
    auxiliary = dict(type="GoogLeNetAuxiliaryHead", num_classes=10)
    ours = ImageClassifier(
        dict(type="GoogLeNet"), dict(type="LinearHead", num_classes=10, dropout=0.2), auxiliary_head=auxiliary
    )
    load_weights(ours, theirs.state_dict())
    images, labels = torch.randn(4, 3, 64, 64), torch.arange(4)

    torch.manual_seed(1)  # for dropout
    loss, [logits] = update_of(ours).backward([Batch(images, labels, labels)])
    torch.manual_seed(1)
    outputs = theirs(images)
    main, first, second = (
        cross_entropy(each, labels) for each in (outputs.logits, outputs.aux_logits1, outputs.aux_logits2)
    )
    expected = main + 0.3 * (first + second)
    expected.backward()

    torch.testing.assert_close(logits, outputs.logits.detach(), atol=1e-5, rtol=0)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    grads = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    whole = torch.cat([grad.flatten() for grad in grads.values() if grad is not None]).norm()
    for key, parameter in ours.named_parameters():
        grad = grads[key.removeprefix("backbone.").removeprefix("head.").removeprefix("auxiliary.")]
        assert parameter.grad is not None
        assert grad is not None
        assert (parameter.grad - grad).norm() < 1e-5 * whole, key
