"""Exported files as models: the interface of every other, without their code and their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.export.facts import FORMATS, Facts, read_facts
from midframe.export.graph import FRAMES, TIME
from midframe.models.base import TRIAL, Interpolator, Pad
from midframe.plain_text import in_words
from midframe.types import Inputs, Prediction

NCNN = ".ncnn"  # what the name of a folder with ncnn's two files ends with


class Runner(Protocol):
    """What runs the graph of one format: given all inputs by name, returns the frame.

    Inputs may be on any device, and it is for the runner to move them: one on a GPU need not take
    frames of that GPU to the CPU and back.
    """

    @property
    def text(self) -> str | bytes | None:
        """The metadata as they are in the file."""

    def check(self, facts: Facts) -> None:
        """Raise `UserError` where the graph is not what its metadata say."""

    def __call__(self, given: Mapping[str, Tensor]) -> Tensor:
        """Return the frame (1, 3, H, W)."""


class Engine(Interpolator):
    """An exported file as an `Interpolator`.

    It pads by itself, its hints are frozen, and it gives the frame alone. Samples and times of a
    batch run one after the other.

    Args:
        facts: what the file says of itself.
        runner: runs its graph.

    Attributes:
        facts: as given.
        bins: of events, where it takes some.
    """

    def __init__(self, facts: Facts, runner: Runner) -> None:
        super().__init__()
        self.facts, self.runner, self.bins = facts, runner, facts.bins
        self.context: int = facts.context  # type: ignore[misc]
        self.times: Literal["any", "half"] = facts.times  # type: ignore[misc,assignment]
        self.needs = frozenset(facts.needs)  # type: ignore[misc]
        self.trainable = facts.trainable  # type: ignore[misc]
        self.pad = Pad()  # type: ignore[misc]
        least = (max(facts.least, *TRIAL),) * 2
        self.trial_size = least if facts.size is None else facts.size[::-1]  # type: ignore[misc]
        self.eval()

    @property
    def title(self) -> str:
        """The model that was exported, and to what."""
        return f"{self.facts.model} ({self.facts.format})"

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Run the graph for every sample and time.

        Args:
            x: frames of the size that the file takes, with what the model needs beside them.
            **hints: without effect: they are frozen in the file.

        Returns:
            The frame, on the frames' device.

        Raises:
            UserError: for frames of another size, or without what is needed.
        """
        self.check_given(x)
        self._check_frames(x.frames)
        frames = x.frames.detach().float()
        made = [
            torch.stack([self._frame(x, frames[b : b + 1], b, k) for k in range(x.t.shape[1])])
            for b in range(len(frames))
        ]
        return Prediction(torch.stack(made).to(x.frames.device))

    def _frame(self, x: Inputs, frames: Tensor, sample: int, time: int) -> Tensor:
        given = dict(zip(FRAMES[self.context], frames.unbind(1)))
        given[TIME] = x.t[sample, time].reshape(1).float()
        one = slice(sample, sample + 1)
        for name in self.facts.needs:
            field = getattr(x, name)[one].float()
            given[name] = field if name == "events_ends" else field[:, time]
        frame = self.runner(given)
        if tuple(frame.shape) != (1, *frames.shape[2:]):
            raise UserError(
                f"{self.title} gave {'x'.join(map(str, frame.shape))} for frames of "
                f"{'x'.join(map(str, frames.shape[2:]))}: the file is not what it says"
            )
        return frame[0]

    def _check_frames(self, frames: Tensor) -> None:
        count, height, width = frames.shape[1], *frames.shape[-2:]
        if count != 2 * self.context:
            raise UserError(f"{self.title} reads {2 * self.context} frames, here are {count}")
        size, least = self.facts.size, self.facts.least
        if size is not None and size != (width, height):
            raise UserError(
                f"{self.title} was exported for {in_words(size)}, these frames are "
                f"{in_words((width, height))}; export with --size {height}x{width}, or dynamic"
            )
        if size is None and min(height, width) < least:
            raise UserError(
                f"{self.title} takes frames from {least} x {least} on, these are "
                f"{in_words((width, height))}"
            )


def load_engine(
    path: str | PathLike[str], *, device: str = "cpu", threads: int | None = None
) -> Engine:
    """Load a file that `midframe export` wrote: NAME.onnx, NAME.pt2, or a folder NAME.ncnn.

    Files may come from anybody: nothing in them is unpickled, their metadata are bounded and
    checked. docs/export.md tells what that does and does not protect from.

    Args:
        path: of the file or folder.
        device: "cpu"; "cuda" or "cuda:1" for .onnx, where ONNX Runtime can use it, and .pt2.
        threads: of one call; as many as PyTorch uses where None.

    Returns:
        A model like any other: `Interpolator.interpolate` takes frames, `Timeline` whole videos.

    Raises:
        UserError: for a file that is not there, not of midframe, or damaged, or without the
            package that runs it.
    """
    path = Path(path).expanduser()
    kinds: dict[str, Callable[[], Runner]] = {
        ".onnx": lambda: _onnx(path, device, threads or torch.get_num_threads()),
        ".pt2": lambda: _pt2(path, device),
        NCNN: lambda: _ncnn(path, threads or torch.get_num_threads()),
    }
    if path.suffix not in kinds:
        raise UserError(f"{path} is none of {', '.join(f'NAME{kind}' for kind in kinds)}")
    if not path.exists():
        raise UserError(f"there is no engine {path}; `midframe export` makes one")
    runner = kinds[path.suffix]()
    facts = read_facts(runner.text, str(path))
    if f".{facts.format}" != path.suffix or facts.format not in FORMATS:
        raise UserError(f"{path} says that it is {facts.format}")
    runner.check(facts)
    return Engine(facts, runner)


def _onnx(path: Path, device: str, threads: int) -> Runner:
    from midframe.export.onnx import Session

    return Session(path, device, threads)


def _pt2(path: Path, device: str) -> Runner:
    from midframe.export.pt2 import Program

    return Program(path, device)


def _ncnn(path: Path, threads: int) -> Runner:
    from midframe.export.ncnn import Net

    return Net(path, threads)
