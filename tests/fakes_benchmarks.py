"""Writers of tiny fake data sets in the official layouts of benchmarks that nobody trains on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fakes_pictures import SIZE, Size, moving

from midframe.data.io import write_image

HD = {"1080p": [36, 64], "720p": [32, 48], "544p": [34, 64]}  # height, width
# what the layouts' options must say of pictures as small as these, by module.function
SMALL: dict[str, dict[str, object]] = {
    "x4k.scenes": {"size": [64, 96]},
    "xiph.clips": {"size": [64, 96], "frames": 5},
    "hd.videos": {"sizes": HD},
}


def ucf101_triplets(root: Path, count: int = 3, size: Size = SIZE) -> Path:
    """Write triplets of Deep Voxel Flow's UCF101 as folders of three named pictures."""
    names = {"frame_00": 0.0, "frame_01_gt": 0.5, "frame_02": 1.0}
    for i in range(count):
        for name, time in names.items():
            write_image(root / f"{10 * i + 1}" / f"{name}.png", moving(time, size, seed=i))
    return root


def middlebury_evaluation(root: Path, scenes: int = 8, size: Size = SIZE) -> Path:
    """Write the first scenes of Middlebury "evaluation": two frames each, and no truth."""
    from midframe.data.layouts.middlebury import EVALUATION

    for seed, scene in enumerate(EVALUATION[:scenes]):
        for number, time in ((10, 0), (11, 1)):
            path = root / "eval-data" / scene / f"frame{number}.png"
            write_image(path, moving(time, (size[0] + 4 * seed, size[1]), seed=seed))
    return root


def gopro_clips(root: Path, frames: int = 9, size: Size = SIZE) -> Path:
    """Write all test videos of GoPro, the first of twice as many frames."""
    from midframe.data.layouts.gopro import VIDEOS

    return _videos(root, VIDEOS["test"], frames, size)


def adobe240_clips(root: Path, frames: int = 9, size: Size = SIZE) -> Path:
    """Write all test videos of Adobe240 as frames, the first of twice as many."""
    from midframe.data.layouts.adobe240 import TEST

    return _videos(root, TEST, frames, size)


def _videos(root: Path, names: Sequence[str], frames: int, size: Size) -> Path:
    for seed, name in enumerate(names):
        for i in range(frames * (2 if seed == 0 else 1)):
            write_image(root / name / f"{47 + i:06d}.png", moving(i / 8, size, seed=seed))
    return root


def x4k(root: Path, scenes: int = 1, size: Size = (64, 96)) -> Path:
    """Write so many scenes of each of X-TEST's three types, all 33 frames."""
    for kind in (1, 2, 3):
        for i in range(scenes):
            for number in range(33):
                folder = root / f"Type{kind}" / f"TEST{5 * kind + i - 4:02d}_003_f0433"
                picture = moving(number / 32, size, seed=10 * kind + i)
                write_image(folder / f"{number:04d}.png", picture)
    return root


def xiph(
    root: Path, videos: int = 8, frames: int = 5, size: Size = (64, 96), flat: bool = True
) -> Path:
    """Write the first frames of clips, as <clip>-<number>.png or in a folder per clip."""
    for seed in range(videos):
        for number in range(1, frames + 1):
            name = f"Clip{seed}-{number:03d}.png" if flat else f"Clip{seed}/{number:03d}.png"
            write_image(root / name, moving(number / 4, size, seed=seed))
    return root


def hd(root: Path, frames: int = 5) -> Path:
    """Write the raw videos of HD, 8 bit 4:2:0, in three folders of tiny sizes."""
    from midframe.video.colour import Colour, to_yuv
    from midframe.video.yuv import YuvFormat, YuvWriter

    for (split, (height, width)), count in zip(HD.items(), (4, 3, 4)):
        form = YuvFormat(width, height)
        for seed in range(count):
            with YuvWriter(root / f"HD{split}_GT" / f"video{seed}.yuv", form) as out:
                for number in range(frames):
                    rgb = moving(number / 2, (height, width), seed=seed).transpose(2, 0, 1)
                    out.write(to_yuv(rgb.astype(np.float32) / 255, form, Colour("bt709")))
    return root
