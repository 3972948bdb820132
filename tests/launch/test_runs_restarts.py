"""A launch that Slurm or torchrun starts again goes on, whatever its command says of the start."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from test_runs import config, save

from midframe.errors import UserError
from midframe.launch import locks, restarts
from midframe.launch.run_checkpoints import newest_checkpoint
from midframe.launch.runs import Run, open_run


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDFRAME_RUN", "")  # restored afterwards
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "77")


def killed(run: Run, step: int) -> None:
    if step:
        save(run.dir / "last.ckpt", step)
    run.release()


def test_a_requeued_job_goes_on_although_it_was_told_to_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(open_run(config(tmp_path)), 90)  # in the same shell before, which is left alone
    anew = config(tmp_path, resume="never")
    first = open_run(anew)
    killed(first, 40)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = open_run(anew)
    assert (again.dir, again.step, again.record["resumes"]) == (first.dir, 40, 1)
    killed(again, 50)
    monkeypatch.setenv("SLURM_JOB_ID", "78")  # another job: its own begins anew
    assert open_run(anew).dir not in (first.dir, tmp_path)


def test_the_same_job_by_hand_begins_anew(tmp_path: Path) -> None:
    anew = config(tmp_path, resume="never")
    first = open_run(anew)
    killed(first, 40)
    assert open_run(anew).dir != first.dir  # a shell of salloc: nobody has started it again


def test_who_trained_beside_another_goes_on_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "76")
    other = open_run(config(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    beside = open_run(config(tmp_path))
    killed(beside, 20)
    killed(other, 30)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = open_run(config(tmp_path))
    assert beside.dir != other.dir
    assert (again.dir, again.step) == (beside.dir, 20)


def test_a_chosen_directory_is_not_emptied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anew = config(tmp_path, resume="never", run={"dir": str(tmp_path / "x")})
    killed(open_run(anew), 40)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert open_run(anew).step == 40


def test_a_requeued_job_does_not_go_back_to_the_checkpoint_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "step30.ckpt", 30)
    old = config(tmp_path, resume=str(tmp_path / "step30.ckpt"))
    killed(open_run(old), 0)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run = open_run(old)
    assert run.step == 30  # nothing was saved meanwhile
    killed(run, 45)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert open_run(old).step == 45


def test_who_goes_back_to_an_earlier_checkpoint_leaves_the_later_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = open_run(config(tmp_path))
    for name, step in (("best", 30), ("previous", 40), ("last", 50)):
        save(run.dir / f"{name}.ckpt", step)
    run.close("interrupted")
    back = open_run(config(tmp_path, resume=str(run.dir / "best.ckpt")))
    back.release()  # killed before it saved anything
    assert back.step == 30 and newest_checkpoint(run.dir) == (run.dir / "best.ckpt", 30)
    assert "last.ckpt of step 50 is kept as last.earlier" in capsys.readouterr().out
    assert (run.dir / "previous.earlier").is_file()


def test_a_job_that_was_finished_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_run(config(tmp_path))
    save(first.dir / "last.ckpt", 100)
    first.close("finished")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(UserError, match="is finished, and slurm 77 was only started again"):
        open_run(config(tmp_path))


@pytest.mark.slow
def test_what_a_dead_node_still_holds_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = open_run(config(tmp_path))
    save(first.dir / "last.ckpt", 40)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    threading.Timer(0.5, first.release).start()
    again = open_run(config(tmp_path))
    assert (again.dir, again.step) == (first.dir, 40)
    assert "waiting for the former start of slurm 77" in capsys.readouterr().out
    monkeypatch.setattr(locks, "LEASE", 0.2)
    with pytest.raises(UserError, match="another process"):
        open_run(config(tmp_path, resume=str(first.dir)))


def test_what_is_a_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert restarts.launch() == "slurm 77" and restarts.restarted() is None
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert restarts.restarted() == "slurm 77"
    monkeypatch.delenv("SLURM_JOB_ID")
    assert restarts.launch() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    first = restarts.launch()
    assert first is not None and first.startswith("torchrun none") and not restarts.restarted()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert restarts.restarted() == first
