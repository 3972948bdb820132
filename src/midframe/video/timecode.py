"""The time of day or of a tape at which a film begins, carried to another rate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

_KEY = "timecode"
_LABEL = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.])(\d{2,3})")
_MOST = 255  # frames of a second that a track of timecode can count
_DAY = 24  # hours


def label_of(*metadata: Mapping[str, str]) -> str:
    """Return the first timecode among what is said of streams and the file, "" if there is none."""
    for some in metadata:
        for key, value in some.items():
            if key.lower() == _KEY and value.strip():
                return value.strip()
    return ""


def carried(label: str, before: Fraction | None, after: Fraction | None) -> str | None:
    """Return the timecode that names the same frame at another rate, None where there is none.

    Args:
        label: such as 01:00:00:12, or 01:00:00;12 of drop-frame, the last number being of frames.
        before: frames a second; None: unknown, or they vary.
        after: likewise, of the output.
    """
    found, counted, known = _LABEL.fullmatch(label), _counted(after), _counted(before)
    if found is None or not counted or int(found[1]) >= _DAY:
        return None
    frames, drop = int(found[5]), found[4] != ":"
    if known and frames >= known:
        return None
    if drop and not (_drops(before) and _drops(after)):
        return None  # it skips numbers to stay with the clock, which only these rates do
    if frames:
        if not known or frames * counted % known:
            return None
        frames = frames * counted // known
    return f"{found[1]}:{found[2]}:{found[3]}{';' if drop else ':'}{frames:02d}"


def _counted(rate: Fraction | None) -> int:
    """Return how many frames a timecode counts as a second, 0 where a rate has none."""
    number = round(rate or 0)
    near = rate is not None and number - Fraction(number, 990) <= rate <= number  # 24000/1001
    return number if near and number <= _MOST else 0


def _drops(rate: Fraction | None) -> bool:
    return _counted(rate) % 30 == 0 and rate != _counted(rate)
