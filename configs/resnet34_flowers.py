"""ResNet-34 learns five kinds of flowers from scratch.

    python tools/train.py configs/resnet34_flowers.py

Two CPU cores: 4 minutes and 97.0 % top-1 on drawn flowers (seed 0; 2000 to train on, 500 to validate); 8 minutes and
76.7 % on photographs, at these 64 pixels. On a GPU, photographs deserve more of both:

    python tools/train.py configs/resnet34_flowers.py vars.resize=256 vars.crop=224 duration=90ep

Source of the network: He, Zhang, Ren, Sun: Deep residual learning for image recognition (2016), table 1.
"""

_base_ = "_base_/flowers.py"

config = dict(
    model=dict(
        type="ImageClassifier",
        backbone=dict(type="ResNet", depth=34),
        head=dict(type="LinearHead", num_classes=5),
    ),
    loss=dict(type="CrossEntropyLoss", label_smoothing=0.1),
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    hooks=dict(
        lr_schedule=dict(type="LRSchedule", scheduler=dict(type="CosineAnnealingLR", T_max="100%"), warmup="20%"),
        checkpoint=dict(best="val/top1"),
    ),
    duration="12ep",
    memory_format="channels_last",
)
