"""Networks from images (N, C, H, W) to features: a file dropped in here is found without any other being edited.

A backbone has an attribute `num_features`, the channels of what its forward returns: (N, num_features) or
(N, num_features, H', W'). It may have `example_shape`, the (C, H, W) of an image it takes, which the smoke test and
summaries use; without it they use (3, 224, 224).

It may have `group_matcher`, which tells timm's layer-wise learning rates what a layer is. And it may have
`auxiliary_features`, channels of maps in its middle, with `forward_auxiliary`, which returns the features and a tuple
of those maps: auxiliary heads are trained from them.
"""
