"""Networks from features to logits (N, num_classes).

ImageClassifier passes each head `in_features`, which is the backbone's `num_features`. A head has `num_classes`, the
width of its logits, and `multi_label = True` if each of them is a yes or no of its own, a sigmoid instead of a softmax.
"""
