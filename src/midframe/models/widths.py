"""What a model says about its widths, so that compression may narrow them: `Width`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Width:
    """One number of channels that an option of the model sets.

    Attributes:
        option: path inside the net's options, list places as numbers: "widths.pyramid.2".
        channels: the present value.
        parameters: names of weights whose output channels (first axis; second axis of a
            transposed convolution) are counted by this option: all of them, or a number of them
            that rises with it (a layer of 3 * channels outputs counts as three blocks of it).
        multiple: what the value must stay a multiple of.
        least: the smallest value that the model takes.
    """

    option: str
    channels: int
    parameters: tuple[str, ...]
    multiple: int = 1
    least: int = 1
