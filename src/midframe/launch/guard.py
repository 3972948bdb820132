"""Errors to exit codes for commands that run without Hydra; `entry.guarded` adds Hydra's errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from midframe.errors import UserError

USER_ERROR = 2
INTERRUPTED = 130


def guarded(command: Callable[[], object]) -> int:
    """Run a command; its integer is the exit code, what the user can mend is one line and 2."""
    try:
        code = command()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return USER_ERROR
    except BrokenPipeError:  # whoever read the output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as error:
        print(f"\ninterrupted; {error}".rstrip("; "), file=sys.stderr)
        return INTERRUPTED
    return code if isinstance(code, int) else 0
