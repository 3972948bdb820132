"""Evaluate: ``python evaluate.py model=dis benchmark=middlebury benchmark.root=DIR``."""

import sys

from midframe.launch.evaluate import evaluate_main

if __name__ == "__main__":
    sys.exit(evaluate_main())
