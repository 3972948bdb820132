"""What there is to say of a recording in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from midframe.events.aedat import Read


def summarize(read: Read) -> dict[str, Any]:
    """Return what a recording holds: sizes, counts, rates, gaps.

    Times are in microseconds, rates per second; a number that the recording doesn't have is None.
    """
    recording = read.recording
    events, times = recording.events, recording.times
    edges = [int(t) for array in (events.t, times) for t in (*array[:1], *array[-1:])]
    seconds = (max(edges) - min(edges)) / 1e6 if edges else 0.0
    on = int((events.p > 0).sum())
    pixels = recording.height * recording.width
    seen = np.zeros(pixels, bool)
    seen[events.y.astype(np.int64) * recording.width + events.x] = True
    steps = np.diff(times)
    return {
        "file": recording.source,
        "reader": read.reader,
        "width": recording.width,
        "height": recording.height,
        "colour": recording.frames.ndim == 4,
        "start_us": min(edges, default=None),
        "seconds": round(seconds, 6),
        "events": len(events),
        "on_share": round(on / len(events), 4) if len(events) else None,
        "events_per_second": round(len(events) / seconds, 1) if seconds else None,
        "pixels_with_events": round(float(seen.mean()), 4),
        "longest_without_events_us": int(np.diff(events.t).max()) if len(events) > 1 else None,
        "frames": len(times),
        "frames_per_second": round(1e6 / float(np.median(steps)), 3) if len(steps) else None,
        "longest_between_frames_us": int(steps.max()) if len(steps) else None,
        "notes": list(read.notes),
    }


def lines(about: dict[str, Any]) -> list[str]:
    """Return a summary for people, a line for each subject."""
    colour = "colour" if about["colour"] else "grey"
    events = f"{about['events']:,}"
    if about["on_share"] is not None:
        events += f", {about['on_share']:.1%} ON, {1 - about['on_share']:.1%} OFF"
        events += f", at {about['pixels_with_events']:.1%} of the pixels"
    found = [
        f"file      {about['file']} (reader {about['reader']})",
        f"sensor    {about['width']}x{about['height']} pixels",
        f"duration  {about['seconds']:.3f} s",
        f"events    {events}",
    ]
    if about["events_per_second"] is not None and about["events"]:
        gap = about["longest_without_events_us"]
        still = "" if gap is None else f", longest time without any {gap / 1000:.1f} ms"
        found.append(f"          {about['events_per_second']:,.0f} a second on average{still}")
    frames = f"{about['frames']} {colour}" if about["frames"] else "none"
    if about["frames_per_second"] is not None:
        frames += f", {about['frames_per_second']:.2f} a second, longest time between two "
        frames += f"{about['longest_between_frames_us'] / 1000:.1f} ms"
    return [*found, f"frames    {frames}", *(f"note      {note}" for note in about["notes"])]
