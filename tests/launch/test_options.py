"""`midframe options`: what there is to choose, from the files themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from midframe import cli
from midframe.launch import options
from midframe.paths import config_dir


def test_every_choice_is_listed_in_the_words_of_its_file(capsys):
    assert cli.main(["options"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for group in ("model", "data", "loss", "benchmark", "experiment"):
        at = lines.index(group)
        listed = {}
        for line in lines[at + 1 :]:
            if not line.startswith("  "):
                break
            name, _, meaning = line.strip().partition("  ")
            listed[name] = meaning.strip()
        for path in (config_dir() / group).glob("[!_]*.yaml"):
            text = path.read_text().replace("# @package _global_\n", "")
            assert listed[path.stem] and listed[path.stem] in text.partition("\n\n")[0]


def test_one_group_and_a_wrong_one(capsys):
    assert cli.main(["options", "trainer"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("trainer\n") and "ddp" in shown and "ifrnet" not in shown
    assert cli.main(["options", "nonsense"]) == 2
    assert "there are benchmark" in capsys.readouterr().err


def test_the_table_is_rewritten_and_the_rest_of_the_text_stays(tmp_path: Path):
    path = tmp_path / "text.md"
    path.write_text("before\n| `trainer` | old | what it decides |\n| `other` | kept | x |\nend\n")
    assert cli.main(["options", "--readme", str(path)]) == 0
    lines = path.read_text().splitlines()
    assert lines[0] == "before" and lines[2] == "| `other` | kept | x |" and lines[3] == "end"
    assert "`ddp_cpu`" in lines[1] and lines[1].endswith("| what it decides |")


def test_choices_of_a_project_are_listed_but_not_written_into_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "conf" / "loss" / "mine.yaml").write_text("# a loss of a project\nterms: {}\n")
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path))
    assert options.choices("loss")["mine"] == "a loss of a project"
    assert "mine" not in options.rewritten("| `loss` | x | y |")
