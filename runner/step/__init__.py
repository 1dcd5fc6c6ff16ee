"""One step: forward, backward, the update of the weights; and what is asked of the numbers in it."""
