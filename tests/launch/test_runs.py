"""Run directories: identity, locking, continuing, damaged checkpoints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from midframe.errors import UserError
from midframe.files import aside_of
from midframe.launch.run_checkpoints import newest_checkpoint
from midframe.launch.runs import identity, open_run, read_record


@pytest.fixture(autouse=True)
def _no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDFRAME_RUN", "")  # restored afterwards


def config(runs: Path, **changes: object) -> DictConfig:
    base = {
        "name": "a-b",
        "resume": "auto",
        "seed": 1,
        "paths": {"runs": str(runs)},
        "run": {"dir": None, "id": None, "step": None},
        "callbacks": {"best": {"x": 1}},
        "trainer": {"max_steps": 100},
        "model": {"net": {"_target_": "a.B", "size": "S", "init": "he"}},
    }
    return OmegaConf.create({**base, **changes})


def save(path: Path, step: int) -> None:
    torch.save({"global_step": step}, path)


def test_identity_follows_what_is_learnt_and_nothing_else(tmp_path: Path) -> None:
    one = identity(config(tmp_path))
    assert one == identity(config(tmp_path / "elsewhere", resume="never", logger={"wandb": 1}))
    assert one != identity(config(tmp_path, seed=2))
    assert one != identity(config(tmp_path, callbacks={"ema": {"decay": 0.9}}))


@pytest.mark.parametrize(
    ("key", "same"),
    [
        ("model.info", True),
        ("data.workers", True),
        ("expected", True),
        ("trainer.log_every_n_steps", True),
        ("trainer.checkpoint_every", True),
        ("trainer.threads", True),
        ("trainer.profiler", True),
        ("trainer.max_steps", False),
        ("trainer.precision", False),
        ("trainer.devices", False),
        ("trainer.sync_batchnorm", False),
        ("data.crop", False),
        ("data.val.limit", False),  # decides which checkpoint is the best
        ("model.net.size", False),
        ("weights", False),
    ],
)
def test_identity_leaves_out_how_a_run_is_watched_and_fed(
    tmp_path: Path, key: str, same: bool
) -> None:
    one, other = config(tmp_path), config(tmp_path)
    OmegaConf.update(one, key, 1, force_add=True)
    OmegaConf.update(other, key, 2, force_add=True)
    assert (identity(one) == identity(other)) == same


def test_unfinished_run_is_continued_and_finished_one_is_not(tmp_path: Path) -> None:
    first = open_run(config(tmp_path))
    assert first.checkpoint is None and first.step == 0
    save(first.dir / "last.ckpt", 40)
    first.close("interrupted")

    again = open_run(config(tmp_path))
    assert (again.dir, again.step) == (first.dir, 40)
    assert again.record["resumes"] == 1
    again.close("finished")

    new = open_run(config(tmp_path))
    assert new.dir.name == first.dir.name + "-2" and new.checkpoint is None
    new.close("finished")


def test_resume_never_starts_anew(tmp_path: Path) -> None:
    first = open_run(config(tmp_path))
    save(first.dir / "last.ckpt", 40)
    first.close("interrupted")
    new = open_run(config(tmp_path, resume="never"))
    assert new.dir != first.dir and new.checkpoint is None


def test_two_at_once_get_two_directories(tmp_path: Path) -> None:
    first, second = open_run(config(tmp_path)), open_run(config(tmp_path))
    assert first.dir != second.dir
    with pytest.raises(UserError, match="another process"):
        open_run(config(tmp_path, resume=str(first.dir)))


def damage(path: Path, how: str) -> None:
    """Spoil a file as disks and kills do."""
    data = bytearray(path.read_bytes())
    if how == "a flipped bit":
        data[data.index(b"weights go here")] ^= 4
    path.write_bytes(data[: {"empty": 0, "cut": len(data) // 2}.get(how, len(data))])


@pytest.mark.parametrize("how", ["empty", "cut", "a flipped bit"])
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture, how: str
) -> None:
    for name, step in (("best", 30), ("previous", 40), ("last", 50)):
        torch.save({"global_step": step, "a": tensor_of_bytes()}, tmp_path / f"{name}.ckpt")
    assert newest_checkpoint(tmp_path) == (tmp_path / "last.ckpt", 50)
    assert not capsys.readouterr().out
    damage(tmp_path / "last.ckpt", how)
    assert newest_checkpoint(tmp_path) == (tmp_path / "previous.ckpt", 40)
    said = capsys.readouterr().out
    assert (tmp_path / "last.damaged").is_file() and "last.ckpt is damaged" in said
    damage(tmp_path / "previous.ckpt", how)
    assert newest_checkpoint(tmp_path) == (tmp_path / "best.ckpt", 30)
    damage(tmp_path / "best.ckpt", how)
    assert newest_checkpoint(tmp_path) == (None, 0)


def tensor_of_bytes() -> torch.Tensor:
    return torch.frombuffer(bytearray(b"weights go here" * 100), dtype=torch.uint8)


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    run = open_run(config(tmp_path))
    run.release()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    aside = aside_of(run.dir / "last.ckpt").name.replace(f"-{os.getpid()}.", f"-{gone.pid}.")
    (run.dir / aside).write_bytes(b"half")
    open_run(config(tmp_path)).release()
    assert not (run.dir / aside).exists()


@pytest.mark.parametrize("what", ["missing", "foreign"])
def test_resume_from_nonsense_says_so(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.ckpt"
    if what == "foreign":
        path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="x.ckpt"):
        open_run(config(tmp_path, resume=str(path)))


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    first = open_run(config(tmp_path, run={"dir": str(tmp_path / "x")}))
    save(first.dir / "last.ckpt", 40)
    first.close("interrupted")
    other = {"net": {"_target_": "a.B", "size": "L"}}
    with pytest.raises(UserError, match="another model"):
        open_run(config(tmp_path, run={"dir": str(tmp_path / "x")}, model=other))
    with pytest.raises(UserError, match="another model"):
        ema = {"ema": {"decay": 0.9}}
        open_run(config(tmp_path, resume=str(first.dir), callbacks=ema))
    same = open_run(config(tmp_path, resume=str(first.dir)))
    assert same.step == 40


def test_a_finished_run_is_continued_only_with_more_steps(tmp_path: Path) -> None:
    first = open_run(config(tmp_path))
    save(first.dir / "last.ckpt", 100)
    first.save(metrics={"val/psnr": 31.0})
    first.close("finished")
    with pytest.raises(UserError, match="higher trainer.max_steps"):
        open_run(config(tmp_path, resume=str(first.dir)))
    more = open_run(config(tmp_path, resume=str(first.dir), trainer={"max_steps": 200}))
    assert more.step == 100 and more.record["metrics"] == {"val/psnr": 31.0}


def test_a_run_killed_at_its_last_step_may_be_brought_to_its_end(tmp_path: Path) -> None:
    first = open_run(config(tmp_path))
    save(first.dir / "last.ckpt", 100)
    first.release()  # killed: the record says running
    again = open_run(config(tmp_path))
    assert (again.dir, again.step, again.record["resumes"]) == (first.dir, 100, 1)
    again.release()
    with pytest.raises(UserError, match="at step 100 of 50;"):
        open_run(config(tmp_path, resume=str(first.dir), trainer={"max_steps": 50}))


def test_another_optimizer_is_refused_and_an_older_record_is_not(tmp_path: Path) -> None:
    def adam(name: str) -> dict[str, object]:
        return {"build": {"_target_": f"torch.optim.{name}", "lr": 0.1}}

    first = open_run(config(tmp_path, optimizer=adam("AdamW")))
    save(first.dir / "last.ckpt", 40)
    continues = dict(first.record["continues"])
    first.close("interrupted")
    with pytest.raises(UserError, match="torch.optim.AdamW.*torch.optim.Adam'"):
        open_run(config(tmp_path, resume=str(first.dir), optimizer=adam("Adam")))
    older = open_run(config(tmp_path, resume=str(first.dir), optimizer=adam("AdamW")))
    del continues["optimizer"]
    older.save(continues=continues)
    older.close("interrupted")
    open_run(config(tmp_path, resume=str(first.dir), optimizer=adam("Adam"))).release()


def test_a_directory_without_a_step_is_removed_by_who_made_it(tmp_path: Path) -> None:
    made = open_run(config(tmp_path))
    made.close("failed", steps=0)
    assert not made.dir.exists()

    told = open_run(config(tmp_path))
    (told.dir / "nan_batch.pt").touch()  # something to look at
    told.close("failed", steps=0)
    assert read_record(told.dir)["status"] == "failed"
    (told.dir / "nan_batch.pt").unlink()

    found = open_run(config(tmp_path))
    found.close("failed", steps=0)
    assert found.dir == told.dir and found.dir.exists()


def test_starting_anew_in_a_chosen_directory_keeps_the_old_checkpoint_aside(
    tmp_path: Path,
) -> None:
    first = open_run(config(tmp_path, run={"dir": str(tmp_path / "x")}))
    save(first.dir / "last.ckpt", 40)
    first.close("interrupted")
    anew = open_run(config(tmp_path, run={"dir": str(tmp_path / "x")}, resume="never"))
    assert anew.checkpoint is None and (tmp_path / "x" / "last.earlier").is_file()
    assert newest_checkpoint(tmp_path / "x") == (None, 0)


def test_a_foreign_rank_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.delenv("MIDFRAME_RUN", raising=False)
    with pytest.raises(UserError, match="start one process"):
        open_run(config(tmp_path))


def test_record_is_json_with_versions(tmp_path: Path) -> None:
    run = open_run(config(tmp_path))
    run.close("finished")
    record = json.loads((run.dir / "run.json").read_text())
    assert record["status"] == "finished" and "torch" in record["versions"]
    assert record["command"] == ["python", "train.py"]
