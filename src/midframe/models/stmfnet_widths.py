"""Which options of ST-MFNet set which weights' channels, for compression."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from midframe.models.widths import Width

FEATURES_STEP = 16  # the squeeze of channels, and the groups of half of them, come out whole
_BLOCK = r"feature_extractor\.(de)?conv{}\.resnext_(small|large)\.(conv1|conv3|downsample\.0)"
_ROW = r"scale_synthesis\.(lateral_{0}|up_{0}|down_{1})_\d\.(f\.\d|conv)"
_LAYER = r"dyntex_generator\.encoder\.({})\..*"
_STEP = r"dyntex_generator\.decoder\.[{}]\..*"
_TEXTURE = (("layer1|stem", "234"), ("layer2", "1"), ("layer3", "0"), ("layer4", ""))


def _patterns(options: Mapping[str, int]) -> Iterable[tuple[str, str]]:
    """Return every option with what the names of its weights look like."""
    for option in options:
        group, _, place = option.partition(".")
        if group == "features":
            yield option, _BLOCK.format(int(place) + 1)
        elif group == "kernels":
            yield option, r"get_kernel\.\w+\.[02]"
        elif group == "grid":
            yield option, _ROW.format(place, int(place) - 1)
        elif group == "texture":
            layers, steps = _TEXTURE[int(place)]
            step = f"|{_STEP.format(steps)}" if steps else ""
            yield option, _LAYER.format(layers) + step
        else:
            yield option, r"dyntex_generator\.feature_fuse\.0"


def widths_of(
    options: Mapping[str, int | Sequence[int]],
    parameters: Iterable[tuple[str, Tensor]],
    idle: frozenset[str],
) -> tuple[Width, ...]:
    """Return the widths of a network with these options (features, kernels, ...).

    Args:
        options: widths as the network was built with.
        parameters: of the network, by name.
        idle: those that never change, which say nothing about how narrow it may be.
    """
    flat = {
        f"{name}.{place}" if isinstance(value, Sequence) else name: width
        for name, value in options.items()
        for place, width in enumerate(value if isinstance(value, Sequence) else (value,))
    }
    weights = [name for name, value in parameters if value.ndim >= 4 and name not in idle]
    found = []
    for option, pattern in _patterns(flat):
        step = FEATURES_STEP if option.startswith("features") else 1
        names = tuple(name for name in weights if re.fullmatch(rf"({pattern})\.weight", name))
        found.append(Width(option, flat[option], names, multiple=step, least=step))
    return tuple(found)
