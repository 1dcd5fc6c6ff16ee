"""Optimizers and learning-rate schedules. Every file in this folder is found by itself."""
