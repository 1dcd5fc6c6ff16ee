"""StackHead: heads one after another."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...registry import HEADS, ConfigError


@HEADS.register_module()
class StackHead(nn.Module):
    """Features -> the first head -> its logits -> the second head -> ... -> logits (N, num_classes) of the last.

        StackHead(in_features=512, heads=[
            dict(type="MLPHead", num_classes=1000),     # VGG's own, with its weights
            dict(type="LinearHead", num_classes=10),    # a new one behind it
        ])

    Each head's input width is the `num_classes` of the one before. Nothing stands between them; the state dict calls
    them `heads.0`, `heads.1`, and so on.

    Args:
        in_features: of the first head; filled in by ImageClassifier.
        heads: configs, without `in_features`.

    Raises:
        ConfigError: no heads, one that is given `in_features`, or one that does not say its `num_classes`.
    """

    def __init__(self, in_features: int, heads: Sequence[dict]) -> None:
        super().__init__()
        if not heads:
            raise ConfigError("StackHead: `heads` is empty: name at least one head")
        self.heads = nn.ModuleList()
        width = in_features
        for number, config in enumerate(heads):
            if "in_features" in config:
                raise ConfigError(f"StackHead: heads.{number}.in_features is filled in by Knoll: leave it out")
            head = HEADS.build(config, default_args=dict(in_features=width))
            width = getattr(head, "num_classes", None)
            if not isinstance(width, int):
                raise ConfigError(
                    f"StackHead: heads.{number} ({type(head).__name__}) has no num_classes: give your head an "
                    "attribute `num_classes`: the width of what its forward returns"
                )
            self.heads.append(head)
        self.num_classes = width
        self.multi_label = bool(getattr(self.heads[-1], "multi_label", False))

    def forward(self, features: Tensor) -> Tensor:
        for head in self.heads:
            features = head(features)
        return features
