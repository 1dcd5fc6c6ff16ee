"""A trained model put to use: measured, asked for predictions, exported."""
