"""Packed data elsewhere: the same samples as from the folder, in a cache that keeps its bound."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midframe.data import pack, remote, shards
from midframe.data.cache import PieceCache
from midframe.data.flow_files import write_flow
from midframe.data.io import ImageFile, write_image
from midframe.data.labels import open_flow
from midframe.data.module import Data
from midframe.data.pack import pack_clips
from midframe.data.records import Box, Clip
from midframe.data.remote import CacheOptions, is_remote, open_remote
from midframe.data.shards import open_packed
from midframe.errors import UserError

PIECE = 4096
HEIGHT, WIDTH = 24, 32


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight triplets in several shards of several pieces; the first has flow labels."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("packed")
    clips = []
    for number in range(8):
        frames = []
        for i in range(3):
            path = folder / f"{number}-{i}.png"
            write_image(path, rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
            frames.append(ImageFile(str(path)))
        flow: dict[int, Any] = {}
        if number == 0:
            for side in range(2):
                field = rng.normal(0, 5, (HEIGHT, WIDTH, 2)).astype(np.float32)
                write_flow(folder / f"{side}.flo", field)
            flow = {1: tuple(open_flow(str(folder / f"{side}.flo")) for side in range(2))}
        clips.append(Clip(str(number), tuple(frames), (0, 2), (1,), flow))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "PIECE", PIECE)
        patch.setattr(pack, "PIECE", PIECE)
        pack_clips({"train": clips}, folder / "out", context=1, shard_bytes=15_000)
    return folder / "out"


def opened(url: str, cache: Path, pieces: float = 8) -> list[Clip]:
    return open_remote(url, "train", 1, CacheOptions(cache, gb=pieces * (PIECE + 64) / 1e9))


def of(clip: Clip) -> remote.RemoteFrame:
    frame = clip.frames[0]
    assert isinstance(frame, remote.RemoteFrame)
    return frame


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; knows nothing of ranges unless it is told."""

    ranges = False
    refuses = 0
    asked: list[str] = []

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if type(self).refuses:
            type(self).refuses -= 1
            self.send_error(503)
        elif "forbidden" in self.path:
            self.send_error(403)
        elif self.ranges and "Range" in self.headers:
            first, last = (int(x) for x in self.headers["Range"].split("=")[1].split("-"))
            content = Path(self.translate_path(self.path)).read_bytes()[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        else:
            super().do_GET()


@pytest.fixture
def server(packed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Handler, "asked", [])
    monkeypatch.setattr(remote, "_PAUSE", 0.01)
    found = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(packed)))
    threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


@pytest.fixture
def in_memory(packed: Path) -> Iterator[str]:
    import fsspec

    system = fsspec.filesystem("memory")
    system.put(str(packed), "/bucket/set", recursive=True)
    yield "memory://bucket/set"
    system.rm("/bucket", recursive=True)


def same(copies: list[Clip], originals: list[Clip]) -> None:
    assert [c.id for c in copies] == [c.id for c in originals] and len(copies) == 8
    for copy, original in zip(copies, originals):
        for a, b in zip(copy.frames, original.frames):
            assert np.array_equal(a.read(), b.read()) and a.size() == b.size()
        assert copy.flow.keys() == original.flow.keys()
        for key in copy.flow:
            for a, b in zip(copy.flow[key], original.flow[key]):
                assert np.array_equal(a.read(), b.read()) and a.read().dtype == np.float32
                assert np.array_equal(a.read(Box(1, 2, 3, 4)), b.read(Box(1, 2, 3, 4)))


