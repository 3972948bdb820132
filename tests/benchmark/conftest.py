"""A tiny Middlebury folder: three scenes of smooth texture that moves, in the shipped layout."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

SCENES = ("Beanbags", "Grove2", "Venus")


@pytest.fixture
def scenes(tmp_path):
    root = tmp_path / "middlebury"
    for number, name in enumerate(SCENES):
        rng = np.random.default_rng(number)
        picture = cv2.GaussianBlur(rng.integers(0, 256, (40, 80, 3), dtype=np.uint8), (0, 0), 2)
        (root / name).mkdir(parents=True)
        for shift, file in enumerate(("frame10.png", "frame10i11.png", "frame11.png")):
            part = picture[: 32 + 4 * number, 2 * shift : 2 * shift + 48]
            cv2.imwrite(str(root / name / file), part)
    return root
