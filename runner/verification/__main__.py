"""The process that `run_killed` starts."""

import sys

from .part import answer

if __name__ == "__main__":
    sys.exit(answer(*sys.argv[1:]))
