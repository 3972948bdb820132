"""The pictures of a result: predictions, true frames, flow, and what is handed in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from midframe.benchmark.journal import unwritable
from midframe.data.io import write_image
from midframe.picture import flow_picture, to_picture
from midframe.types import Prediction

IMAGES, TRUTH, FLOW, SUBMISSION = "images", "truth", "flow", "submission"


@dataclass(frozen=True)
class Pictures:
    """Where the pictures of a result go: images/<subset>/<id>.png and its like.

    Attributes:
        folder: of the result.
        truth: write the true frames as well.
        submission: write nothing but the predictions, under submission/ by the path that
            `midframe.benchmark.protocol.Protocol` says.
    """

    folder: Path
    truth: bool = True
    submission: str = ""

    def paths(self, subset: str, name: str) -> list[Path]:
        """Return the files that every finished image has; the prediction's, written last, first.

        Args:
            subset: of the benchmark.
            name: id of the image.
        """
        if self.submission:
            timed = "{t}" in self.submission
            clip_id, _, t = name.rpartition("@") if timed else (name, "", "")
            path = self.submission.format(id=clip_id, subset=subset, t=t)
            return [self.folder / SUBMISSION / path]
        kinds = (IMAGES, TRUTH) if self.truth else (IMAGES,)
        return [self.folder / kind / subset / f"{name}.png" for kind in kinds]

    def there(self, subset: str, name: str) -> bool:
        """Return whether the pictures of an image are written."""
        return all(path.is_file() for path in self.paths(subset, name))

    def write(
        self, subset: str, name: str, frame: Tensor, target: Tensor | None, flow: Tensor | None
    ) -> None:
        """Write the pictures of an image.

        Args:
            subset: of the benchmark.
            name: id of the image.
            frame: (3, H, W) in [0, 1], as it is measured.
            target: the true frame, or None.
            flow: (2, H, W) in pixels, to time 0, or None.

        Raises:
            UserError: if that is not possible.
        """
        image, *truth = self.paths(subset, name)
        try:
            if flow is not None and not self.submission:
                picture = flow_picture(flow.float().permute(1, 2, 0).cpu().numpy())
                write_image(self.folder / FLOW / subset / f"{name}.png", picture)
            if truth and target is not None:
                write_image(truth[0], to_picture(target))
            write_image(image, to_picture(frame))
        except OSError as error:
            raise unwritable(self.folder, error) from error


def flow_to_start(out: Prediction, t: Tensor) -> Tensor | None:
    """Return the flow (B, T, 2, H, W) from the target times to time 0, where a model gives flow.

    Of forward flow it is t times that from time 1 to 0, which lies where frame 1 has its pixels:
    good enough to look at.

    Args:
        out: of the model.
        t: (B, T) the target times.
    """
    if out.flow is None:
        return None
    if out.goes_forward:
        return out.flow[:, :, 1] * t.to(out.flow)[:, :, None, None, None]
    return out.flow[:, :, 0]


def folder_name(title: str) -> str:
    """Return a model's title as the name of a folder."""
    return re.sub(r"[^\w.+-]+", "_", title).strip("._") or "model"
