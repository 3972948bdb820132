"""ffmpeg's minterpolate filter, where the program is there: to be compared with."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from midframe.errors import UserError
from midframe.launch.convert_compare import Comparison, Judge, Row
from midframe.video.clip import Clip, open_clip

_SAME = Fraction(1, 4)  # of the time between two frames: times in files are rounded


@lru_cache(maxsize=1)
def version() -> str | None:
    """Return what the program calls itself, such as "ffmpeg 5.1"; None: it is not there."""
    if shutil.which("ffmpeg") is None:
        return None
    try:
        said = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    words = said.stdout.split()
    return f"{words[0]} {words[2]}" if len(words) > 2 else None


def twice(video: Path, clip: Clip, out: Path) -> None:
    """Write a video with twice the frames, by the filter as it is where nothing is said.

    Args:
        video: a file of a constant rate.
        clip: the same, opened.
        out: an mp4; encoded by libx264 at crf 16.
    """
    assert clip.rate is not None
    filters = f"minterpolate=fps={2 * clip.rate}"
    _run("-i", video, "-vf", filters, "-an", "-c:v", "libx264", "-crf", "16", out)


def quality(clip: Clip, task: Comparison, out: Path) -> list[Row]:
    """Return how well the filter predicts the odd frames of a clip of a constant rate.

    Args:
        clip: a file.
        task: those frames; nothing else has read its clip.
        out: a NUT file that is written meanwhile.

    Raises:
        UserError: if the filter does not give a frame at each time.
    """
    assert clip.rate is not None
    # even frames only, at their times
    filters = f"select='not(mod(n,2))',minterpolate=fps={clip.rate}"
    _run("-i", clip.path, "-vf", filters, "-an", "-vsync", "vfr", "-c:v", "ffv1", out)
    made = open_clip(out)
    start = clip.times[0] - made.times[0]  # the filter begins with the first frame
    judge = Judge(clip, task.clip, task.schedule)
    for _ in task.clip.read(0):
        pass  # which finds the cuts
    frames = zip(made.times, made.read())
    for moment in task.schedule:
        for time, frame in frames:
            if abs(time + start - moment.pts) <= _SAME / clip.rate:
                judge.write(frame, moment.pts)
                break
        else:
            break  # the filter leaves out the last ones
    seen = len(judge.rows) + judge.skipped  # those beside cuts
    if seen < max(1, len(task.schedule) // 2):
        raise UserError(f"minterpolate gave {seen} of {len(task.schedule)} frames")
    return judge.rows


def _run(*words: object) -> None:
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *map(str, words)]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise UserError(f"ffmpeg failed: {said.strip().splitlines()[-1]}") from error
