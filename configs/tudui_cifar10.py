"""The course's network learns CIFAR-10.

    python tools/train.py configs/tudui_cifar10.py

Two CPU cores: 7 minutes and 73.4 % top-1 on the 10,000 test images (seed 0).

The network is the course's own, without an activation function: its max poolings are all that is not linear.
"""

_base_ = "_base_/cifar10.py"

config = dict(
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="Tudui"),
        head=dict(type="LinearHead", num_classes=10),
    ),
    loss=dict(type="CrossEntropyLoss"),
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=5e-4),
    train=dict(batch_size=64),
    hooks=dict(
        lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup="5%"),
    ),
    duration="10ep",
)
