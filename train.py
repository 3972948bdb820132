"""Train: ``python train.py model=ifrnet data=vimeo``; ``--help`` lists the options."""

import sys

from midframe.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
