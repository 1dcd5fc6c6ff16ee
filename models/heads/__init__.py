"""Networks from features to logits (N, num_classes).

ImageClassifier passes each head `in_features`, which is the backbone's `num_features`.
"""

from ...registry import import_siblings

import_siblings(__name__, __path__)
