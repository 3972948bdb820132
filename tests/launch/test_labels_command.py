"""`midframe labels`: what it writes, stopped and continued, shared, refused, and trained on."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch

from midframe.data.flow_files import FloFile
from midframe.data.io import ImageFile, write_image
from midframe.engine.teachers import DisFlow
from midframe.errors import UserError
from midframe.launch.labels import run, shard_of
from midframe.launch.tasks import train_main
from midframe.losses.flow import FlowDistillation
from midframe.models.dis_flow import create_dis, estimate, grey

COUNT = 6
SIZE = (40, 48)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fakes.vimeo_triplets(tmp_path / "vimeo", train=COUNT, size=SIZE, flow=False)


def label(root: Path, *overrides: str) -> int:
    return run(["data=vimeo", f"data.root={root}", "teacher=dis", *overrides])


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all label files below a folder."""
    found = folder.rglob("flow_*")  # what is written aside has other names
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
    }


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("flow_*")}


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error:")]
    return line


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the pairs that are estimated and the frames that are read."""
    counted = {"pairs": 0, "frames": 0}
    compute, read = DisFlow.__call__, ImageFile.read

    def counting_compute(self, first, second):
        counted["pairs"] += len(first)
        return compute(self, first, second)

    def counting_read(self, box=None):
        counted["frames"] += 1
        return read(self, box)

    monkeypatch.setattr(DisFlow, "__call__", counting_compute)
    monkeypatch.setattr(ImageFile, "read", counting_read)
    return counted


def test_labels_are_the_estimators_and_lie_where_the_layout_looks(root: Path, capsys) -> None:
    assert label(root) == 0
    assert f"{COUNT} samples labelled, 0 were there already" in (out := capsys.readouterr().out)
    assert f"labels {COUNT}/{COUNT} samples | " in out and "samples/s" in out and "min left" in out
    dis = create_dis("medium")
    for clip in fakes.labelled(root):
        frames = [torch.from_numpy(frame.read()).permute(2, 0, 1) / 255 for frame in clip.frames]
        first, target, last = (grey(frame) for frame in frames)
        for source, end in zip(clip.flow[1], (first, last)):
            assert source.path.startswith(str(root / "flow" / clip.id / "flow_t"))
            np.testing.assert_array_equal(source.read(), estimate(dis, target, end))
    inner = clip.flow[1][1].read()[8:-8, 8:-8].mean((0, 1))
    np.testing.assert_allclose(inner, np.array(fakes.VELOCITY) / 2, atol=0.3)
    assert all(not clip.flow for clip in fakes.labelled(root, "test"))


KILLED = """
import os, signal, sys
from pathlib import Path
from midframe.engine import labels
from midframe.launch.labels import run

whole, written, last = labels.write_flow, [], int(sys.argv[1])

def write(path, flow):
    whole(path, flow)
    written.append(path)
    if len(written) == last:
        Path(path).write_bytes(Path(path).read_bytes()[:100])  # in the middle of a file
        os.kill(os.getpid(), signal.SIGKILL)

