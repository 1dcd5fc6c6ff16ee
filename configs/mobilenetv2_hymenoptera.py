"""MobileNetV2, trained on ImageNet, is fine-tuned to tell ants from bees.

    python tools/train.py configs/mobilenetv2_hymenoptera.py

Source of the network: Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: inverted residuals and linear bottlenecks
(2018), table 2.
"""

_base_ = "_base_/hymenoptera.py"

config = dict(
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="torchvision/mobilenet_v2"),
        head=dict(type="LinearHead", num_classes=2, dropout=0.2),
    ),
    weights="torchvision/MobileNet_V2_Weights.IMAGENET1K_V1",
    loss=dict(type="CrossEntropyLoss"),
    optimizer=dict(type="SGD", lr=0.002, momentum=0.9, weight_decay=1e-4, nesterov=True),
    hooks=dict(
        lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup="10%"),
        checkpoint=dict(best="val/top1"),
    ),
    duration="8ep",
    channels_last=True,
)
