"""The checkpoints of a run directory: which one a run goes on from, and which it leaves aside."""

from __future__ import annotations

from pathlib import Path

from midframe.engine.checkpoint_files import PREVIOUS, is_whole, step_of
from midframe.models.weights import BEST, LAST


def newest_checkpoint(directory: Path) -> tuple[Path | None, int]:
    """Return the newest whole checkpoint and its step; a damaged one is set aside, loudly."""
    found: list[tuple[int, Path]] = []
    for name in (LAST, PREVIOUS, BEST):
        path = directory / name
        if path.is_file():
            step = step_of(path)
            if step is None:
                _set_damaged_aside(path)
            else:
                found.append((step, path))
    for step, path in sorted(found, key=lambda pair: pair[0], reverse=True):
        if is_whole(path):
            return path, step
        _set_damaged_aside(path)
    return None, 0


def _set_damaged_aside(path: Path) -> None:
    path.replace(path.with_suffix(".damaged"))
    print(
        f"warning: {path} is damaged and was set aside as {path.stem}.damaged; the newest whole "
        "checkpoint before it is used, if there is one",
        flush=True,
    )


def set_later_aside(folder: Path, chosen: Path, step: int) -> None:
    """Keep checkpoints behind the chosen one under other names: this run now goes another way.

    Else whoever goes on with it takes the newest of the way that was left.

    Args:
        folder: of the run.
        chosen: where it goes on from.
        step: of that.
    """
    names = [folder / name for name in (LAST, PREVIOUS, BEST)]
    for path in [x for x in names if x.is_file() and x != chosen]:
        if (later := step_of(path)) is not None and later > step:
            path.replace(path.with_suffix(".earlier"))
            print(f"note: {path.name} of step {later} is kept as {path.stem}.earlier")


def set_all_aside(folder: Path) -> None:
    """Keep the checkpoints of an earlier run in the same directory under other names."""
    for path in folder.glob("*.ckpt"):
        path.replace(path.with_suffix(".earlier"))
