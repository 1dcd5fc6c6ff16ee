"""VGG-16 with batch norm learns CIFAR-10.

    python tools/train.py configs/vgg16_cifar10.py

Made for a GPU; not measured yet.

Source: Simonyan and Zisserman: Very deep convolutional networks for large-scale image recognition (2015), table 1,
column D. On 32x32 images its five poolings leave 1x1, so one linear layer takes the place of the paper's three.
"""

_base_ = "_base_/cifar10.py"

config = dict(
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="VGG", column="D", batch_norm=True),
        head=dict(type="LinearHead", num_classes=10),
    ),
    loss=dict(type="CrossEntropyLoss"),
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True),
    hooks=dict(
        lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup="5ep"),
    ),
    duration="150ep",
    memory_format="channels_last",
)
