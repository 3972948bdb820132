"""Sound that cannot be copied: decoded, made longer at its pitch if need be, encoded again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from midframe.video import channels
from midframe.video.stretch import Stretcher

_ENCODERS = {
    "mp4": ("aac",),
    "mov": ("aac",),
    "webm": ("libopus",),
    "matroska": ("flac", "aac"),
    "avi": ("pcm_s16le",),  # it cannot say by how much an encoder delays
}
_LOSSLESS = ("pcm_", "flac", "alac")
_ONLY_RATES = {"libopus": (48000,)}
_USUAL_RATE = 48000  # where an encoder does not take the input's
_BITS_PER_CHANNEL = 112_000  # a second, of lossy encoders
_LONGEST_GAP = 3600  # seconds of silence; more is a broken time
_PADDING = Fraction(1, 20)  # seconds by which codecs miss the end of what they were given
_FLOATS = "flt"
_PLANES = 7  # channels, one behind the other, that PyAV reads rightly
_USUAL_BLOCK = 1024  # samples that are given to encoders which do not say how many they take


def add_stream(out: Any, stream: Any, muxer: str) -> Any:
    """Add a stream for sound like that of another, encoded as a container usually has it.

    Channels stay where they are; where no encoder takes such a layout, one that holds them all is
    chosen, and else they are mixed down. Every choice is tried before.

    Returns None where no encoder takes it.
    """
    context = stream.codec_context
    given = channels.layout_of(context.layout)
    if given is None:
        return None
    names = _names(muxer, context.codec.canonical_name.startswith(_LOSSLESS))
    for layouts in (channels.holding, channels.below):
        for name in names:
            rates = dict.fromkeys((context.sample_rate, _USUAL_RATE))
            for rate in _ONLY_RATES.get(name, rates):
                for layout in layouts(given, name):
                    if _encodes(context, muxer, name, rate, layout):
                        return _added(out, name, rate, layout)
    return None


def _names(muxer: str, lossless: bool) -> tuple[str, ...]:
    names = _ENCODERS.get(muxer, ())
    if lossless and muxer == "mov":
        return ("pcm_s24le", *names)
    if not lossless and muxer == "matroska":
        return ("aac", "flac")
    return names


def _added(out: Any, name: str, rate: int, layout: str) -> Any:
    made = out.add_stream(name, rate=rate)
    made.layout = layout
    if name != "flac" and not name.startswith("pcm_"):
        made.bit_rate = _BITS_PER_CHANNEL * made.codec_context.layout.nb_channels
    return made


def _encodes(context: Any, muxer: str, name: str, rate: int, layout: str) -> bool:
    """Whether sound can be written so: a file is begun to see."""
    import io

    import av

    try:
        with av.open(io.BytesIO(), "w", format=muxer) as out:
            made = _added(out, name, rate, layout)
            out.start_encoding()
            if context.format is not None:
                kind = (
                    context.format.name,
                    str(channels.layout_of(context.layout)),
                    context.sample_rate,
                )
                _graph(kind, made.codec_context)
    except (av.FFmpegError, ValueError, OSError):
        return False
    return True


def _graph(kind: tuple[str, str, int], context: Any) -> Any:
    """Return what turns samples of a kind (format, layout, rate) into those of an encoder."""
    import av

    graph = av.filter.Graph()
    name, layout, rate = kind
    source = graph.add_abuffer(
        sample_rate=rate, format=name, layout=layout, time_base=Fraction(1, rate)
    )
    wanted = f"sample_fmts={context.format.name}:sample_rates={context.sample_rate}"
    to = graph.add("aformat", f"{wanted}:channel_layouts={context.layout.name}")
    graph.link_nodes(source, to, graph.add("abuffersink"))
    graph.configure()
    return graph


class Recoder:
    """Packets of sound to packets of another codec, perhaps longer.

    Sound is kept to its times to the sample: gaps become silence. Longer sound lasts as many times
    longer, and ends with the picture where it did so in the input.

    Args:
        stream: of the input.
        made: of the output.
        stretch: how many times longer it becomes.
        start: time of the input that is 0 in the output, in seconds.
        from_start: whether there is silence from then on until the sound begins.
        end: time of the input at which the picture ends, in seconds; longer sound that ends there,
            up to what a codec adds or lacks, ends there exactly. None: wherever it does.
    """

    def __init__(
        self,
        stream: Any,
        made: Any,
        stretch: Fraction,
        start: Fraction,
        *,
        from_start: bool = False,
        end: Fraction | None = None,
    ) -> None:
        self._stream, self._made, self._stretch, self._start = stream, made, stretch, start
        self._from_start, self._until = from_start, end
        self._rate = made.codec_context.sample_rate
        self._graph: Any = None
        self._kind: tuple[str, str, int] | None = None  # format, layout and rate of the first
        self._changed: tuple[Any, Any] = (None, None)  # a kind that came later, and its resampler
        self._stretcher: Stretcher | None = None  # where it lasts longer
        self._like: Any = None  # a frame of the input's form, where it lasts longer
        self._first: Fraction | None = None
        self._end = Fraction(0)  # of the input, by the samples so far
        self._count = 0  # samples that were encoded

    def convert(self, packet: Any) -> Iterator[tuple[Fraction, Any]]:
        """Yield (time of decoding, packet) of the output for a packet; None: for the end."""
        import av

        try:
            frames = self._stream.codec_context.decode(packet)
        except EOFError:  # also an FFmpegError: nothing more comes, and what is held is written
            frames = []
        except av.FFmpegError:
            return  # a broken packet: silence
        for frame in frames:
            yield from self._take(frame)
        if packet is None and self._first is not None:
            yield from self._finish()

    def _take(self, frame: Any) -> Iterator[tuple[Fraction, Any]]:
        if frame.pts is None or not frame.samples:
            return
        time = frame.pts * frame.time_base
        frame = _named(frame)
        if self._first is None:
            self._first = self._end = self._start if self._from_start else time
            self._build(frame)
        gap = round((time - self._end) * frame.sample_rate)
        if gap > frame.sample_rate // 100:  # more than rounding
            for piece in _silence(frame, min(gap, _LONGEST_GAP * frame.sample_rate)):
                yield from self._pushed(piece)
            self._end = time
        self._end += Fraction(frame.samples, frame.sample_rate)  # not of its time: gaps add up
        frame.pts = None
        yield from self._pushed(frame)

    def _pushed(self, frame: Any) -> Iterator[tuple[Fraction, Any]]:
        """Pass samples on and yield what comes of them at once, so that little is ever held."""
        for piece in self._alike(frame):
            if self._stretcher is None:
                self._graph.push(piece)
                yield from self._pulled()
            else:
                yield from self._longer(self._stretcher.push(_floats(piece)), piece)

    def _alike(self, frame: Any) -> list[Any]:
        """Return a frame in the form of the first; broadcasts change from 5.1 to stereo."""
        import av

        kind = _kind(frame)
        if kind == self._kind or self._kind is None:
            return [frame]
        if kind != self._changed[0]:
            name, layout, rate = self._kind
            self._changed = kind, av.AudioResampler(name, layout, rate)
        return self._changed[1].resample(frame)

    def _longer(self, blocks: Iterable[np.ndarray], like: Any) -> Iterator[tuple[Fraction, Any]]:
        for block in blocks:
            self._graph.push(_framed(block, _FLOATS, like.layout.name, like.sample_rate))
            yield from self._pulled()

    def _build(self, frame: Any) -> None:
        context = self._made.codec_context
        self._kind = name, layout, rate = _kind(frame)
        if self._stretch != 1:
            self._stretcher = Stretcher(frame.layout.nb_channels, rate, self._stretch)
            self._like, name = frame, _FLOATS
        self._graph = _graph((name, layout, rate), context)
        context.time_base = Fraction(1, self._rate)
        context.open(strict=False)  # not strict: one that is open already stays so
        self._graph.set_audio_frame_size(context.frame_size or _USUAL_BLOCK)

    def _pulled(self) -> Iterator[tuple[Fraction, Any]]:
        import av

        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield from self._encoded(frame)

    def _finish(self) -> Iterator[tuple[Fraction, Any]]:
        if self._stretcher is not None:
            count = None
            if self._until is not None and abs(self._until - self._end) <= _PADDING:
                assert self._first is not None
                count = max(0, round((self._until - self._first) * self._like.sample_rate))
            yield from self._longer(self._stretcher.finish(count), self._like)
        self._graph.push(None)
        yield from self._pulled()
        yield from self._sent(None)

    def _encoded(self, frame: Any) -> Iterator[tuple[Fraction, Any]]:
        assert self._first is not None
        offset = round((self._first - self._start) * self._stretch * self._rate)
        frame.pts, frame.time_base = offset + self._count, Fraction(1, self._rate)
        self._count += frame.samples
        yield from self._sent(frame)

    def _sent(self, frame: Any) -> Iterator[tuple[Fraction, Any]]:
        for packet in self._made.encode(frame):
            yield packet.dts * packet.time_base, packet


def _kind(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _named(frame: Any) -> Any:
    """Return a frame whose layout is known: the usual one of its number of channels, if need be."""
    layout = channels.layout_of(frame.layout)
    if layout is None or layout == frame.layout.name:
        return frame
    return _framed(_samples(frame), frame.format.name.rstrip("p"), layout, frame.sample_rate)


def _framed(samples: np.ndarray, name: str, layout: str, rate: int) -> Any:
    """Return a frame of samples (channels, n), one channel beside the other as formats without p.

    PyAV reads and writes behind the end of eight channels and more that follow each other.
    """
    import av

    packed = np.ascontiguousarray(samples.T).reshape(1, -1)
    made = av.AudioFrame.from_ndarray(packed, format=name, layout=layout)
    made.sample_rate = rate
    return made


def _samples(frame: Any) -> np.ndarray:
    """Return samples as (channels, n), of the type they have."""
    import av

    count = frame.layout.nb_channels
    if frame.format.is_planar and count > _PLANES:
        packed = av.AudioResampler(frame.format.name.rstrip("p"), frame.layout.name, frame.rate)
        (frame,) = packed.resample(frame)
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(-1, count).T


def _floats(frame: Any) -> np.ndarray:
    """Return samples as (channels, n) float32, full scale being 1."""
    samples = _samples(frame)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return samples.astype(np.float32)


def _silence(like: Any, count: int) -> Iterator[Any]:
    """Yield frames without a sound, of a frame's layout."""
    name = like.format.name.rstrip("p")
    kind = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32}
    dtype = kind.get(name, np.float64)
    while count > 0:
        samples = min(count, like.sample_rate)
        zeros = np.full((like.layout.nb_channels, samples), 128 if dtype is np.uint8 else 0, dtype)
        yield _framed(zeros, name, like.layout.name, like.sample_rate)
        count -= samples
