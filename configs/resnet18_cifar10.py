"""ResNet-18 with a stem for small images learns CIFAR-10.

    python tools/train.py configs/resnet18_cifar10.py

Made for a GPU; not measured yet.

Source: He, Zhang, Ren, Sun: Deep residual learning for image recognition (2016); the 3x3 stem in place of the 7x7 one
and its pooling is the usual change for images of 32x32.
"""

_base_ = "_base_/cifar10.py"

config = dict(
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="ResNet", depth=18, stem="3x3"),
        head=dict(type="LinearHead", num_classes=10),
    ),
    loss=dict(type="CrossEntropyLoss"),
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
    hooks=dict(
        lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup="5ep"),
    ),
    duration="200ep",
    memory_format="channels_last",
)
