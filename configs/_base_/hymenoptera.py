"""Ants and bees: 244 photographs to train on, 153 to validate (the PyTorch tutorial on transfer learning has them too).

They are read from `data/hymenoptera_data/train` and `.../val`, each with a folder `ants` and a folder `bees`:
unzip https://download.pytorch.org/tutorial/hymenoptera_data.zip into `data`.
"""

_base_ = "runtime.py"

as_tensor = [
    dict(type="ToImage"),
    dict(type="ToDtype", dtype="float32", scale=True),
    dict(type="Normalize", mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
]

config = dict(
    vars=dict(root="data/hymenoptera_data", resize=256, crop=224),
    train=dict(
        dataset=dict(type="ImageFolder", root="$root", split="train", source="ants and bees"),
        transforms=[
            dict(type="RandomResizedCrop", size="$crop", scale=[0.4, 1.0]),
            dict(type="RandomHorizontalFlip"),
            *as_tensor,
        ],
        batch_size=32,
        num_workers=1,
    ),
    evaluation=dict(
        val=dict(
            dataset=dict(type="ImageFolder", root="$root", split="val", source="ants and bees"),
            transforms=[
                dict(type="Resize", size="$resize"),
                dict(type="CenterCrop", size="$crop"),
                *as_tensor,
            ],
            batch_size=32,
            num_workers=1,
        ),
    ),
)
