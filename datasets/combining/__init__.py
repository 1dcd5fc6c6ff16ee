"""Data sets made of others: joined, chosen from, split into parts and folds."""
