"""What programs that tests start are given."""

from __future__ import annotations

import os
from pathlib import Path


def python_path(*folders: Path) -> str:
    """Return a PYTHONPATH with these folders before those of the tests."""
    return os.pathsep.join([*map(str, folders), os.environ["PYTHONPATH"]])
