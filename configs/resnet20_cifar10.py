"""ResNet-20 learns CIFAR-10, as the paper on residual networks trains it.

    python tools/train.py configs/resnet20_cifar10.py
    python tools/test.py configs/resnet20_cifar10.py weights=resnet20-12fca82f.th    # a file that others trained

64,000 steps of 128 images; the learning rate of 0.1 falls to a tenth after 32,000 and after 48,000 (section 4.2). The
paper reports 91.25 % top-1 (table 6). Made for a GPU; not measured yet. Other depths: `model.backbone.depth=56`.

The file named above is of github.com/akamaster/pytorch_resnet_cifar10 (BSD-2); its images were normalised with
ImageNet's figures, as `vars` say here. It reaches 91.73 % on the 10,000 test images (its author says 91.7 %), and
resnet56-4bfd9763.th, with `model.backbone.depth=56`, 93.39 % (93.4 %).

Source: He, Zhang, Ren, Sun: Deep residual learning for image recognition (2016), section 4.2.
"""

_base_ = "_base_/cifar10.py"

config = dict(
    vars=dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="CIFARResNet", depth=20),
        head=dict(type="LinearHead", num_classes=10),
    ),
    loss=dict(type="CrossEntropyLoss"),
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4),
    base_batch=128,
    lr_scaling="linear",
    hooks=dict(
        lr_schedule=dict(type="LRSchedule", scheduler=dict(type="MultiStepLR", milestones=["50%", "75%"], gamma=0.1)),
    ),
    duration=64000,
)
