"""`midframe interpolate VIDEO [DIR] --compare`: how well a model does on one's own footage.

Every second frame is left out, predicted from the others, and held against the one there was.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from midframe.errors import UserError
from midframe.files import write_bytes, write_json
from midframe.launch.convert_report import Counter, Report
from midframe.metrics import psnr, ssim
from midframe.video.clip import Source
from midframe.video.frame import Frame
from midframe.video.halved import Halved, OddFrames
from midframe.video.inbetween import Maker
from midframe.video.pipeline import convert
from midframe.video.timing import Part, Request, Schedule

TABLE, PLOT, SUMMARY = "compare.csv", "compare.svg", "compare.json"
CAP = 100.0  # dB, of a frame that is met exactly
_WORST = 3
_NOT_HERE = (
    *("factor", "fps", "times", "slow_motion", "duplicates", "preview", "profile", "dry_run"),
    *("audio", "codec", "quality", "lossless", "output_chroma", "restart"),
)
_LEAST_SIDE = 7  # of pictures that SSIM can compare


@dataclass(frozen=True)
class Row:
    """A frame that was left out.

    Attributes:
        frame: its number.
        seconds: when it is shown.
        t: where it lies between its neighbours.
        psnr: of the prediction, in dB.
        ssim: of the prediction.
        average_psnr: of the neighbours' mixture.
        average_ssim: of the neighbours' mixture.
    """

    frame: int
    seconds: float
    t: float
    psnr: float
    ssim: float
    average_psnr: float
    average_ssim: float


class Judge:
    """Takes predictions of odd frames, reads those that there were, and compares.

    Args:
        clip: of all frames.
        halved: what the model saw of it.
        schedule: of the odd frames.

    Attributes:
        rows: of the frames so far.
        skipped: how many had a cut beside them.
    """

    def __init__(self, clip: Source, halved: Halved, schedule: OddFrames) -> None:
        self._halved, self._schedule = halved, schedule
        self._truth = iter(clip.read(0))
        self._before: Frame = next(self._truth)
        self._number = 0
        self.rows: list[Row] = []
        self.skipped = 0

    def write(self, frame: Frame, pts: Fraction) -> None:
        """Compare the next odd frame."""
        here, behind = next(self._truth, None), next(self._truth, None)
        if here is None or behind is None:
            raise UserError(f"the video ends before frame {2 * self._number + 2}; it was cut off")
        number, t = 2 * self._number + 1, self._schedule.share(self._number)
        if self._halved.parted(number):
            self.skipped += 1
        else:
            both = self._before.rgb() * float(1 - t) + behind.rgb() * float(t)
            truth, made, mixed = (
                torch.from_numpy(x.rgb())[None]
                for x in (here, frame, here.like(both, None, (self._before, behind)))
            )
            values = (*_quality(made, truth), *_quality(mixed, truth))
            self.rows.append(Row(number, float(pts), float(t), *values))
        self._before = behind
        self._number += 1


@dataclass(frozen=True)
class Comparison:
    """What is predicted; see `midframe.launch.convert_plan.Task`.

    Attributes:
        clip: what the model sees.
        schedule: of the frames it does not.
        ends: see `midframe.models.timeline.Timeline`.
        preview: never.
    """

    clip: Halved
    schedule: OddFrames
    ends: str
    preview: bool = False

    @property
    def spacings(self) -> set[int]:
        """At which parts of a gap predictions are."""
        return {moment.position.denominator for moment in self.schedule}


def compared(clip: Source, task: Comparison, maker: Maker, counter: Counter) -> Judge:
    """Predict the odd frames of a clip and compare.

    Args:
        clip: of three frames or more.
        task: what is predicted of it.
        maker: the model.
        counter: counts frames.

    Raises:
        UserError: by the clip or the model.
    """
    halved, schedule = task.clip, task.schedule
    judge = Judge(clip, halved, schedule)

    @contextmanager
    def writer(part: Part) -> Iterator[Judge]:
        yield judge

    count = len(schedule.times)
    whole = iter([Part(0, 0, count, 0, len(schedule))])
    convert(
        halved, halved.format, schedule, whole, maker, writer, gate=halved, written=counter.advance
    )
    return judge


def run(args: argparse.Namespace, load: Any, settings: Any) -> int:
    """Compare as the options say; `UserError` for what the user can mend.

    Args:
        args: of `midframe interpolate`.
        load: gives the model and where it is.
        settings: of the model, as plain data.
    """
    report = Report(args.progress)
    with report.telling():
        _compare(args, load, settings, report)
    return 0


def _compare(args: argparse.Namespace, load: Any, settings: Any, report: Report) -> None:
    from midframe.launch import convert_plan
    from midframe.launch.convert import maker_of
    from midframe.launch.convert_memory import fitted

    given = [name for name in _NOT_HERE if getattr(args, name)]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise UserError(f"{option} has no meaning with --compare, which makes no video")
    folder = args.second
    if folder is not None:
        _check_folder(folder, args.overwrite)
    clip = convert_plan.opened(args)
    form = clip.format
    if len(clip) < 3:
        raise UserError(f"{args.input} has {len(clip)} frames; --compare needs three or more")
    if min(form.width, form.height) < _LEAST_SIDE:
        raise UserError(f"frames of {form.width}x{form.height} are too small to be compared")
    schedule = OddFrames(list(clip.times))
    whole = Schedule(clip.times, Fraction(0), Request(factor=Fraction(2)))
    halved = Halved(clip, form, len(clip), convert_plan.cuts_of(args, whole))
    task = Comparison(halved, schedule, args.ends or "interpolate")
    report.say(f"{clip.path}: {len(schedule)} of {len(clip)} frames are left out and predicted")
    for note in clip.notes:
        report.note(note)
    model, device = load()
    model = fitted(model, device, task, args, settings, report)
    maker = maker_of(model, device, task, args.batch, report)
    with report.counting(len(schedule), 0) as counter:
        judge = compared(clip, task, maker, counter)
    if judge.skipped:
        report.note(f"{judge.skipped} frames beside cuts were left out")
    if not judge.rows:
        raise UserError("there is no frame to compare: cuts are beside each of them")
    found = summary(judge)
    for line in told(found, model.title):
        report.say(line)
    if folder is not None:
        _write(folder, judge, found, f"{clip.path.name}, {model.title}")
        report.say(f"written: {folder / TABLE}, {folder / PLOT}, {folder / SUMMARY}")
    report.event("compared", **found)


def summary(judge: Judge) -> dict[str, Any]:
    """Return means and the worst frames, as plain data."""
    rows = judge.rows
    means = {
        name: round(fmean(getattr(row, name) for row in rows), 4)
        for name in ("psnr", "ssim", "average_psnr", "average_ssim")
    }
    worst = sorted(rows, key=lambda row: row.psnr)[:_WORST]
    return {
        "frames": len(rows),
        "skipped": judge.skipped,
        **means,
        "better": sum(row.psnr > row.average_psnr for row in rows),
        "worst": [
            {"frame": r.frame, "seconds": round(r.seconds, 3), "psnr": round(r.psnr, 2)}
            for r in worst
        ],
    }


def told(found: dict[str, Any], title: str) -> Iterator[str]:
    """Yield a summary in lines for people."""
    gain = found["psnr"] - found["average_psnr"]
    rows = ((title, ""), ("average of the neighbours", "average_"))
    for name, before in rows:
        psnr_of, ssim_of = found[f"{before}psnr"], found[f"{before}ssim"]
        yield f"{name}: PSNR {psnr_of:.2f} dB, SSIM {ssim_of:.4f} over {found['frames']} frames"
    verb = "beats the average by" if gain >= 0 else "is worse than the average by"
    yield f"{title} {verb} {abs(gain):.2f} dB, in {found['better']} of {found['frames']} frames"
    worst = ", ".join(f"{w['frame']} ({w['psnr']:.1f} dB)" for w in found["worst"])
    yield f"worst frames: {worst}"


def _quality(made: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    return min(float(psnr(made, truth)), CAP), float(ssim(made, truth))


def _check_folder(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; with --compare, give a folder for its numbers")
    if folder.suffix and not folder.is_dir():
        raise UserError(
            f"{folder}: --compare makes no video; give a folder for its numbers, or none"
        )
    there = [name for name in (TABLE, PLOT, SUMMARY) if (folder / name).exists()]
    if there and not overwrite:
        raise UserError(f"{folder / there[0]} exists; give another folder, or add --overwrite")


def _write(folder: Path, judge: Judge, found: dict[str, Any], title: str) -> None:
    from midframe.launch.curves import Panel, svg

    rows = judge.rows
    text = io.StringIO()
    names = list(Row.__dataclass_fields__)
    table = csv.writer(text, lineterminator="\n")
    table.writerow(names)
    table.writerows([_plain(getattr(row, name)) for name in names] for row in rows)
    panels = [
        Panel(
            "PSNR, dB", {"model": [r.psnr for r in rows], "average": [r.average_psnr for r in rows]}
        ),
        Panel("SSIM", {"model": [r.ssim for r in rows], "average": [r.average_ssim for r in rows]}),
    ]
    picture = svg(title, [row.seconds for row in rows], panels, "seconds")
    try:
        write_bytes(folder / TABLE, text.getvalue().encode())
        write_bytes(folder / PLOT, picture.encode())
        write_json(folder / SUMMARY, found)
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}") from error


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
