"""Reading AEDAT4: every reader gives the same, and what cannot be read says why."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recordings import assert_same, drawn, same_events

from midframe.errors import UserError
from midframe.events import aedat
from midframe.events.aedat import choose_reader, read_recording, read_with
from midframe.events.container import check_container
from midframe.events.libraries import EVENT, READERS, Frame, is_installed
from midframe.events.process import Ended, Process
from midframe.events.records import Recording
from midframe.events.write import write_recording

REAL = {"davis346": (59, 78_830), "davis346_short": (4, 6_676)}


def need(reader: str) -> None:
    if not is_installed(reader):
        pytest.skip(f"the reader {reader} is not installed")


@pytest.fixture(scope="module", params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    need(request.param)
    return request.param


@pytest.fixture(scope="module")
def process() -> object:
    with Process() as one:
        yield one


@pytest.fixture
def written(tmp_path: Path) -> Path:
    need("dv_processing")
    write_recording(drawn(), tmp_path / "good.aedat4")
    return tmp_path / "good.aedat4"


@pytest.mark.parametrize("name", REAL)
def test_real_recordings(
    name: str, reader: str, process: Process, shared_data: Callable[[str], Path]
) -> None:
    path = shared_data(f"aedat4/{name}.aedat4")
    found = read_with(process, path, reader)
    recording = found.recording
    frames, events = REAL[name]
    assert recording.frames.shape == (frames, 260, 346) and len(recording.events) == events
    assert (recording.height, recording.width) == (260, 346) and found.notes == ()
    # as the file itself says it: the middle of the exposure, and the first event
    assert recording.times[:2].tolist() == [1589163147365215, 1589163147405215]
    first = [int(getattr(recording.events, column)[0]) for column in "txyp"]
    assert first == [1589163147368868, 215, 164, 1]
    first_installed = next(other for other in READERS if is_installed(other))
    assert_same(read_with(process, path, first_installed).recording, recording)


@pytest.mark.parametrize(
    "recording",
    [
        drawn(),
        drawn(colour=True, height=17, width=33),
        drawn(height=1, width=1),
        drawn(height=720, width=1280, colour=True, frames=2),
        drawn(events=0),
        drawn(frames=0),
        drawn(events=20_000, start=0),  # in several packets
    ],
    ids=["grey", "colour", "pixel", "720p", "no-events", "no-frames", "packets"],
)
def test_what_is_written_is_read(
    recording: Recording, reader: str, process: Process, tmp_path: Path
) -> None:
    need("dv_processing")
    path = tmp_path / "one.aedat4"
    write_recording(recording, path)
    assert_same(read_with(process, path, reader).recording, recording)
    assert [p.name for p in tmp_path.iterdir()] == ["one.aedat4"]


def test_one_call_reads_a_file_and_says_what_it_left_out(
    written: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert_same(read_recording(written), drawn())
    assert read_recording(str(written)).source == str(written)
    given = events_of(drawn())
    given["x"][7], given["t"][30] = 99, 5
    pretend(monkeypatch, [given, *frames_of(drawn())])
    with caplog.at_level(logging.WARNING):
        kept = read_recording(written).events
    assert len(kept) == 298
    assert "1 of 300 events left out, they are outside" in caplog.text
    assert "1 of 299 events left out, their times go backward" in caplog.text
    wanted = np.delete(drawn().events.t, [7, 30])
    assert np.array_equal(kept.t, wanted)


def events_of(recording: Recording) -> np.ndarray:
    array = np.empty(len(recording.events), EVENT)
    for name in "txy":
        array[name] = getattr(recording.events, name)
    array["p"] = recording.events.p > 0
    return array


def frames_of(recording: Recording) -> list[Frame]:
    return [Frame(int(t), f) for t, f in zip(recording.times, recording.frames)]


def pretend(monkeypatch: pytest.MonkeyPatch, packets: list[np.ndarray | Frame]) -> None:
    """Let a library give these packets, whatever is in the file."""
    monkeypatch.setattr(Process, "read", lambda self, request: iter(packets))


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda e, f: e["x"].__setitem__(slice(9), -1), "9 of 300 events.*outside"),
        (lambda e, f: e["y"].__setitem__(slice(9), 24), "9 of 300 events.*outside"),
        (lambda e, f: e["p"].__setitem__(slice(9), 7), "9 of 300 events.*outside"),
        (lambda e, f: e["t"].__setitem__(slice(0, 1), 1 << 61), "left out"),
        (lambda e, f: e["t"].__setitem__(slice(0, 1), 1 << 50), "299 of 300.*backward"),
        (lambda e, f: f.__setitem__(0, f[0]._replace(time=1 << 50)), "3 of 4 frames.*backward"),
        (lambda e, f: f.__setitem__(2, Frame(5, f[2].image[:9])), "frame 2.*another form.*32x9"),
        (lambda e, f: f.__setitem__(2, Frame(5, np.zeros((24, 32, 3), "u1"))), "frame 2.*colour"),
        (lambda e, f: [f.__setitem__(k, Frame(k, f[k].image[:9])) for k in range(4)], "one sensor"),
        (lambda e, f: f.pop(), "3 of 4 frames came"),
    ],
)
def test_nothing_that_cannot_be_goes_on(
    change: Callable[[np.ndarray, list[Frame]], object],
    said: str,
    written: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events, frames = events_of(drawn()).copy(), frames_of(drawn())
    change(events, frames)
    pretend(monkeypatch, [events, *frames])
    if said == "left out":  # a single one, which is dropped
        assert len(read_recording(written).events) == 299
        return
    with pytest.raises(UserError, match=f"good.aedat4.*{said}"):
        read_recording(written)


def test_an_endless_file_is_not_believed(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aedat, "_ROOM", 1000)
    monkeypatch.setattr(aedat, "_UNPACKED", 0)

    def endless(self: Process, request: dict) -> object:
        while True:
            yield np.zeros(100, EVENT)

    monkeypatch.setattr(Process, "read", endless)
    with pytest.raises(UserError, match="unpacks to more than"):
        read_recording(written)


def test_a_crash_or_a_hang_is_the_librarys_alone(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = tmp_path / "lib"
    libraries.mkdir()
    code = "import os, time, ctypes\ndef Decoder(path):\n    {}\n    yield\n"
    monkeypatch.syspath_prepend(str(libraries))
    for body, said in (
        ("ctypes.string_at(0)", "crashed .SIGSEGV"),
        ("os.abort()", "crashed .SIGABRT"),
        ("time.sleep(1000)", "gave nothing for 0.2 s"),
        ("bytearray(1 << 40)", "MemoryError"),
        ("os._exit(3)", "what it should not"),
        ("raise BaseException('panic')", "BaseException: panic"),
    ):
        (libraries / "aedat.py").write_text(code.format(body))
        with Process(seconds=0.2) as process:
            for _ in range(2):  # the process goes on with the next file
                with pytest.raises(UserError, match=f"good.aedat4.*byte.*{said}"):
                    read_with(process, written, "aedat")
            if is_installed("dv_processing"):
                process.seconds = 30
                assert_same(read_with(process, written, "dv_processing").recording, drawn())


def test_a_reader_that_is_given_up_leaves_the_process_usable(written: Path) -> None:
    found = check_container(written)
    request = {"reader": "dv_processing", "path": str(written), "bytes": found.size}
    request["streams"] = [[0, "events"], None]
    with Process() as process:
        for _ in process.read(request):
            break
        assert sum(map(len, process.read(request))) == 300
        with pytest.raises(Ended, match="not available"):
            list(process.read({**request, "streams": [[0, "nonsense"], None]}))


def test_reader_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no reader 'aedatt': did you mean aedat"):
        choose_reader("aedatt")
    monkeypatch.setattr(aedat, "is_installed", lambda name: name == "aedat")
    assert choose_reader() == "aedat"
    with pytest.raises(UserError, match=r"dv_processing is not.*'midframe\[events\]'"):
        choose_reader("dv-processing")
    with pytest.raises(UserError, match="dv is not installed.*AGPL.*Python 3.11"):
        choose_reader("dv")
    monkeypatch.setattr(aedat, "is_installed", lambda name: False)
    with pytest.raises(UserError, match=r"pip install 'midframe\[events\]'"):
        choose_reader()


def test_container_names_the_byte(written: Path) -> None:
    good = written.read_bytes()
    found = check_container(written)
    events, frames = found.first("EVTS"), found.first("FRME")
    assert events and frames and (events.height, events.width) == (24, 32)
    assert len(frames.offsets) == 4 and found.size == len(good)
    second = frames.offsets[1]
    for data, said in (
        (b"", "the file is empty"),
        (good[:5], "cut short at byte 5, within its first line"),
        (good[:900], "cut short at byte 900, within its header"),
        (good[: second + 20], f"cut short at byte {second + 20}, its table should be at"),
        (b"#!AER-DAT3.1\r\n" + good[14:], "AEDAT 3.1, and only AEDAT 4"),
        (b"\x89PNG" + good, "not an AEDAT4 recording"),
        (changed(good, 14, 1 << 30), "damaged at byte 14, its header claims"),
        (changed(good, second, 9), f"damaged at byte {second}, .*stream 9"),
        (changed(good, second + 4, -5), f"damaged at byte {second}, "),
        (changed(good, second + 4, 1 << 28), f"the packet at byte {second} is"),
    ):
        written.write_bytes(data)
        with pytest.raises(UserError, match=said) as caught:
            read_recording(written)
        assert str(written) in str(caught.value)
    written.unlink()
    with pytest.raises(UserError, match="no such file"):
        read_recording(written)


def changed(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + struct.pack("<i", value) + data[offset + 4 :]


def test_a_file_without_table_is_read_to_its_end(
    written: Path, reader: str, process: Process
) -> None:
    """As a recorder leaves it that was stopped by force."""
    good, found = written.read_bytes(), check_container(written)
    place = good.find(struct.pack("<q", found.end), 0, 200)
    written.write_bytes(good[:place] + struct.pack("<q", -1) + good[place + 8 : found.end])
    assert same_events(read_with(process, written, reader).recording.events, drawn().events)