labels.write_flow = write
run(sys.argv[2:])
"""


@pytest.mark.slow
def test_killed_half_way_it_completes_without_redoing_finished_work(
    root: Path, work: dict[str, int]
) -> None:
    command = ["data=vimeo", f"data.root={root}", "teacher=dis", "workers=1"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "6", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    flow = root / "flow"
    before = {**contents(flow)}, {**times(flow)}
    assert len(before[0]) == 5  # two samples, and one of the third's two fields
    for path in flow.rglob("flow_*"):
        assert FloFile(str(path)).read().shape == (*SIZE, 2)  # nothing is half there
    assert list(flow.glob("*.part"))
    finished = {k for k in before[0] if f"{k[:10]}/flow_t1.flo" in before[0]}
    assert len(finished) == 4

    assert label(root) == 0
    assert work == {"pairs": 2 * (COUNT - 2), "frames": 3 * (COUNT - 2)}
    after = contents(flow), times(flow)
    assert len(after[0]) == 2 * COUNT and not list(flow.glob("*.part"))
    for name in finished:
        assert after[0][name] == before[0][name]
        assert after[1][flow / name] == before[1][flow / name]
    assert label(root) == 0
    assert work["pairs"] == 2 * (COUNT - 2) and times(flow) == after[1]  # nothing left to do
    assert label(root, f"out={root / 'anew'}") == 0
    assert contents(root / "anew") == after[0]


def test_a_damaged_label_is_made_again(root: Path, work: dict[str, int]) -> None:
    assert label(root) == 0
    whole = contents(root / "flow")
    (root / "flow/00001/0002/flow_t1.flo").write_bytes(b"PIEH")
    work["pairs"] = 0
    assert label(root) == 0
    assert work["pairs"] == 2 and contents(root / "flow") == whole


def test_shards_together_equal_one_run(root: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert label(root, "shard=2/2") == 0
    out = capsys.readouterr().out
    assert f"{COUNT // 2} of the split 'train' are still to be labelled" in out
    assert len(contents(root / "flow")) == COUNT
    monkeypatch.setenv("RANK", "0")  # as torchrun starts it
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert label(root) == 0
    assert "use them:" in capsys.readouterr().out
    monkeypatch.delenv("RANK")
    assert label(root, f"out={root / 'one'}") == 0
    assert contents(root / "flow") == contents(root / "one")
    assert all(clip.flow for clip in fakes.labelled(root))


def test_who_has_which_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert shard_of("2/8") == (1, 8) and shard_of(None) == (0, 1)
    for wrong in ("0/8", "9/8", "2", "a/b"):
        with pytest.raises(UserError, match="shard=2/8, the second of eight"):
            shard_of(wrong)
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert shard_of(None) == (0, 1)  # a batch script itself, not a step of it
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert shard_of(None) == (3, 4)


def test_teachers_are_not_mixed(root: Path, capsys, work: dict[str, int]) -> None:
    assert label(root) == 0
    before = contents(root / "flow")
    capsys.readouterr()
    fast = "teacher.estimator.preset=ultrafast"
    assert label(root, fast) == 2
    line = error_line(capsys)
    assert "preset=medium, now name=dis preset=ultrafast" in line and "overwrite=true" in line
    assert contents(root / "flow") == before
    assert label(root, "dtype=float16") == 2
    assert label(root, fast, "overwrite=true") == 0
    after = contents(root / "flow")
    assert after.keys() == before.keys() and not set(after.values()) & set(before.values())
    work["pairs"] = 0
    assert label(root, fast, "overwrite=true") == 0  # the same teacher: nothing to replace
    assert work["pairs"] == 0


def test_a_wrong_option_deletes_nothing(root: Path, capsys) -> None:
    assert label(root) == 0
    before = contents(root / "flow")
    for wrong in ("workers=0", "device=gpu", "device=cuda:99", "dtype=int8", "shard=3/2"):
        assert label(root, "teacher.estimator.preset=ultrafast", "overwrite=true", wrong) == 2
        assert wrong in error_line(capsys)
        assert contents(root / "flow") == before
    assert label(root) == 0  # nor is it written down that labels of another teacher begin here


def test_labels_of_unknown_origin_are_not_touched(tmp_path: Path, capsys) -> None:
    root = fakes.vimeo_triplets(tmp_path)
    before = contents(root / "flow")
    assert label(root) == 2
    assert "labels of unknown origin" in error_line(capsys)
    assert contents(root / "flow") == before


def test_a_damaged_frame_stops_or_is_left_out(root: Path, capsys) -> None:
    bad = root / "sequences/00001/0002/im3.png"
    bad.write_bytes(bad.read_bytes()[:-20])
    assert label(root) == 2
    assert str(bad) in error_line(capsys)
    assert label(root, "data.on_error=skip") == 0
    assert "1 left out because a frame cannot be read" in capsys.readouterr().out
    assert [bool(c.flow) for c in fakes.labelled(root)] == [True, False] + [True] * 4
    write_image(bad, fakes.moving(1, SIZE, seed=1))
    assert label(root) == 0
    assert all(clip.flow for clip in fakes.labelled(root))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["teacher=none"], "choose who labels: teacher=liteflownet or pwcnet"),
        (["teacher=liteflownet"], "teach nothing; give teacher.weights=FILE"),
        (["teacher=pwcnet", "weights=nowhere.pt"], "there is no weights file nowhere.pt"),
        (["weights=x.pt"], "weights=x.pt: this teacher takes none"),
        (["dtype=int8"], "dtype=int8: give float32 or float16"),
        (["shard=3/2"], "shard=3/2"),
        (["workers=0"], "workers=0"),
    ],
)
def test_what_the_user_can_mend_is_one_line(root: Path, capsys, overrides, told) -> None:
    assert label(root, *overrides) == 2
    assert told in error_line(capsys)
    assert not contents(root / "flow")


def test_network_with_weights_labels_and_is_told_from_others(root: Path, capsys) -> None:
    from midframe.models.zoo import create_flow

    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        net = create_flow("pwcnet")
        paths.append(root / f"{seed}.pt")
        torch.save(net.state_dict(), paths[-1])
    command = ["teacher=pwcnet", "teacher.chunk=4", "device=cpu"]
    assert label(root, *command, f"weights={paths[1]}") == 0
    clip = fakes.labelled(root)[-1]
    first, target, _ = (
        torch.from_numpy(frame.read()).permute(2, 0, 1)[None].float() / 255 for frame in clip.frames
    )
    with torch.no_grad():
        wanted = net.estimate(target, first)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(clip.flow[1][0].read(), wanted, atol=1e-4)
    assert label(root, *command, f"teacher.weights={paths[0]}") == 2
    assert "weights_sha256=" in error_line(capsys)


def test_ctrl_c_says_how_to_go_on(root: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    compute, calls = DisFlow.__call__, []

    def interrupted(self, first, second):
        calls.append(len(first))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compute(self, first, second)

    monkeypatch.setattr(DisFlow, "__call__", interrupted)
    monkeypatch.setattr(DisFlow, "chunk", 4)
    assert label(root) == 130
    assert f"of {COUNT} samples are labelled; the same command goes on" in capsys.readouterr().err
    assert not list((root / "flow").glob("*.part"))
    monkeypatch.undo()
    assert label(root) == 0
    assert len(contents(root / "flow")) == 2 * COUNT


def test_training_distils_from_the_labels(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert label(root) == 0
    seen = []
    forward = FlowDistillation.forward

    def watched(self, pred, batch, model):
        value = forward(self, pred, batch, model)
        seen.append((batch, float(value.detach())))
        return value

    monkeypatch.setattr(FlowDistillation, "forward", watched)
    options = "data.crop=32 data.global_batch=3 data.workers=0 trainer=cpu trainer.max_steps=2"
    quiet = "trainer.val_check_interval=2 logger=none callbacks=none trainer.threads=1 name=t"
    none = "resize channel_order vertical_flip horizontal_flip transpose rotate time_reversal"
    augment = [f"data.augment.{name}=0" for name in none.split()]
    place = [f"data.root={root}", f"paths.runs={tmp_path / 'runs'}"]
    command = ["model=ifrnet_s", "data=vimeo", *options.split(), *quiet.split(), *augment, *place]
    assert train_main(command) == 0
    assert len(seen) == 2
    for batch, value in seen:
        assert batch.flow_valid is None or bool((batch.flow_valid == 1).all())
        assert batch.flow.shape == (3, 1, 2, 2, 32, 32) and value > 0
        inner = batch.flow[:, 0, 1, :, 8:-8, 8:-8].mean((0, 2, 3))
        torch.testing.assert_close(inner, torch.tensor(fakes.VELOCITY) / 2, atol=0.3, rtol=0)
    seen.clear()
    assert train_main([*command, "++data.labels=none", "resume=never"]) == 0
    assert not seen or all(value == 0 for _, value in seen)
