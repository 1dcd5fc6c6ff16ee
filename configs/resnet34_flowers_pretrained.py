"""ResNet-34, trained on ImageNet, is fine-tuned to five kinds of flowers.

    python tools/train.py configs/resnet34_flowers_pretrained.py

The weights are fetched once (87 MB) and checked by their SHA-256. Without a connection, get resnet34-333f7ec4.pth by
other means and put it where the error message says, or name it: `weights=resnet34-333f7ec4.pth`. It has 1000 classes:
the head is made anew for the five, and the log says so.

Not measured yet. On two CPU cores an epoch of the photographs takes several minutes at 224 pixels.

Source of the network: He, Zhang, Ren, Sun: Deep residual learning for image recognition (2016), table 1.
"""

_base_ = "_base_/flowers.py"

config = dict(
    vars=dict(resize=256, crop=224),
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="ResNet", depth=34),
        head=dict(type="LinearHead", num_classes=5),
    ),
    weights="https://download.pytorch.org/models/resnet34-333f7ec4.pth",
    loss=dict(type="CrossEntropyLoss"),
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.05),
    hooks=dict(
        lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup="5%"),
        checkpoint=dict(best="val/top1"),
    ),
    duration="3ep",
    memory_format="channels_last",
)
