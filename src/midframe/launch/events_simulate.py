"""`midframe events simulate`: what an event camera would have recorded of given frames."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from midframe.errors import UserError
from midframe.launch import arguments

SYNTHETIC = "synthetic"
_CAMERA = 25.0  # frames a second that a camera keeps, about, of faster video
_GAPS = 12.0  # scenes move their way of 1 to 16 pixels so often a second
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the simulator."""
    parser.add_argument(
        "source", metavar="SOURCE", help="a video, a folder of pictures, or the word synthetic"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="*.aedat4 or *.npz, to be written"
    )
    parser.add_argument(
        "--fps",
        type=float,
        help="frames a second of the source; default: the video's, or 240",
    )
    parser.add_argument(
        "--every",
        type=int,
        metavar="N",
        help="the camera keeps every Nth frame; default: so that about 25 a second are kept",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="take the first N frames only")
    parser.add_argument("--grey", action="store_true", help="keep grey frames, as DAVIS cameras do")
    parser.add_argument("--max-side", type=int, metavar="PIXELS", help="reduce larger video")
    group = parser.add_argument_group("the pixels")
    group.add_argument(
        "--threshold",
        default="0.2",
        metavar="ON[,OFF]",
        help="change of the log intensity that makes an event; default: 0.2",
    )
    for option, unit, text in (
        ("mismatch", "SIGMA", "spread of the thresholds between pixels, such as 0.03"),
        ("cutoff", "HZ", "of the low-pass in each pixel; default: none"),
        ("leak", "HZ", "ON events a second and pixel without a change, such as 0.1"),
        ("shot", "HZ", "noise events a second and pixel in the dark, such as 1"),
    ):
        group.add_argument(f"--{option}", type=float, default=0.0, metavar=unit, help=text)
    group.add_argument(
        "--refractory", type=int, default=0, metavar="US", help="silence after an event"
    )
    group.add_argument("--seed", type=int, default=0, help="of noise, and of generated scenes")
    group = parser.add_argument_group("generated scenes")
    group.add_argument("--size", default="240x180", metavar="WxH", help="default: 240x180")
    group.add_argument("--seconds", type=float, default=0.5, help="default: 0.5")
    group.add_argument("--scene", type=int, default=0, metavar="N", help="which one; default: 0")


def run(options: argparse.Namespace) -> int:
    """Simulate as the options say; `UserError` for what the user can mend."""
    from midframe.events.aedat import SUFFIX, choose_reader
    from midframe.events.simulate import simulate_recording
    from midframe.events.sources import SUFFIXES, write_source
    from midframe.launch.progress import Progress

    if options.out.suffix not in SUFFIXES:
        raise UserError(f"--out {options.out}: give a file *{' or *'.join(SUFFIXES)}")
    if options.out.suffix == SUFFIX:
        choose_reader("dv_processing")  # which writes; better known before than after
    on, off = _thresholds(options.threshold)
    fps, total, frames = _frames(options)
    every = options.every if options.every is not None else max(round(fps / _CAMERA), 1)
    with Progress("simulating", total, unit="frames") as progress:

        def counted() -> Iterator[np.ndarray]:
            for frame in frames:
                yield frame
                progress.advance()

        recording = simulate_recording(
            counted(),
            (round(k * 1e6 / fps) for k in range(1 << 60)),
            every=every,
            grey=options.grey,
            source=str(options.source),
            threshold_on=on,
            threshold_off=off,
            mismatch=options.mismatch,
            cutoff_hz=options.cutoff,
            leak_hz=options.leak,
            shot_hz=options.shot,
            refractory_us=options.refractory,
            seed=options.seed,
        )
    write_source(recording, options.out)
    events = recording.events
    share = f", {(events.p > 0).mean():.1%} ON" if len(events) else ""
    print(
        f"{options.out}: {len(recording.times)} frames of {recording.width}x{recording.height}, "
        f"{len(events):,} events{share}"
    )
    return 0


def _thresholds(text: str) -> tuple[float, float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 2):
        raise UserError(f"--threshold {text}: give one number, or ON,OFF, such as 0.2,0.25")
    return values[0], values[-1]


def _frames(options: argparse.Namespace) -> tuple[float, int, Iterator[np.ndarray]]:
    """Return frames a second, how many there should be, and the frames."""
    if options.fps is not None and not 0 < options.fps <= 1e5:
        raise UserError(f"--fps {options.fps:g}: give frames a second, such as 240")
    if options.limit is not None and options.limit < 1:
        raise UserError(f"--limit {options.limit}: give 1 or more")
    limit = options.limit or 1 << 40
    if options.source == SYNTHETIC:
        fps = options.fps or 240.0
        if not 0 < options.seconds <= 3600:
            raise UserError(f"--seconds {options.seconds:g}: give a time, such as 0.5")
        count = min(round(options.seconds * fps) + 1, limit)
        return fps, count, _scene(options, fps, count)
    path = Path(options.source)
    if path.is_dir():
        names = sorted(p for p in path.iterdir() if p.suffix.lower() in _PICTURES)[:limit]
        if not names:
            raise UserError(f"{path}: no pictures (*{', *'.join(_PICTURES)}) in this folder")
        return options.fps or 240.0, len(names), _pictures(names)
    from midframe.video.media import probe

    about = probe(path)
    if not (options.fps or about.fps):
        raise UserError(f"{path}: does not say its frames a second; give --fps")
    return options.fps or about.fps, min(about.frames, limit), _video(path, options, limit)


def _scene(options: argparse.Namespace, fps: float, count: int) -> Iterator[np.ndarray]:
    from midframe.data.synthetic import Rendered, SceneSpec

    width, height = arguments.size(options.size)
    scene = SceneSpec(options.seed, "test", options.scene, height, width)
    first = 0.5 - (count - 1) / fps * _GAPS / 2  # layers are where they belong at 0.5
    for number in range(count):
        yield Rendered(scene, first + number / fps * _GAPS).read()


def _pictures(names: list[Path]) -> Iterator[np.ndarray]:
    from midframe.data.io import ImageFile

    for name in names:
        yield ImageFile(str(name)).read()


def _video(path: Path, options: argparse.Namespace, limit: int) -> Iterator[np.ndarray]:
    from midframe.video.media import read_video

    for number, frame in enumerate(read_video(path, max_side=options.max_side)):
        if number == limit:
            return
        yield frame.image
