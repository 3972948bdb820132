"""A job of `midframe serve`: `midframe interpolate`, ended with the server, however that ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from midframe.launch import tied


def main(argv: Sequence[str]) -> int:
    """Interpolate with these words; standard input stays open as long as the server lives."""
    tied.end_with_pipe()
    from midframe import cli

    return cli.main(["interpolate", *argv])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
