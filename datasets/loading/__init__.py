"""From samples to batches: decoding, transforms on whole batches, workers, and the randomness of all of it."""
