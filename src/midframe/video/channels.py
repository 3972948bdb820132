"""Layouts of the channels of sound: which one stands for another where an encoder refuses it."""

from __future__ import annotations

from typing import Any

# Where channels of sound that does not say so are, by their number, as FFmpeg has it.
_DEFAULT = {
    **{1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"},
    **{12: "7.1.4", 16: "hexadecagonal", 24: "22.2"},
}
_USUAL = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")  # that most encoders take
_EXCHANGED = {"libopus": ("5.0", "6.1")}  # whose channels FFmpeg's encoder puts in wrong places
_BESIDE = {"SL": "BL", "SR": "BR"}  # the pair behind, of layouts that have one only


def layout_of(layout: Any) -> str | None:
    """Return where channels are; None where nobody can know."""
    if " channels" in layout.name:  # only their number is known, or an order of their own
        return _DEFAULT.get(layout.nb_channels)
    return layout.name


def said(before: Any, after: Any) -> str:
    """Return what became of the channels, for people; "" if they are where they were."""
    given, layout = layout_of(before), after.name
    if given is None or _places(given) == _places(layout):
        return ""
    how = "as" if layout in holding(given, "") else "mixed down to"
    return f"channels {given} {how} {layout}"


def _places(layout: str) -> frozenset[str]:
    """Return the channels of a layout, the pair behind by one name wherever it stands."""
    import av

    names = {channel.name for channel in av.AudioLayout(layout).channels}
    if not names & set(_BESIDE.values()):
        names = {_BESIDE.get(name, name) for name in names}
    return frozenset(names)


def holding(given: str, name: str) -> list[str]:
    """Return layouts that hold all channels of one, the nearest first."""
    import av

    have = spread = _places(given)
    if "BC" in have:  # behind: what two beside each other can stand for
        names = {channel.name for channel in av.AudioLayout(given).channels}
        spread = frozenset({*names - {"BC"}, "BL", "BR"})
    same = [one for one in _USUAL if _places(one) == have]
    near = [one for one in _USUAL if have < _places(one) and len(_places(one)) == len(have) + 1]
    wide = [one for one in _USUAL if spread <= _places(one)]
    # few players know AAC that has its pair at the sides
    first = [*same, given] if name == "aac" else [given, *same]
    found = dict.fromkeys([*first, *near, *wide])
    return [one for one in found if one not in _EXCHANGED.get(name, ())]


def below(given: str, name: str) -> list[str]:
    """Return layouts that one is mixed down to."""
    return ["5.1", "stereo", "mono"] if len(_places(given)) > 6 else ["stereo", "mono"]
