"""What `data` can do: one file per command, run as `python tools/data.py stats ...` or `knoll data stats ...`."""
