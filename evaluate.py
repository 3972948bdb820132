"""Evaluate: ``python evaluate.py model=dis benchmark=middlebury benchmark.root=DIR``."""

import sys

from midframe.launch.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
