"""Settings that are found by trying: a learning rate, a batch size."""
