"""What is in the data of an experiment: counted, measured, compared and shown, before anything is trained on it."""
