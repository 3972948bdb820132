"""PWC-Net as the event model's code calls it: on stretched frames, enlarged to twice the size.

Yu et al., "Training Weakly Supervised Video Frame Interpolation with Events", ICCV 2021, for the
call; the network is that of `midframe.models.pwcnet`.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from midframe.models.blocks import wide
from midframe.models.flow_init import Init
from midframe.models.pwcnet import PWCNet

Stretch = Literal["sample", "batch"]
VISIBLE = 0.9999


class EventPWCNet(PWCNet):
    """`PWCNet` for frames of little contrast and few pixels, such as an event camera's.

    `estimate` stretches each frame to fill [0, 1] and enlarges both to twice the next multiple of
    64, corners aligned. `forward`, which training calls, takes frames as they are.

    Args:
        stretch: "sample" stretches each frame by its own least and greatest value, "batch" by those
            of all frames together, as published, where a flow depends on what else is in the batch.
        init: see `PWCNet`.
    """

    key_names, other_names = PWCNet.other_names, PWCNet.key_names  # the authors' weights
    enlarged = 2  # frames of event cameras are small

    def __init__(self, stretch: Stretch = "sample", init: Init = "default") -> None:
        if stretch not in get_args(Stretch):
            raise ValueError(f"stretch is {' or '.join(get_args(Stretch))}, not {stretch!r}")
        super().__init__(channels="rgb", init=init, visible=VISIBLE)
        self.stretch = stretch

    @property
    def alone(self) -> bool:
        """Whether frames are stretched by those of the whole batch."""
        return self.stretch == "batch"

    def prepared(self, frames: Tensor) -> Tensor:
        """Stretch frames (B, 3, H, W) to [0, 1]; those of one grey become zero."""
        frames = wide(frames)
        axes = (1, 2, 3) if self.stretch == "sample" else (0, 1, 2, 3)
        least, most = (f(axes, keepdim=True) for f in (frames.amin, frames.amax))
        return (frames - least) / (most - least).clamp(min=1e-6)

    def resized(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize with corners aligned."""
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
