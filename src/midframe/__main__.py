"""``python -m midframe``: the command where no script of it is on the path."""

import sys

from midframe.cli import main

if __name__ == "__main__":
    sys.exit(main())
