"""Train: ``python train.py model=ifrnet data=vimeo``; ``--help`` lists the options."""

import sys

from midframe.launch.tasks import train_main

if __name__ == "__main__":
    sys.exit(train_main())
