"""Evaluate: ``python evaluate.py model=dis benchmark=middlebury benchmark.root=DIR``."""

import sys

from midframe.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
