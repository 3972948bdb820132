"""Parts become a video: with the sound, subtitles, chapters and all else of the input.

The file is written aside and renamed when it is complete. Memory does not grow with its length.
"""

from __future__ import annotations

import errno
import heapq
import io
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

from midframe.errors import UserError, known_names
from midframe.files import aside_of, remove_leftovers
from midframe.video.clip import Clip
from midframe.video.plain import write_gif_parts, write_pictures, write_raw, write_y4m
from midframe.video.reader import reason
from midframe.video.target import Target
from midframe.video.tracks import Tracks
from midframe.video.writer import Part, configure, side_data

Audio = Literal["copy", "stretch", "drop"]
AUDIO: tuple[Audio, ...] = get_args(Audio)
_PLAIN = {"raw": write_raw, "y4m": write_y4m, "gif": write_gif_parts, "pictures": write_pictures}
# What a file says of how it was written, which is not so any more.
_OF_THE_FILE = (
    *("major_brand", "minor_version", "compatible_brands", "encoder", "handler_name", "vendor_id"),
    *("duration", "number_of_frames", "number_of_bytes", "bps", "rotate", "alpha_mode", "timecode"),
)


def join(
    segments: Sequence[Path],
    clip: Clip,
    target: Target,
    path: Path | None = None,
    *,
    stretch: Fraction = Fraction(1),
    audio: Audio = "copy",
    last: Fraction | None = None,
) -> list[str]:
    """Write the output from its parts; nothing of it is there until it is complete.

    Args:
        segments: parts in order, see `SegmentWriter`.
        clip: the input.
        target: how parts were written.
        path: of the output, in place of the target's.
        stretch: how many times longer than the input it lasts.
        audio: what becomes of sound: "copy" leaves it as it is (of what lasts longer only the
            beginning fits then), "stretch" makes it as much longer at its pitch, "drop" leaves it
            out.
        last: how long the last frame is shown, in seconds; None: as the one before.

    Returns:
        What could not be kept, or not as it was, for people.

    Raises:
        UserError: if it cannot be written; what was there before is still there.
    """
    if audio not in AUDIO:
        raise UserError(f"audio {audio}: {known_names(audio, AUDIO)}")
    path = path or target.path
    parts = [Part(segment) for segment in segments]
    if not any(part.packets for part in parts):
        raise UserError(f"{path}: there is no frame to write")
    try:
        if target.kind in _PLAIN:
            _PLAIN[target.kind](parts, target, path, last)
            return []
        return _mux(parts, clip, target, path, stretch, audio, last)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def planned(
    clip: Clip, target: Target, *, stretch: Fraction = Fraction(1), audio: Audio = "copy"
) -> list[str]:
    """Return what `join` will not keep, as far as it can be known before a frame is made.

    The head of the output is written, in memory, to see whether its container takes everything.

    Args:
        clip: the input.
        target: how it is written.
        stretch: see `join`.
        audio: see `join`.

    Raises:
        UserError: if the container refuses; says the way out.
    """
    import av

    if target.kind in _PLAIN or target.encoder is None:
        return []
    late = clip.times[0] * stretch if target.muxer == "avi" and len(clip) else Fraction(0)
    tracks = Tracks(clip, target, stretch, audio, late)
    try:
        with tracks, av.open(io.BytesIO(), "w", format=target.muxer) as out:
            _begin(out, clip, target, tracks)
    except (av.FFmpegError, ValueError) as error:
        raise _refused(target.path, tracks, error) from error
    return tracks.words


def _mux(
    parts: Sequence[Part],
    clip: Clip,
    target: Target,
    path: Path,
    stretch: Fraction,
    audio: Audio,
    last: Fraction | None,
) -> list[str]:
    import av

    final = path.resolve()  # a link stays one
    final.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(final.parent)
    aside = aside_of(final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}"))
    late = 0  # AVI begins with its first frame, so all else moves to where that was
    if target.muxer == "avi":
        late = min(packet.time for part in parts[:1] for packet in part.packets)
    tracks = Tracks(clip, target, stretch, audio, late * target.base)
    options = {"movflags": "+faststart"} if target.muxer in ("mp4", "mov") else {}
    try:
        with tracks, av.open(str(aside), "w", format=target.muxer, options=options) as out:
            stream = _begin(out, clip, target, tracks)
            video = _stamped(parts, stream, target.base, last, late)
            for _, packet in heapq.merge(video, tracks.packets(), key=lambda item: item[0]):
                out.mux(packet)
        aside.replace(final)
    except (av.FFmpegError, ValueError) as error:
        raise _refused(path, tracks, error) from error
    finally:
        aside.unlink(missing_ok=True)
    return tracks.words


