"""Writing AEDAT4; that it can be read again is tested with the readers."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings import drawn

from midframe.errors import UserError
from midframe.events import process
from midframe.events.libraries import is_installed
from midframe.events.records import Recording
from midframe.events.write import write_recording

pytestmark = pytest.mark.skipif(
    not is_installed("dv_processing"), reason="dv-processing, which writes, is not installed"
)


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one.aedat4"
    write_recording(drawn(seed=1), path)
    before = path.read_bytes()
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
    )
    monkeypatch.setattr(process, "_START", limited + process._START)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20000
    with pytest.raises(UserError, match="cannot write .*one.aedat4.*MB are free"):
        write_recording(drawn(height=260, width=346), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["one.aedat4"]


def outside(recording: Recording) -> Recording:
    x = recording.events.x.copy()
    x[3] = recording.width
    return replace(recording, events=replace(recording.events, x=x))


@pytest.mark.parametrize(
    "recording, said",
    [
        (drawn(start=-100_000), "no times before 0"),
        (outside(drawn()), "outside of its sensor of 32x24"),
        (replace(drawn(), times=np.zeros(4, np.int64)), "do not rise"),
        (replace(drawn(), frames=drawn().frames.astype(np.float32)), "uint8"),
        (replace(drawn(), width=31), "32x24 pixels and a sensor of 31x24"),
        (replace(drawn(), height=0), "32x0"),
    ],
)
def test_what_is_no_recording_is_refused(recording: Recording, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        write_recording(recording, tmp_path / "one.aedat4")
    assert list(tmp_path.iterdir()) == []


def test_names_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\*.aedat4"):
        write_recording(drawn(), tmp_path / "one.raw")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_recording(drawn(), tmp_path / "file" / "one.aedat4")