@pytest.mark.parametrize("kind", ["memory", "file", "local", "http", "http_ranges"])
def test_samples_are_those_of_the_folder(
    kind: str,
    packed: Path,
    in_memory: str,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Handler, "ranges", kind == "http_ranges")
    urls = {"memory": in_memory, "file": f"file://{packed}", "local": f"local://{packed}"}
    same(opened(urls.get(kind, server), tmp_path, 100), open_packed(packed, "train"))
    asked = len(Handler.asked)
    same(opened(urls.get(kind, server), tmp_path, 100), open_packed(packed, "train"))
    again = Handler.asked[asked:]
    assert not [path for path in again if path.endswith(".bin")], "pieces are there already"


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_parts_in_any_order_never_take_more_than_the_bound(packed, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cache")
    clips, originals = opened(f"file://{packed}", folder, 4), open_packed(packed, "train")
    cache = of(clips[0]).shard.cache
    for _ in range(12):
        number, frame = data.draw(st.integers(0, 7)), data.draw(st.integers(0, 2))
        top, left = data.draw(st.integers(0, HEIGHT - 1)), data.draw(st.integers(0, WIDTH - 1))
        box = Box(
            top,
            left,
            data.draw(st.integers(1, HEIGHT - top)),
            data.draw(st.integers(1, WIDTH - left)),
        )
        part = clips[number].frames[frame].read(box)
        assert np.array_equal(part, originals[number].frames[frame].read(box))
        assert cache.used() <= cache.bound == int(4 * (PIECE + 64) / 1e9 * 1e9)


def pieces(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.piece"))


@pytest.mark.parametrize("damage", ["short", "flipped", "gone", "foreign"])
def test_a_damaged_piece_is_fetched_again(damage: str, packed: Path, tmp_path: Path) -> None:
    wanted = open_packed(packed, "train")[0].frames[0].read()
    assert np.array_equal(opened(f"file://{packed}", tmp_path)[0].frames[0].read(), wanted)
    path = pieces(tmp_path)[0]
    content = path.read_bytes()
    if damage == "short":
        path.write_bytes(content[:-7])
    elif damage == "flipped":
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "gone":
        path.unlink()
    else:  # whole by its own checksum, but not by that of the index
        PieceCache(tmp_path, 10**6)._store(path, bytes(len(content) - 4))
    clips = opened(f"file://{packed}", tmp_path)  # as another process
    assert np.array_equal(clips[0].frames[0].read(), wanted)
    assert path.read_bytes() == content


def test_least_recently_used_go_first(packed: Path, tmp_path: Path) -> None:
    cache = PieceCache(tmp_path, 3 * 104)
    fetched: list[str] = []

    def get(name: str) -> None:
        def fetch() -> bytes:
            fetched.append(name)
            return name.encode() * 100

        assert cache.read(name, 100, 10, 12, fetch) == name.encode() * 2
        time.sleep(0.01)  # file systems tell times apart by some milliseconds

    for name in "abcabdab":
        get(name)
    assert fetched == ["a", "b", "c", "d"]
    get("c")
    assert fetched[4:] == ["c"], "it was the one that d took the place of"


def test_damage_at_the_source_is_told(packed: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    path = copy / "train/shard-00000.bin"
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    with pytest.raises(UserError, match="shard-00000.bin: damaged from byte 0.*the checksum"):
        opened(f"file://{copy}", tmp_path / "cache")[0].frames[0].read()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="shard-00000.bin: damaged from byte 0.*50 bytes came"):
        opened(f"file://{copy}", tmp_path / "cache")[0].frames[0].read()


def test_a_pack_without_checksums_is_read_as_well(packed: Path, tmp_path: Path) -> None:
    import json
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    path = copy / "train/index.json"
    index = json.loads(path.read_text())
    for entry in index["shards"]:
        del entry["crc32"]
    del index["piece"]
    path.write_text(json.dumps(index))
    cache = CacheOptions(tmp_path / "cache", gb=0.1)
    same(open_remote(f"file://{copy}", "train", 1, cache), open_packed(packed, "train"))
    with pytest.raises(UserError, match="data.cache.gb=0.01: too little"):
        open_remote(f"file://{copy}", "train", 1, CacheOptions(tmp_path, gb=0.01))


def _read_all(url: str, cache: Path, seed: int, out: Any) -> None:
    clips = opened(url, cache, 5)
    worst, digest = 0, 0
    for number in np.random.default_rng(seed).permutation(24):
        digest += int(clips[number // 3].frames[number % 3].read().astype(np.int64).sum())
        worst = max(worst, of(clips[0]).shard.cache.used())
    out.put((worst, digest))


def test_processes_share_a_cache_and_its_bound(packed: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    url = f"file://{packed}"
    started = [
        context.Process(target=_read_all, args=(url, tmp_path, seed, out)) for seed in range(4)
    ]
    for process in started:
        process.start()
    found = [out.get(timeout=60) for _ in started]
    for process in started:
        process.join()
    whole = sum(
        int(f.read().astype(np.int64).sum())
        for clip in open_packed(packed, "train")
        for f in clip.frames
    )
    assert [digest for _, digest in found] == [whole] * 4
    assert max(worst for worst, _ in found) <= 5 * (PIECE + 64)


def test_what_a_killed_process_left_is_removed(packed: Path, tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=os._exit, args=(0,))
    process.start()
    process.join()
    clips = opened(f"file://{packed}", tmp_path)
    from midframe.files import aside_of

    mine = aside_of(tmp_path / "a.piece").name
    left = tmp_path / mine.replace(f"-{os.getpid()}.", f"-{process.pid}.")
    left.write_bytes(bytes(2 * PIECE))
    clips[0].frames[0].read()
    assert not left.exists() and pieces(tmp_path)


def test_a_full_disk_costs_time_only(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> int:
        raise OSError(28, "No space left on device")

    clips = opened(f"file://{packed}", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        frame = clips[0].frames[0].read()
    assert np.array_equal(frame, open_packed(packed, "train")[0].frames[0].read())
    assert not pieces(tmp_path)


def test_what_passes_is_tried_again_and_what_does_not_is_told(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "refuses", 2)
    assert len(opened(server, tmp_path)) == 8
    monkeypatch.setattr(Handler, "refuses", 1000)
    with pytest.raises(UserError, match="pack.json: cannot be read .*503"):
        opened(server, tmp_path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("SERVER/nowhere", "pack.json: no such file, folder or bucket; .* midframe pack made"),
        ("SERVER/forbidden", "no right to read it"),
        ("memory://no-bucket", "pack.json: no such file, folder or bucket"),
        ("s3://bucket/set", "s3:// needs another package: pip install s3fs"),
        ("nonsense://a/b", "fsspec knows no nonsense://"),
        ("https://me:secret@host/a", "give no password in it"),
    ],
)
def test_what_is_wrong_is_one_line(url: str, message: str, server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as found:
        opened(url.replace("SERVER", server), tmp_path)
    assert "\n" not in str(found.value) and "secret" not in str(found.value)


def test_a_frame_travels_to_a_worker(packed: Path, tmp_path: Path) -> None:
    clips = opened(f"file://{packed}", tmp_path)
    copies = pickle.loads(pickle.dumps(clips))
    same(copies, open_packed(packed, "train"))
    assert "file://" in of(clips[0]).path


@pytest.mark.parametrize("workers", [0, 2])
def test_data_of_a_run_take_a_url(packed: Path, tmp_path: Path, workers: int) -> None:
    def batches(root: str) -> list[Any]:
        data = Data(
            "vimeo",
            lambda root, split, context: [],
            root,
            global_batch=2,
            crop=16,
            workers=workers,
            val={"split": "train"},
            cache={"dir": str(tmp_path / "cache"), "gb": 1e-4},
        )
        return [batch.inputs.frames for batch in data.train_loader(steps=4)]

    local, there = batches(str(packed)), batches(f"file://{packed}")
    assert len(there) == 4
    assert all(bool((a == b).all()) for a, b in zip(local, there))


def test_urls_are_told_from_folders() -> None:
    assert all(is_remote(x) for x in ("s3://b/a", "memory://a", "simplecache::s3://b/a"))
    assert not any(is_remote(x) for x in ("/a/b", "a/b", Path("a"), "~/a", "C:/a", None))