def _begin(out: Any, clip: Clip, target: Target, tracks: Tracks) -> Any:
    """Write the head of a file and return its stream of the video."""
    stream = _video_stream(out, clip, target)
    tracks.describe_video(stream)
    tracks.add(out)
    out.metadata.update(_kept(clip.tags.metadata))
    tracks.add_chapters(out)
    out.start_encoding()
    return stream


def _refused(path: Path, tracks: Tracks, error: Exception) -> UserError:
    words = f"cannot write {path}: {reason(error)}"
    if tracks.sounds and getattr(error, "errno", errno.EINVAL) == errno.EINVAL:
        words += f"; if that is for {' or '.join(tracks.sounds)}, --audio drop leaves sound out"
    return UserError(words)


def _video_stream(out: Any, clip: Clip, target: Target) -> Any:
    """Add the stream that packets of parts belong to.

    Its encoder is opened as those of the parts were, for the parameters that it gives, and never
    used.
    """
    assert target.encoder is not None
    stream = out.add_stream(target.encoder.name, rate=target.pace)
    configure(stream.codec_context, target)
    stream.time_base = target.base
    if target.tags.display is not None:
        stream.set_display_matrix(target.tags.display)
    stream.metadata.update(_kept(clip.tags.metadata_video))
    return stream


def _kept(metadata: Any) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower().split("-")[0] not in _OF_THE_FILE and not key.startswith("_STATISTICS")
    }


def _stamped(
    parts: Sequence[Part], stream: Any, base: Fraction, last: Fraction | None, late: int
) -> Iterator[tuple[Fraction, Any]]:
    """Yield (time of decoding, packet) with times of decoding that never go back, part after part.

    All are ``late`` units earlier than the parts say.

    Where frames are decoded before others that are shown first, the n-th packet is decoded when
    frame n - d is shown, d being the furthest that a frame is decoded too early.
    """
    import av

    times = [sorted(packet.time for packet in part.packets) for part in parts]
    delay = max(map(_delay, parts, times))
    flat = (time for some in times for time in some)
    start = [time for some in times for time in some[: delay + 2]][: delay + 2]
    gap = max(1, start[1] - start[0]) if len(start) > 1 else 1
    decoding = deque(start[0] - gap * (delay - i) for i in range(delay))
    begin = decoding[0] if delay else start[0]
    follows = _following(times, last, base)
    ends = times[-1][-1] + follows(times[-1][-1])
    left = sum(map(len, times))
    for part in parts:
        for packet, data, sides in part.payloads():
            decoding.append(next(flat))
            made = av.Packet(data)
            made.pts, made.dts = packet.time - late, decoding.popleft() - late
            made.duration = follows(packet.time)
            left -= 1
            if not left and stream.container.format.name in ("mp4", "mov"):
                # these sum up from one decoding to the next, and so tell how long it all lasts
                made.duration = (ends - start[0]) - (made.dts + late - begin)
            made.is_keyframe = packet.key
            made.time_base, made.stream = base, stream
            for kind, more in sides:
                made.set_sidedata(side_data(kind, more), True)
            yield made.dts * base, made


def _delay(part: Part, ordered: Sequence[int]) -> int:
    rank = {time: number for number, time in enumerate(ordered)}
    return max((i - rank[p.time] for i, p in enumerate(part.packets)), default=0)


def _following(
    times: Sequence[Sequence[int]], last: Fraction | None, base: Fraction
) -> Callable[[int], int]:
    """Return a function that says how long the frame of a time is shown, in units."""
    flat = [time for some in times for time in some]
    gaps = dict(zip(flat, (b - a for a, b in zip(flat, flat[1:]))))
    end = round(last / base) if last is not None else next(reversed(gaps.values()), 1)
    return lambda time: gaps.get(time, max(1, end))
