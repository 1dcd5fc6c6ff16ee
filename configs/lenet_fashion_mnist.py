"""LeNet-5 learns kinds of clothing: the experiment on digits, with other images.

    python tools/train.py configs/lenet_fashion_mnist.py

Not measured yet.

Source: Xiao, Rasul, Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms (2017).
"""

_base_ = "lenet_mnist.py"

config = dict(
    vars=dict(dataset="FashionMNIST", mean=0.2860, std=0.3530),
    duration="10ep",
)
