"""Data of flow networks: labels at the frames' own times stay true through every augmentation."""

from __future__ import annotations

import fakes
import numpy as np
import pytest
import torch

from midframe.data.dataset import ClipDataset, collate
from midframe.data.flow_files import NoMotion
from midframe.data.io import ImageFile
from midframe.data.layouts.flyingchairs import pairs
from midframe.data.layouts.synthetic import synthetic
from midframe.data.module import Data
from midframe.data.records import Ticket
from midframe.data.shards import open_packed
from midframe.data.transforms import Augment
from midframe.errors import UserError
from midframe.ops import backwarp
from midframe.types import known_flow

ALL = {
    "resize": 0.4,
    "channel_order": 0.5,
    "vertical_flip": 0.5,
    "horizontal_flip": 0.5,
    "transpose": 0.5,
    "rotate": 0.5,
    "time_reversal": 0.5,
}


def photometric(batch) -> tuple[float, float]:
    """Mean difference of each frame to the other sampled along the label, and to it as it is."""
    frames = batch.float().inputs.frames * 255
    moved, still = [], []
    for b, times in enumerate(batch.inputs.t.tolist()):
        for k, t in enumerate(times):
            here, there = (frames[b, int(t)], frames[b, 1 - int(t)])
            assert torch.equal(here, batch.float().target[b, k] * 255)
            flow = batch.flow[b, k, 1 - int(t)][None]
            assert not batch.flow[b, k, int(t)].any()
            inside = backwarp(torch.ones_like(here[None]), flow, "zeros")[0, 0] > 0.999
            moved.append((backwarp(there[None], flow)[0] - here)[:, inside].abs().mean())
            still.append((there - here)[:, inside].abs().mean())
    return float(torch.stack(moved).mean()), float(torch.stack(still).mean())


def test_synthetic_pairs_have_exact_flow_both_ways_after_any_augmentation():
    clips = synthetic(None, "train", learns="flow", size=96, layers=(0, 1), motion=12, motion_min=6)
    data = ClipDataset(clips, augment=Augment((64, 56), **ALL))
    batch = collate([data[Ticket(epoch, i)] for epoch in range(3) for i in range(8)])
    assert batch.inputs.t.tolist() == [[0.0, 1.0]] * 24
    assert batch.flow.shape == (24, 2, 2, 2, 64, 56) and batch.flow_valid is None
    moved, still = photometric(batch)
    assert moved < 0.2 * still  # what a layer hides is all that is left
    batch.flow = batch.flow.flip(3)
    assert photometric(batch)[0] > 0.5 * still


def test_synthetic_targets_follow_what_is_learnt():
    clip = synthetic(None, "val", learns="flow", factor=8, size=32)[0]
    assert (clip.inputs, clip.targets) == ((0, 1), (0, 1)) and len(clip.frames) == 2
    assert clip.flow[0][0] == clip.flow[1][1] == NoMotion(32, 32)
    forth, back = clip.flow[0][1], clip.flow[1][0]
    assert (forth.start, forth.end, back.start, back.end) == (0.0, 1.0, 1.0, 0.0)
    between = synthetic(None, "val", factor=8, size=32)[0]
    assert between.targets == tuple(range(1, 8)) and set(between.flow) == set(between.targets)
    four = synthetic(None, "val", 2, learns="flow", size=32)[0]
    assert (four.inputs, four.targets) == ((0, 1, 2, 3), (1, 2))
    with pytest.raises(UserError, match="learns=both"):
        synthetic(None, "val", learns="both")
    with pytest.raises(UserError, match="nothing to learn"):
        synthetic(None, "val", learns="flow", flow=False)


def test_flyingchairs_by_the_official_list(tmp_path):
    fakes.flyingchairs(tmp_path, train=4, val=2)
    train, val = pairs(tmp_path, "train"), pairs(tmp_path, "val")
    assert [c.id for c in train] == ["00001", "00003", "00004", "00006"]
    assert [c.id for c in val] == ["00002", "00005"]
    clip = val[0]
    assert [f.path.split("/")[-1] for f in clip.frames] == ["00002_img1.ppm", "00002_img2.ppm"]
    assert (clip.inputs, clip.targets, clip.time(0)) == ((0, 1), (0,), 0.0)
    np.testing.assert_array_equal(clip.flow[0][1].read(), fakes.moving_flow(0, 1, velocity=(4, -2)))
    assert clip.flow[0][0] == NoMotion(*fakes.SIZE)
    assert train[0].flow[0][0] is train[1].flow[0][0]


def test_of_damaged_flow_the_first_that_is_whole_tells_the_size(tmp_path):
    fakes.flyingchairs(tmp_path, train=4, val=2)
    files = [tmp_path / "data" / f"{entry}_flow.flo" for entry in ("00002", "00005")]
    files[0].write_bytes(b"")
    assert pairs(tmp_path, "val")[0].flow[0][0] == NoMotion(*fakes.SIZE)
    files[1].write_bytes(b"")
    with pytest.raises(UserError, match="00002_flow"):
        pairs(tmp_path, "val")
    (tmp_path / "FlyingChairs_train_val.txt").write_text("1\n" * 6)
    assert len(pairs(tmp_path, "val")) == 0


def test_the_list_may_lie_beside_the_folder(tmp_path):
    root = tmp_path / "FlyingChairs_release"
    fakes.flyingchairs(root)
    (root / "FlyingChairs_train_val.txt").rename(tmp_path / "FlyingChairs_train_val.txt")
    assert len(pairs(root, "val")) == 2


