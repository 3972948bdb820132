"""Writing aside: no half files, nobody else's work deleted."""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from midframe.files import aside_of, remove_leftovers, write_bytes, write_json, write_text


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_there_in_a_folder_that_is_made(tmp_path):
    write_bytes(str(tmp_path / "new/b"), b"\0\r\n")
    write_text(tmp_path / "new/t", "ä\n")
    write_json(tmp_path / "new/j", {"a": [1, None], "b": "ä"})
    assert (tmp_path / "new/b").read_bytes() == b"\0\r\n"
    assert (tmp_path / "new/t").read_bytes() == "ä\n".encode()
    assert json.loads((tmp_path / "new/j").read_text()) == {"a": [1, None], "b": "ä"}
    assert _names(tmp_path / "new") == ["b", "j", "t"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_bytes(path, b"before")

    def half(self, data):
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_bytes", half)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, bytes(100))
    monkeypatch.undo()
    assert path.read_bytes() == b"before" and _names(tmp_path) == ["a.png"]
    with pytest.raises(TypeError):
        write_bytes(path, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_bytes() == b"before" and _names(tmp_path) == ["a.png"]


def test_threads_may_write_the_same_file(tmp_path):
    contents = [bytes([number]) * 100_000 for number in range(32)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: write_bytes(tmp_path / "a", data), contents))
    assert (tmp_path / "a").read_bytes() in contents and _names(tmp_path) == ["a"]


def test_only_what_nobody_will_finish_is_deleted(tmp_path, monkeypatch):
    gone = subprocess.Popen(["true"])
    gone.wait()
    mine = str(os.getpid())
    live = aside_of(tmp_path / "a.bin")
    dead, folder = (
        live.with_name(aside_of(tmp_path / name).name.replace(mine, str(gone.pid)))
        for name in ("a.bin", "folder")
    )
    elsewhere = tmp_path / f"a.bin.another-host-{gone.pid}.part"
    foreign = tmp_path / "film.part"
    for path in (live, dead, elsewhere, foreign):
        path.write_bytes(b"half")
    (folder / "inside").mkdir(parents=True)

    def killed(self, data):
        self.with_name(self.name.replace(mine, str(gone.pid))).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(type(live), "write_bytes", killed)  # and its tidying up never happens
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "b.json", b"")
    assert len(_names(tmp_path)) == 6
    remove_leftovers(tmp_path)
    assert _names(tmp_path) == sorted(path.name for path in (live, elsewhere, foreign))
    yesterday = time.time() - 25 * 3600
    for path in (live, elsewhere, foreign):
        os.utime(path, (yesterday, yesterday))
    busy = tmp_path / "pictures.another-host-7.part"
    busy.mkdir()
    (busy / "1.png").touch()
    os.utime(busy, (yesterday, yesterday))
    remove_leftovers(tmp_path)  # a host that may have failed had a day
    assert _names(tmp_path) == sorted(path.name for path in (live, foreign, busy))
