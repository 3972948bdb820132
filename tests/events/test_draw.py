"""Pictures of events: colours and places, by pixels that can be worked out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recordings import drawn

from midframe.events import draw
from midframe.events.aedat import Read
from midframe.events.records import Events, Recording
from midframe.events.summary import lines, summarize


def events(*rows: tuple[int, int, int, int]) -> Events:
    t, x, y, p = np.array(rows, np.int64).reshape(-1, 4).T
    return Events(t, x.astype(np.int16), y.astype(np.int16), p.astype(np.int8))


def test_overlay_is_red_for_on_and_green_for_off() -> None:
    frame = np.full((4, 5), 200, np.uint8)
    found = events(
        (0, 1, 2, 1), (1, 1, 2, 1), (2, 1, 2, 1), (3, 4, 0, -1), (4, 0, 3, 1), (5, 0, 3, -1)
    )
    picture = draw.overlay(frame, found)
    assert picture.shape == (4, 5, 3) and picture.dtype == np.uint8
    assert tuple(picture[2, 1]) == draw.ON  # three events: full colour
    red, green, _ = picture[0, 4]
    assert green > red  # one OFF event shimmers through
    assert tuple(picture[3, 0]) == (150, 150, 150)  # one of each: nothing is left
    assert tuple(picture[1, 1]) == (150, 150, 150)
    colour = np.zeros((4, 5, 3), np.uint8)
    colour[..., 0] = 90
    assert tuple(draw.overlay(colour, Events.empty())[0, 0]) == (22, 22, 22)


def test_moment_shows_the_events_around_a_frame() -> None:
    found = events((999, 1, 1, 1), (1000, 2, 1, 1), (1040, 3, 1, -1), (1050, 4, 1, 1))
    recording = Recording(
        found, np.zeros((3, 8, 8), np.uint8), np.array([975, 1025, 1075]), 8, 8, ""
    )
    picture = draw.moment(recording, 1)  # 1000 to 1050
    shown = picture[24:].reshape(8, -1, 8, picture.shape[1] // 8, 3)[:, 0, :, 0]
    assert [bool(shown[1, x].any()) for x in (1, 2, 3, 4)] == [False, True, True, False]
    assert picture[:24].max() > 100  # the line above


@pytest.mark.parametrize(
    "recording",
    [drawn(), drawn(0), drawn(frames=0), drawn(0, 0), drawn(1, 0), drawn(0, 1), drawn(frames=1)],
)
def test_every_recording_can_be_drawn(recording: Recording) -> None:
    assert draw.rate_plot(recording).shape == (320, 960, 3)
    for number in range(draw.moments(recording) if not len(recording.times) else 1):
        assert draw.moment(recording, number).ndim == 3


def test_rate_plot_shows_the_rates() -> None:
    """ON all the time at 1000 a second, OFF only in the second half at 2000."""
    on = [(t, 0, 0, 1) for t in range(0, 1_000_000, 1000)]
    off = [(t, 0, 0, -1) for t in range(500_250, 1_000_000, 500)]
    recording = replace(drawn(frames=0), events=events(*sorted(on + off)))
    picture = draw.rate_plot(recording).astype(int)
    left, right, top, floor = 86, 940, 34, 268

    # 3000 is at the top
    def level(column: int, colour: tuple[int, int, int]) -> float:
        strip = picture[top - 3 : floor + 4, column]
        rows = np.flatnonzero(np.abs(strip - colour).sum(1) < 150)
        return (floor - (rows.mean() + top - 3)) / (floor - top) * 3000

    for share in (0.2, 0.4, 0.6, 0.8):
        column = round(left + share * (right - left))
        # bins are a few milliseconds long, so that a single event matters
        assert level(column, draw.ON) == pytest.approx(1000, rel=0.35)
        if share > 0.5:
            assert level(column, draw.OFF) == pytest.approx(2000, rel=0.35)


def test_summary_in_numbers_and_words() -> None:
    found = events((0, 1, 1, 1), (100_000, 2, 1, 1), (400_000, 3, 1, -1), (500_000, 1, 1, 1))
    times = np.array([0, 40_000, 80_000, 200_000])
    recording = Recording(found, np.zeros((4, 8, 10), np.uint8), times, 8, 10, "a.aedat4")
    about = summarize(Read(recording, "aedat", ("one was left out",)))
    assert about == {
        "file": "a.aedat4",
        "reader": "aedat",
        "width": 10,
        "height": 8,
        "colour": False,
        "start_us": 0,
        "seconds": 0.5,
        "events": 4,
        "on_share": 0.75,
        "events_per_second": 8.0,
        "pixels_with_events": round(3 / 80, 4),
        "longest_without_events_us": 300_000,
        "frames": 4,
        "frames_per_second": 25.0,
        "longest_between_frames_us": 120_000,
        "notes": ["one was left out"],
    }
    said = "\n".join(lines(about))
    for words in ("10x8", "75.0% ON", "25.00 a second", "120.0 ms", "one was left out", "aedat)"):
        assert words in said
    for empty in (drawn(0, 0), drawn(1, 0), drawn(0, 1)):
        assert lines(summarize(Read(empty, "npz")))
