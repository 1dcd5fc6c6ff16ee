"""CIFAR-10: 32x32 colour images, cropped from a border of 4 and mirrored (He et al. 2016, section 4.2).

Read from `data/cifar10.npz` (arrays train_images, train_labels, test_images, test_labels) if that is there, else from
torchvision's folder in `data`, downloaded into it where it is missing.
"""

_base_ = "runtime.py"

classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
available = [
    dict(type="ArrayFile", path="data/cifar10.npz", classes=classes, source="CIFAR-10"),
    dict(type="CIFAR10", root="data"),
]
as_tensor = [
    dict(type="ToImage"),
    dict(type="ToDtype", dtype="float32", scale=True),
    dict(type="Normalize", mean="$mean", std="$std"),
]

config = dict(
    vars=dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2470, 0.2435, 0.2616]),  # of the training images
    train=dict(
        dataset=dict(type="FirstAvailable", datasets=available, split="train"),
        transforms=[
            dict(type="RandomCrop", size=32, padding=4),
            dict(type="RandomHorizontalFlip"),
            *as_tensor,
        ],
        batch_size=128,
    ),
    evaluation=dict(
        test=dict(
            dataset=dict(type="FirstAvailable", datasets=available, split="test"),
            transforms=as_tensor,
            batch_size=500,
        ),
    ),
)