def test_flyingchairs_labels_move_to_the_last_frame_when_time_is_reversed(tmp_path):
    fakes.flyingchairs(tmp_path, train=4, val=2, size=(64, 80))
    data = ClipDataset(pairs(tmp_path, "train"), augment=Augment((48, 40), **ALL))
    batch = collate([data[Ticket(epoch, i)] for epoch in range(6) for i in range(4)])
    assert set(batch.inputs.t.flatten().tolist()) == {0.0, 1.0}
    moved, still = photometric(batch)
    assert moved < 0.1 * still


def test_what_is_missing_of_flyingchairs_is_told(tmp_path, caplog):
    root = fakes.flyingchairs(tmp_path / "chairs")
    (root / "data" / "00003_img2.ppm").unlink()
    with pytest.raises(UserError, match=r"1 of 4 listed .*00003.*data\.on_error=skip"):
        pairs(root, "train")
    found = pairs(root, "train", on_error="skip")
    assert (len(found), found.missing) == (3, 1)
    with pytest.raises(UserError, match="no split 'test'; there are train, val"):
        pairs(root, "test")
    with pytest.raises(UserError, match="2 input frames and the model takes 4"):
        pairs(root, "train", 2)
    with pytest.raises(UserError, match="no frame between.*model=pwcnet"):
        pairs(root, "train", learns="frames")
    (root / "FlyingChairs_train_val.txt").write_text("1\n2\n3\n")
    with pytest.raises(UserError, match=r"entry 3 is '3'; .* 1 \(training\) or 2"):
        pairs(root, "train")
    (root / "FlyingChairs_train_val.txt").unlink()
    with pytest.raises(UserError, match="train_val.txt: no such file"):
        pairs(root, "train")
    with pytest.raises(UserError, match="nowhere: no such file"):
        pairs(tmp_path / "nowhere", "train")


def test_a_damaged_pair_is_replaced_or_named(tmp_path):
    root = fakes.flyingchairs(tmp_path)
    for part in ("flow.flo", "img1.ppm"):
        path = root / "data" / f"00001_{part}"
        whole = path.read_bytes()
        path.write_bytes(whole[:-5])
        with pytest.raises(UserError, match=f"00001_{part}.*cut off"):
            ClipDataset(pairs(root, "train"))[0]
        skipping = ClipDataset(pairs(root, "train", on_error="skip"), on_error="skip")
        assert skipping[0].id != "00001" and skipping.skipped == 1
        path.write_bytes(whole)


def test_a_ppm_tells_its_size_from_the_header(tmp_path):
    picture = fakes.moving(0.0, (4, 6))
    path = tmp_path / "a.ppm"
    for text in ("P6\n6 4\n255\n", "P6 6 4 255 ", "P6\n# made by hand\n6 # wide\n4\n255\n"):
        path.write_bytes(text.encode() + picture.tobytes())
        assert ImageFile(str(path)).size() == (4, 6)
        np.testing.assert_array_equal(ImageFile(str(path)).read(), picture)
        path.write_bytes(text.encode() + picture.tobytes()[:-1])
        with pytest.raises(UserError, match=r"a\.ppm.*cut off"):
            ImageFile(str(path)).read()


def test_a_pack_keeps_pairs_and_stores_no_motion_once(tmp_path):
    from midframe.data.pack import pack_clips

    root = fakes.flyingchairs(tmp_path / "chairs")
    splits = {split: pairs(root, split) for split in ("train", "val")}
    pack_clips(splits, tmp_path / "pack", context=1, name="flyingchairs", root=root)
    data = Data("flyingchairs", pairs, tmp_path / "pack", crop=None, val={"split": "val"})
    again = data.clips("train")
    assert [c.targets for c in again] == [(0,)] * 4
    for old, new in zip(splits["train"], again):
        np.testing.assert_array_equal(old.flow[0][1].read(), new.flow[0][1].read())
        assert not new.flow[0][0].read().any()
    height, width = fakes.SIZE
    stored = sum(p.stat().st_size for p in (tmp_path / "pack" / "train").glob("*.bin"))
    assert stored < (4 * (2 * 3 + 4) + 2 * 4) * height * width


def test_unknown_flow_stays_unknown_from_the_file_to_the_batch(tmp_path):
    """Through a pack in half precision and through every augmentation: no value is made up."""
    from midframe.data.pack import pack_clips

    root = fakes.flyingchairs(tmp_path / "chairs", train=4, val=2, size=(64, 80))
    largest = 8.0  # px, see `fakes.flyingchairs`
    for path in root.glob("data/*.flo"):
        data = bytearray(path.read_bytes())
        field = np.frombuffer(data, np.float32, offset=12).reshape(64, 80, 2)
        field[30:33, 38:42] = 1.666666752e9
        field[10, 10, 1] = np.inf
        path.write_bytes(data)
    clips = pairs(root, "train")
    pack_clips({"train": clips}, tmp_path / "pack", context=1, name="flyingchairs", root=root)
    packed = open_packed(tmp_path / "pack", "train")
    for old, new in zip(clips, packed):
        one, two = old.flow[0][1].read(), new.flow[0][1].read()
        np.testing.assert_array_equal(np.isnan(one), np.isnan(two))
        assert np.isnan(one).sum() == 2 * 12 + 1
    for source in (clips, packed):
        data = ClipDataset(source, augment=Augment((48, 40), **ALL))
        batch = collate([data[Ticket(epoch, i)] for epoch in range(6) for i in range(4)])
        known = known_flow(batch.flow)
        assert batch.flow.isnan().sum() > 24 * 12
        most = torch.where(known.unsqueeze(3), batch.flow, 0).abs().max()
        assert 0 < float(most) <= 2 * largest
        assert known.float().mean() > 0.95
