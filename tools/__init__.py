"""The command line: one file per command, run as `python tools/train.py ...` or `knoll train ...`."""
