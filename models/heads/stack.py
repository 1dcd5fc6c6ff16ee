"""StackHead: heads one after another."""

from __future__ import annotations

from torch import Tensor, nn

from ...registry import HEADS, ConfigError


@HEADS.register_module()
class StackHead(nn.Module):
    """Features -> logits (N, num_classes of the last head); each head takes what the one before returns.

    A new layer behind a trained head of 1000 classes, for example, which keeps what that head knows:

        head=dict(
            type="StackHead",
            heads=[dict(type="MLPHead", num_classes=1000), dict(type="LinearHead", num_classes=10)],
        )

    Args:
        in_features: filled in by ImageClassifier. The other heads' is the `num_classes` of the head before.
        heads: their configs, in order.

    Raises:
        ConfigError: no heads, or one in between that does not say its `num_classes`.
    """

    def __init__(self, in_features: int, heads: list[dict]) -> None:
        super().__init__()
        if not heads:
            raise ConfigError("StackHead: `heads` is empty; it takes at least one dict(type=...)")
        self.heads = nn.ModuleList()
        for config in heads:
            head = HEADS.build(config, default_args=dict(in_features=in_features))
            outputs = getattr(head, "num_classes", None)
            if not isinstance(outputs, int):
                raise ConfigError(
                    f"StackHead: {config['type']} has no num_classes: give your head an attribute `num_classes`, the "
                    "number of its outputs"
                )
            self.heads.append(head)
            in_features = outputs
        self.num_classes = in_features
        self.multi_label = getattr(self.heads[-1], "multi_label", False)

    def forward(self, features: Tensor) -> Tensor:
        for head in self.heads:
            features = head(features)
        return features
