"""A search by Optuna: the study outlives failures, kills and interruptions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from test_sweep_multirun import Ends, lr_of, many, only_sweep, pretend
from tiny import TINY

from midframe.errors import UserError
from midframe.launch.search import Range, Settings, Study, corners, mend, read_space, trials, word
from midframe.launch.sweep_jobs import STOPPED, Job
from midframe.launch.tasks import train_main

pytestmark = pytest.mark.slow

optuna = pytest.importorskip("optuna")

SPACE = {"optimizer.lr": {"log": [1e-5, 1e-1]}, "seed": {"int": [1, 3]}}


def study_of(folder: Path, n_trials: int = 6, **options: Any) -> Study:
    return Study(folder, Settings(space=read_space(SPACE), n_trials=n_trials, **options))


def go_through(study: Study, value: Any = lambda number: float(number)) -> list[list[str]]:
    """Run a study to its end on numbers of one's own."""
    seen = []
    for batch in trials(study, study.settings.batch):
        for number, words in batch:
            seen.append(words)
            study.tell(number, value(number))
    return seen


@pytest.mark.parametrize(
    ("space", "kind", "values"),
    [
        ({"float": [0, 1.5]}, "float", (0, 1.5)),
        ({"log": [1e-5, 1]}, "log", (1e-5, 1)),
        ({"int": [1, 9], "step": 2}, "int", (1, 9)),
        ({"int_log": [1, 1000]}, "int_log", (1, 1000)),
        (
            {"choice": [None, True, "a", [1, 2], {"b": 0.5}]},
            "choice",
            ("null", "true", "a", "[1,2]", "{b:0.5}"),
        ),
    ],
)
def test_spaces_are_data(space: dict[str, Any], kind: str, values: tuple[Any, ...]) -> None:
    found = read_space({"key": space})["key"]
    assert (found.kind, found.values) == (kind, values)


@pytest.mark.parametrize(
    "space",
    [
        3,
        {},
        {"float": [1, 2], "int": [1, 2]},
        {"float": [2, 1]},
        {"float": [1]},
        {"float": ["a", "b"]},
        {"float": [0, math.nan]},
        {"log": [0, 1]},
        {"int": [1.5, 2]},
        {"int": [True, 2]},
        {"choice": []},
        {"choice": "ab"},
        {"float": [0, 1], "step": 0},
        {"log": [1, 2], "step": 1},
        {"normal": [0, 1]},
    ],
)
def test_what_is_no_space(space: Any) -> None:
    with pytest.raises(UserError, match=r"hydra\.sweeper\.space\.key"):
        read_space({"key": space})


def test_values_stay_within_their_range(tmp_path: Path) -> None:
    space = {
        "a": {"float": [-1.0, 1.0], "step": 0.5},
        "b": {"log": [1e-4, 1e-1]},
        "c": {"int": [2, 8], "step": 3},
        "d": {"int_log": [1, 100]},
        "e": {"choice": ["x", None]},
    }
    study = Study(tmp_path, Settings(space=read_space(space), n_trials=30, sampler="random"))
    rows = [dict(w.split("=") for w in words) for words in go_through(study)]
    assert {float(row["a"]) for row in rows} <= {-1.0, -0.5, 0.0, 0.5, 1.0}
    assert all(1e-4 <= float(row["b"]) <= 1e-1 for row in rows)
    assert min(float(row["b"]) for row in rows) < 1e-3  # by the logarithm
    assert {int(row["c"]) for row in rows} == {2, 5, 8}
    assert all(1 <= int(row["d"]) <= 100 for row in rows)
    assert {row["e"] for row in rows} == {"x", "null"}


