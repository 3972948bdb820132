"""The first frames of a video in a file of their own, as they are encoded."""

from __future__ import annotations

from pathlib import Path


def beginning(video: Path, frames: int, folder: Path) -> Path:
    """Write the first frames of a video as they are encoded, and return the file.

    Args:
        video: any file with a video.
        frames: how many at most; fewer where those behind are stored before the last of them.
        folder: for the file.
    """
    import av

    with av.open(str(video)) as source:
        stream = source.streams.video[0]
        known = [(p.pts, p) for p in source.demux(stream) if p.pts is not None]
        times = sorted(time for time, _ in known)
        del known[frames:]
        while known and max(time for time, _ in known) > times[len(known) - 1]:
            known.pop()
        path = folder / f"beginning{video.suffix}"
        with av.open(str(path), "w") as out:
            copy = out.add_stream_from_template(stream)
            for _, packet in known:
                packet.stream = copy
                out.mux(packet)
    return path
