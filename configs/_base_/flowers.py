"""Five kinds of flowers: photographs if they can be had, else drawn ones.

Which of them a run uses is said when it starts, and recorded with every figure; its validation set is always from the
same source. To train on photographs without a connection, put the five class folders into `data/flower_photos`.
"""

_base_ = "runtime.py"

available = [
    dict(type="FlowerPhotos", root="data/flower_photos"),
    dict(type="FlowerPhotos", root="data/flower_photos", download=True),
    dict(type="DrawnFlowers", size=72),
]
as_tensor = [
    dict(type="ToImage"),
    dict(type="ToDtype", dtype="float32", scale=True),
    dict(type="Normalize", mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
]

config = dict(
    vars=dict(resize=72, crop=64),
    train=dict(
        dataset=dict(type="FirstAvailable", datasets=available, split="train"),
        transforms=[
            dict(type="RandomResizedCrop", size="$crop", scale=[0.6, 1.0]),
            dict(type="RandomHorizontalFlip"),
            *as_tensor,
        ],
        batch_size=32,
        num_workers=2,
    ),
    evaluation=dict(
        val=dict(
            dataset=dict(type="FirstAvailable", datasets=available, split="val"),
            transforms=[
                dict(type="Resize", size="$resize"),
                dict(type="CenterCrop", size="$crop"),
                *as_tensor,
            ],
            batch_size=50,
            num_workers=1,
        ),
    ),
)