def test_a_search_that_goes_on_proposes_what_it_would_have(tmp_path: Path) -> None:
    for name in ("whole", "parts", "other"):
        (tmp_path / name).mkdir()
    whole = go_through(study_of(tmp_path / "whole", 14))
    first = go_through(study_of(tmp_path / "parts", 5))
    rest = go_through(study_of(tmp_path / "parts", 14))
    assert first + rest == whole and len({tuple(x) for x in whole}) == 14
    assert go_through(study_of(tmp_path / "other", 14, seed=100)) != whole
    assert go_through(study_of(tmp_path / "whole", 14)) == []


def test_it_finds_what_is_best(tmp_path: Path) -> None:
    """On -(log10(lr) + 3)^2 the later half of the trials is nearer to 1e-3 than the first."""
    space = read_space({"lr": {"log": [1e-6, 1.0]}})
    study = Study(tmp_path, Settings(space=space, n_trials=40))
    gaps = []
    for batch in trials(study, 1):
        for number, words in batch:
            gaps.append(abs(math.log10(float(words[0].partition("=")[2])) + 3))
            study.tell(number, -(gaps[-1] ** 2))
    assert sum(gaps[20:]) < 0.6 * sum(gaps[:20])
    best = study.best()
    assert best is not None and abs(math.log10(float(best[2][0][3:])) + 3) == min(gaps)


