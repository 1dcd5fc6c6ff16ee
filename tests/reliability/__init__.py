"""A plugin of pytest: which case of failure a test is for, what it measured, and the table of all of them."""
