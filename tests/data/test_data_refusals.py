"""What a data set or a folder of labels cannot do is said in one line that names the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from midframe.data import manifest
from midframe.data.io import write_image
from midframe.data.labels import label_path
from midframe.data.layouts.synthetic import synthetic
from midframe.data.module import Data
from midframe.data.records import Clip
from midframe.data.shards import ShardFrame, read_json
from midframe.errors import UserError

HEAD = {"data": "a", "options": {}, "teacher": {"name": "dis"}, "dtype": "float16"}


def data(**options: Any) -> Data:
    def layout(root: Path | None, split: str, context: int) -> list:
        return []

    return Data("mine", layout, **options)


def written_label(folder: Path) -> Path:
    clip = Clip("a", (), (0, 2), (1,))
    path = Path(label_path(folder, clip, 1, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"flow")
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: data(seed=-1), "seed=-1: give a number from 0 on"),
        (lambda: data(workers=-2), "data.workers=-2"),
        (lambda: data().clips("val"), "data mine: the split 'val' has no clip"),
        (lambda: synthetic(None, "train", size=8), "data.layout.size=8 is too small"),
    ],
)
def test_options_of_data(make: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_folder_of_labels_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=f"{folder}: the folder cannot be made"):
            manifest.claim(folder, HEAD, "train", overwrite=False)


def test_labels_made_otherwise_are_kept_unless_they_are_to_be_replaced(tmp_path: Path) -> None:
    manifest.claim(tmp_path, HEAD, "train", overwrite=False)
    label = written_label(tmp_path)
    manifest.claim(tmp_path, HEAD, "val", overwrite=False)  # the same maker: another split joins
    assert set(manifest.read_manifest(tmp_path)["splits"]) == {"train", "val"}

    other = {**HEAD, "teacher": {"name": "pwcnet"}}
    with pytest.raises(UserError, match="teacher: name=dis, now name=pwcnet.*overwrite=true"):
        manifest.claim(tmp_path, other, "train", overwrite=False)
    assert label.exists() and manifest.read_manifest(tmp_path)["teacher"] == HEAD["teacher"]

    manifest.claim(tmp_path, other, "train", overwrite=True)
    found = manifest.read_manifest(tmp_path)
    assert found["teacher"] == other["teacher"] and set(found["splits"]) == {"train"}
    assert not found["clearing"] and not label.exists()


def test_labels_of_unknown_origin_are_not_taken_for_ones_own(tmp_path: Path) -> None:
    label = written_label(tmp_path)
    with pytest.raises(UserError, match="labels of unknown origin"):
        manifest.claim(tmp_path, HEAD, "train", overwrite=False)
    assert label.exists()
    manifest.claim(tmp_path, HEAD, "train", overwrite=True)
    assert not label.exists()


def test_a_shard_that_was_cut_or_is_no_file_is_named(tmp_path: Path) -> None:
    short = tmp_path / "short.bin"
    short.write_bytes(bytes(10))
    with pytest.raises(UserError, match="short.bin: the shard is cut short"):
        ShardFrame(str(short), 0, 4, 4).read()
    for name in ("gone.bin", "empty.bin"):
        (tmp_path / "empty.bin").touch()
        with pytest.raises(UserError, match=f"{name}: the shard cannot be read"):
            ShardFrame(str(tmp_path / name), 0, 4, 4).read()


def test_an_index_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    with pytest.raises(UserError, match="index.json: cannot be read"):
        read_json(path, "frames")
    for text, words in (("{", "damaged"), ("[]", "not an index of frames"), ('{"kind": 1}', "not")):
        path.write_text(text)
        with pytest.raises(UserError, match=words):
            read_json(path, "frames")


def test_a_picture_of_an_unknown_kind_names_its_file(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="takes .* uint8"):
        write_image(tmp_path / "a.png", pixels.astype(np.float32))
    with pytest.raises(UserError, match=r"a\.nonsense.*use \.png"):
        write_image(tmp_path / "a.nonsense", pixels)
    assert not list(tmp_path.iterdir())
