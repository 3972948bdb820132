"""What a sweep shows of its jobs: a table on a terminal, else a line whenever a state changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from midframe.launch.sweep_jobs import FAILED, FINISHED, STOPPED
from midframe.launch.sweep_table import SweepTable, best_job, duration, summary
from midframe.launch.sweeps import Sweep


@pytest.fixture
def sweep(tmp_path: Path):
    """Five jobs: one of each state; the one that runs has come to step 40."""
    with Sweep.open(tmp_path / "s", command="midframe train -m seed=1,2,3,4,5") as found:
        for seed in "12345":
            found.job([f"seed={seed}", "model=ifrnet_s"], f"seed: {seed}")
        done, failed, stopped, running, _ = found.jobs
        for job in (done, failed, stopped, running):
            job.begin("cpu 1")
        done.end(FINISHED, value=31.25, metric="val/psnr", run=str(tmp_path / "r"))
        done.save(seconds=3725.0)
        failed.end(FAILED, error="loss is NaN at step 7")
        stopped.end(STOPPED, error="interrupted")
        run = tmp_path / "run"
        run.mkdir()
        (run / "run.json").write_text(json.dumps({"status": "running"}))
        rows = ["step,loss,val/psnr", "20,0.5,28.5", "40,0.4,27.25"]
        (run / "metrics.csv").write_text("\n".join(rows) + "\n")
        running.save(run=str(run))
        yield found


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_terminal_shows_all_jobs_and_how_far_those_are_that_run(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    with SweepTable(sweep, terminal=True):
        pass
    lines = [" ".join(x.split()) for x in _plain(capsys.readouterr().out).splitlines()]
    assert "0 finished seed=1 val/psnr 31.25 1:02:05" in lines
    assert "1 failed seed=2 loss is NaN at step 7" in lines
    assert "2 stopped seed=3 interrupted" in lines
    assert "3 running seed=4 cpu 1 step 40, val/psnr 28.5" in lines
    assert any(line.startswith("4 ") and line.endswith("seed=5") for line in lines)


def test_a_run_that_has_written_nothing_is_starting(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep.jobs[3].save(run=str(tmp_path / "nowhere"))
    with SweepTable(sweep, terminal=True):
        pass
    assert "cpu 1 starting" in _plain(capsys.readouterr().out)


def test_elsewhere_a_line_says_what_has_changed(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    with SweepTable(sweep, terminal=False):
        assert capsys.readouterr().out == ""
        sweep.jobs[3].end(FAILED, error="disk full")
    assert capsys.readouterr().out.split() == ["job", "3", "failed", "seed=4", "disk", "full"]


def test_the_end_says_what_is_left_and_how_it_goes_on(sweep: Sweep) -> None:
    lines = summary(sweep, "midframe train -m seed=1,2,3,4,5")
    assert lines[0].startswith("5 jobs: 1 finished, 1 failed, 3 left")
    assert lines[1].startswith("best: job 0, val/psnr 31.2500")
    assert lines[2].startswith("job 1 failed: loss is NaN at step 7")
    assert lines[3].endswith("midframe train -m seed=1,2,3,4,5")
    sweep.jobs[4].end(FINISHED, value=0.1, metric="loss")
    assert best_job(sweep) is None  # of what can be compared


@pytest.mark.parametrize(
    ("seconds", "said"), [(8.4, "8 s"), (3725, "1:02:05"), (float("inf"), "?"), (-1.0, "?")]
)
def test_times_are_read_at_a_glance(seconds: float, said: str) -> None:
    assert duration(seconds) == said