def test_what_is_no_number_has_failed_and_counts(tmp_path: Path) -> None:
    values = [math.nan, None, 3.0, math.inf, 1.0, 2.0]
    study = study_of(tmp_path)
    assert len(go_through(study, lambda number: values[number])) == 6
    states = [trial.state.name for trial in study.study.trials]
    assert states == ["FAIL", "FAIL", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    best = study.best()
    assert best is not None and best[:2] == (2, 3.0)


def test_trials_of_a_killed_launcher_go_on(tmp_path: Path) -> None:
    study = study_of(tmp_path, 4)
    study.tell(study.ask()[0], 1.0)
    number, words = study.ask()
    half = study.study.ask()  # killed before anything was proposed
    again = study_of(tmp_path, 4)
    assert again.open == {number: words}
    batches = [list(batch) for batch in trials(again, 1)][:1]
    assert batches == [[(number, words)]]
    assert again.study.trials[half.number].state.name == "FAIL"


def test_a_trial_that_was_stopped_is_left_for_another_time(tmp_path: Path) -> None:
    study = study_of(tmp_path, 3)
    seen = []
    for batch in trials(study, 1):
        for number, _ in batch:
            seen.append(number)
            if number != 1:
                study.tell(number, 1.0)
    assert seen == [0, 1, 2] and list(study.open) == [1]


def test_half_a_line_and_a_lock_of_a_killed_process_do_no_harm(tmp_path: Path) -> None:
    study = study_of(tmp_path, 2)
    go_through(study)
    journal = tmp_path / "study.journal"
    with journal.open("ab") as file:
        file.write(b'{"op_code":5,"wor')
    (tmp_path / "study.journal.lock").symlink_to("study.journal")
    mend(journal)
    assert study_of(tmp_path, 3).ended == 2
    assert len(go_through(study_of(tmp_path, 3))) == 1
    assert study_of(tmp_path, 3).ended == 3


def test_a_damaged_study_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.journal").write_text("no journal\nat all\n")
    with pytest.raises(UserError, match=r"study\.journal"):
        study_of(tmp_path)


def test_corners_hold_every_choice_and_every_end() -> None:
    space = {"a": Range("float", (0, 1)), "b": Range("choice", ("x", "y", "z"))}
    found = [set(words) for words in corners(space)]
    assert {"a=0", "a=1", "b=x", "b=y", "b=z"} == set().union(*found)
    assert len(found) == 1 + 1 + 2


def test_words_are_read_back_as_they_were() -> None:
    assert [word(x) for x in (1e-05, 0.25, 3, False, "a")] == ["1e-05", "0.25", "3", "false", "a"]
    for x in (0.1 + 0.2, 1234567.0, 0.123456789, 1e22, -1 / 3):
        assert OverridesParser.create().parse_override(f"key={word(x)}").value() == x


def search(runs: Path, trials: int, *words: str) -> int:
    lr = "optimizer.lr=tag(log,interval(1e-5,1e-1))"
    return many(runs, "sweep=optuna_lr", lr, f"hydra.sweeper.n_trials={trials}", *words)


def test_failed_trials_do_not_stop_it_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def result(job: Job) -> float | int:
        return -9 if job.number == 1 else 20 - abs(math.log10(lr_of(job)) + 3)

    ends = pretend(monkeypatch, result)
    assert search(tmp_path, 3) == 0
    said = capsys.readouterr().out
    assert "3 trials ended, 1 of them failed" in said and "best: trial" in said
    assert "job 1 failed: killed by SIGKILL" in said and len(ends.started) == 3
    assert "sweep=" not in said.rpartition("best: trial")[2]  # the command of the best trial
    assert search(tmp_path, 3) == 0 and len(ends.started) == 3  # nothing is left to do
    assert search(tmp_path, 4) == 0 and len(ends.started) == 4  # more trials of the same search
    sweep = only_sweep(tmp_path)
    assert sweep.folder.name.startswith("optuna_lr-") and len(sweep.jobs) == 4
    assert sweep.record["objective"] == {"metric": "val/psnr", "goal": "max", "take": "best"}
    lrs = [lr_of(job) for job in sweep.jobs]
    assert len(set(lrs)) == 4 and all(1e-5 <= lr <= 1e-1 for lr in lrs)


def test_an_interrupted_trial_goes_on_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(job: Job) -> float:
        if job.number == 1:
            job.end(STOPPED)
            raise KeyboardInterrupt
        return 1.0

    first = pretend(monkeypatch, interrupted)
    assert search(tmp_path, 3) == 130
    assert "the same command goes on" in capsys.readouterr().err
    second = pretend(monkeypatch, lambda job: 2.0)
    assert search(tmp_path, 3) == 0
    assert second.started[0] == first.started[1] and len(second.started) == 2
    assert [job.value for job in only_sweep(tmp_path).jobs] == [1.0, 2.0, 2.0]


def test_a_search_without_m_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_main([*TINY, "sweep=optuna_lr", f"paths.runs={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert "sweep=optuna_lr takes -m: " in said and " -m experiment=smoke" in said
    assert not list(tmp_path.iterdir())


def test_trials_that_propose_the_same_share_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a small space a batch may hold a proposal twice; it ran over itself."""
    ends = pretend(monkeypatch, lambda job: 3.0)
    words = ["sweep=optuna_lr", "~hydra.sweeper.space", "seed=choice(1,2)"]
    words += ["hydra.sweeper.n_trials=6", "hydra.sweeper.batch=6"]
    assert many(tmp_path, *words) == 0
    sweep = only_sweep(tmp_path)
    assert len(ends.started) == len(sweep.jobs) == 2
    study = Study(sweep.folder, Settings(space={}, n_trials=6))
    assert [trial.value for trial in study.study.trials] == [3.0] * 6


def test_no_trial_that_works_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, lambda job: 1)
    assert search(tmp_path, 1) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra.sweeper.direction=up"], "maximize, minimize or null"),
        (["hydra.sweeper.sampler.name=grid"], "there are tpe, random"),
        (["hydra.sweeper.take=worst"], "best or last"),
        (["data.crop=choice(32,33)"], "crop 33 is no multiple"),
        (["hydra.sweeper.batch=-1"], "batch=-1 must be a whole number above 0"),
        (["hydra.sweeper.batch=two"], "batch=two must be a whole number above 0"),
        (["hydra.sweeper.n_trials=null"], "n_trials=None must be a whole number above 0"),
        (["+hydra.sweeper.sampler.foo=3"], "Optuna's TPESampler refuses foo"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    ends: Ends = pretend(monkeypatch, lambda job: 1.0)
    assert search(tmp_path, 2, *words) == 2
    assert said in capsys.readouterr().err and not ends.started and not list(tmp_path.iterdir())
