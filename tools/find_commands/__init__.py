"""What `find` can do: one file per command, run as `python tools/find.py lr ...` or `knoll find lr ...`."""
