"""VGG-19 with torchvision's weights: the network, and where its weights come from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from midframe.errors import UserError
from midframe.files import aside_of, remove_leftovers, sha256_of
from midframe.models.weights import read_checkpoint

FILE = "vgg19-dcbb9e9d.pth"  # torchvision's checkpoint; its name carries its digest
MEAN = (0.485, 0.456, 0.406)  # of ImageNet, R, G, B
DEVIATION = (0.229, 0.224, 0.225)
POOL = 0
# Widths of VGG-19 up to relu4_4, and where the size is halved.
LAYERS = (64, 64, POOL, 128, 128, POOL, *[256] * 4, POOL, *[512] * 4)
HALVINGS = LAYERS.count(POOL)
SECONDS = 60  # without an answer, a download is given up


class VGG19(nn.Module):
    """VGG-19 up to relu4_4: RGB (N, 3, H, W) in [0, 1] -> features (N, 512, H/8, W/8).

    Parameter names are those of torchvision's checkpoint, ``features.N.weight`` and ``.bias``.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks", ICLR 2015, table 1, E.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inside = 3
        for width in LAYERS:
            if width == POOL:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU()]
            inside = width
        self.features = nn.Sequential(*layers)
        for name, value in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        out: Tensor = self.features((x - self.mean) / self.deviation)
        return out


class Held:
    """A frozen network outside of the module that uses it: not in its parameters or its state.

    So it is in no checkpoint, optimizer or weight average, and copying the loss does not copy it.
    It goes to wherever the data is when it is called.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval().requires_grad_(False)

    def __deepcopy__(self, memo: dict[int, Any]) -> Held:
        return self

    def __call__(self, x: Tensor) -> Tensor:
        """Run the network where ``x`` is."""
        if next(self.network.parameters()).device != x.device:
            self.network.to(x.device)
        out: Tensor = self.network(x)
        return out


def load_vgg19(
    weights: str | os.PathLike[str] | None = None,
    url: str | None = None,
    sha256: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> VGG19:
    """Build the network with torchvision's weights, from a file or downloaded.

    Args:
        weights: path of the checkpoint, whose other layers are not read.
        url: where it is downloaded from if ``weights`` is not given and ``cache`` has none.
        sha256: the file's digest, or its first digits (at least 8) as torchvision's names carry
            them; None skips the check of a local file, a download needs it.
        cache: folder in which a download is kept.

    Raises:
        UserError: where there are no weights, or they are not the expected ones.
    """
    path, digest = find_vgg19(weights, url, sha256, cache), _digest(sha256)
    if path.is_file():
        _verify(path, digest)
    else:
        assert url is not None and digest is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(url, path, digest)
    return _load(path)


def find_vgg19(
    weights: str | os.PathLike[str] | None = None,
    url: str | None = None,
    sha256: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Path:
    """Return where the checkpoint is, or will be once it is downloaded; nothing is read.

    Args:
        weights: these are those of `load_vgg19`.
        url: see there.
        sha256: see there.
        cache: see there.

    Raises:
        UserError: where there are no weights and no way to them.
    """
    digest = _digest(sha256)
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise UserError(f"there is no file {path} with the weights of VGG-19; {_source()}")
        return path
    kept = None if cache is None else Path(cache).expanduser() / FILE
    if kept is not None and kept.is_file():
        return kept
    if url is None:
        looked = "" if kept is None else f" and {kept} is not there"
        raise UserError(f"the VGG loss has no weights{looked}; {_source()}")
    if kept is None or digest is None:
        raise UserError(f"a download from {url} needs a cache folder and the file's sha256")
    return kept


def _source() -> str:
    return (
        f"get torchvision's public checkpoint {FILE} and give its path as loss.terms.NAME.term."
        "weights, or its address as loss.terms.NAME.term.url"
    )


def _digest(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    digest = str(sha256).strip().lower()
    if not 8 <= len(digest) <= 64 or set(digest) - set("0123456789abcdef"):
        raise UserError(f"sha256={sha256!r} is no digest; give 8 to 64 hexadecimal digits of it")
    return digest


def _verify(path: Path, digest: str | None, origin: str | None = None) -> None:
    """Raise UserError unless the file's SHA-256 begins with the digest."""
    if digest is None:
        return
    found = sha256_of(path)
    if not found.startswith(digest):
        raise UserError(
            f"{origin or path} is not the expected file: its SHA-256 is {found}, not "
            f"{digest}{'' if len(digest) == 64 else '...'}; {_source()}"
        )


def _download(url: str, path: Path, digest: str) -> None:
    """Write aside, check, rename: two runs at once or a broken line leave no half file."""
    from http.client import HTTPException
    from urllib.request import urlopen

    remove_leftovers(path.parent)
    aside = aside_of(path)
    try:
        with aside.open("wb") as out, urlopen(url, timeout=SECONDS) as answer:
            shutil.copyfileobj(answer, out, 1 << 20)
        _verify(aside, digest, origin=url)
        aside.replace(path)
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"cannot download {url} ({reason}); {_source()}") from error
    finally:
        aside.unlink(missing_ok=True)


def _load(path: Path) -> VGG19:
    """Build the network with the weights of a file, strict on the layers that are used."""
    network, state = VGG19(), read_checkpoint(path)
    own = network.state_dict()
    wrong = [
        name
        for name, value in own.items()
        if not isinstance(state.get(name), Tensor) or state[name].shape != value.shape
    ]
    if wrong:
        raise UserError(
            f"{path} does not fit VGG-19: {len(wrong)} of {len(own)} entries are missing or have "
            f"another shape, such as {wrong[0]}; {_source()}"
        )
    network.load_state_dict({name: state[name] for name in own})
    return network
