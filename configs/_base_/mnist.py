"""MNIST as LeNet takes it: 28x28, one channel, scaled to mean 0 and deviation 1 over the training images."""

_base_ = "runtime.py"

transforms = [
    dict(type="ToImage"),
    dict(type="ToDtype", dtype="float32", scale=True),
    dict(type="Normalize", mean=["$mean"], std=["$std"]),
]

config = dict(
    vars=dict(dataset="MNIST", root="data", mean=0.1307, std=0.3081),
    train=dict(
        dataset=dict(type="$dataset", root="$root", split="train"),
        transforms=transforms,
        batch_size=64,
    ),
    evaluation=dict(
        test=dict(
            dataset=dict(type="$dataset", root="$root", split="test"),
            transforms=transforms,
            batch_size=500,
        ),
    ),
)
