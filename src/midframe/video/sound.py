"""Sound that cannot be copied: decoded, made longer at its pitch if need be, encoded again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from midframe.video.stretch import Stretcher

_ENCODERS = {
    "mp4": ("aac",),
    "mov": ("aac",),
    "webm": ("libopus",),
    "matroska": ("flac", "aac"),
    "avi": ("pcm_s16le",),  # it cannot say by how much an encoder delays
}
_LOSSLESS = ("pcm_", "flac", "alac")
_RATES = {"libopus": (48000,)}
_BITS_PER_CHANNEL = 112_000  # a second, of lossy encoders
_LONGEST_GAP = 3600  # seconds of silence; more is a broken time
_PADDING = Fraction(1, 20)  # seconds by which codecs miss the end of what they were given
_FLOATS = "fltp"
_USUAL_BLOCK = 1024  # samples that are given to encoders which do not say how many they take


def add_stream(out: Any, stream: Any, muxer: str) -> Any:
    """Add a stream for sound like that of another, encoded as a container usually has it.

    Returns None where no encoder is there.
    """
    lossless = stream.codec_context.codec.canonical_name.startswith(_LOSSLESS)
    names = _ENCODERS.get(muxer, ())
    if lossless and muxer == "mov":
        names = ("pcm_s24le", *names)
    if not lossless and muxer == "matroska":
        names = ("aac", "flac")
    for name in names:
        rate = stream.codec_context.sample_rate
        known = _RATES.get(name)
        if known is not None and rate not in known:
            rate = max(known)
        try:
            made = out.add_stream(name, rate=rate)
        except ValueError:
            continue
        made.layout = stream.codec_context.layout
        if name != "flac" and not name.startswith("pcm_"):
            made.bit_rate = _BITS_PER_CHANNEL * made.codec_context.layout.nb_channels
        return made
    return None


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
        if self._stretcher is None:
            self._graph.push(frame)
            yield from self._pulled()
            return
        yield from self._longer(self._stretcher.push(_floats(frame)), frame)

    def _longer(self, blocks: Iterable[np.ndarray], like: Any) -> Iterator[tuple[Fraction, Any]]:
        import av

        for block in blocks:
            made = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block), format=_FLOATS, layout=like.layout.name
            )
            made.sample_rate = like.sample_rate
            self._graph.push(made)
            yield from self._pulled()

    def _build(self, frame: Any) -> None:
        import av

        context, graph = self._made.codec_context, av.filter.Graph()
        name = frame.format.name
        if self._stretch != 1:
            channels = frame.layout.nb_channels
            self._stretcher = Stretcher(channels, frame.sample_rate, self._stretch)
            self._like, name = frame, _FLOATS
        source = graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=name,
            layout=frame.layout.name,
            time_base=Fraction(1, frame.sample_rate),
        )
        chain = [source]
        kind = f"sample_fmts={context.format.name}:sample_rates={self._rate}"
        chain.append(graph.add("aformat", f"{kind}:channel_layouts={context.layout.name}"))
        chain.append(graph.add("abuffersink"))
        graph.link_nodes(*chain)
        graph.configure()
        self._graph = graph
        context.time_base = Fraction(1, self._rate)
        context.open(strict=False)  # not strict: one that is open already stays so
        graph.set_audio_frame_size(context.frame_size or _USUAL_BLOCK)

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


def _floats(frame: Any) -> np.ndarray:
    """Return samples as (channels, n) float32, full scale being 1."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return samples.astype(np.float32)


def _silence(like: Any, count: int) -> Iterator[Any]:
    """Yield frames without a sound, of a frame's kind."""
    import av

    channels = like.layout.nb_channels
    while count > 0:
        samples = min(count, like.sample_rate)
        shape = (channels, samples) if like.format.is_planar else (1, channels * samples)
        name = like.format.name
        kind = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32}
        dtype = kind.get(name.rstrip("p"), np.float64)
        zeros = np.full(shape, 128 if dtype is np.uint8 else 0, dtype)
        piece = av.AudioFrame.from_ndarray(zeros, format=name, layout=like.layout.name)
        piece.sample_rate = like.sample_rate
        yield piece
        count -= samples
