"""LeNet-5 learns handwritten digits.

    python tools/train.py configs/lenet_mnist.py

Two CPU cores: 98.8 % top-1 on the 10,000 test images (seed 0), in a minute or two if nothing else runs.

Source: LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition (1998), section II.B.
"""

_base_ = "_base_/mnist.py"

config = dict(
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="LeNet5"),
        head=dict(type="LinearHead", num_classes=10),
    ),
    loss=dict(type="CrossEntropyLoss"),
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=1e-4),
    hooks=dict(
        lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup="5%"),
    ),
    duration="3ep",
)
