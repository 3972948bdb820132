"""Stands in for `midframe interpolate`: tells what it would, copies its input, and may misbehave.

``python fake_interpolate.py LOG INPUT OUTPUT OPTIONS...`` writes its process id and words to LOG.
What it does otherwise is written at the end of INPUT, see `clip` in tests/serve/serving.py.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

MARK = b"\nbehave:"


def tell(event: str, **content: object) -> None:
    print(json.dumps({"event": event, **content}), flush=True)


def main() -> int:
    log, source, out, *options = sys.argv[1:]
    behave = json.loads(Path(source).read_bytes().rpartition(MARK)[2] or b"{}")
    looks = "--dry-run" in options
    here = Path(f"{log}.looking{os.getpid()}")
    beside = len(list(here.parent.glob(f"{Path(log).name}.looking*")))
    with Path(log).open("a") as file:
        content = {"pid": os.getpid(), "words": [source, out, *options], "beside": beside}
        file.write(json.dumps(content) + "\n")
    if looks:
        here.touch()
        time.sleep(behave.get("look_pause", 0))
        here.unlink()
    for note in behave.get("notes", []):
        tell("note", text=note)
    if "longest" in behave:  # a note of as many letters, in one piece
        tell("note", text=behave["longest"] * "n")
    if "unreadable" in behave and looks:
        tell("error", message=f"{source}: {behave['unreadable']}")
        return 2
    frames, bits = behave.get("frames", 9), behave.get("bits", 8)
    tell(
        "plan",
        frames_in=frames,
        frames=2 * frames,
        width=64,
        height=48,
        fps_in=behave.get("fps", "25"),
        fps="50",
        seconds=behave.get("seconds", frames / 25),
        depth=bits,
        words=["h264 (libx264, crf 16), 64x48, 420"],
    )
    if looks:
        return 0
    tell("note", text=f"{source} was only copied")
    if "error" in behave:
        tell("error", message=behave["error"])
        return 2
    if "crash" in behave:
        print("Traceback: something broke", file=sys.stderr)
        return 1
    Path(f".{out}.midframe").mkdir()  # as parts are kept
    for done in range(behave.get("steps", 2) + 1):
        tell("progress", done=done, total=behave.get("steps", 2), fps=12.5, seconds_left=3.0)
        time.sleep(behave.get("pause", 0))
    Path(f".{out}.midframe").rmdir()
    Path(out).write_bytes(Path(source).read_bytes())
    tell("done", path=out, frames=2 * frames, new=frames - 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
