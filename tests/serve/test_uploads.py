"""Uploads: limits, kinds by content, and names that lead nowhere."""

from __future__ import annotations

import asyncio
import resource

import av
import footage
import pytest

from midframe.serve.uploads import Refused, download_name, kind_of, receive, shown_name

BEGIN = b"\x00\x00\x00\x18ftyp"
FRAMES = footage.pan(0, range(0, 12, 2))


def received(folder, *chunks, said=None, limit=10_000):
    async def send():
        for chunk in chunks:
            yield chunk

    return asyncio.run(receive(send(), said, folder, limit))


@pytest.mark.parametrize(
    ("suffix", "codec", "kind"),
    [
        (".mp4", "mpeg4", ".mp4"),
        (".mov", "mpeg4", ".mp4"),
        (".mkv", "ffv1", ".mkv"),
        (".webm", "libvpx-vp9", ".webm"),
        (".avi", "mpeg4", ".avi"),
        (".flv", "flv", ".flv"),
        (".wmv", "wmv2", ".wmv"),
        (".ogv", "libtheora", ".ogv"),
        (".mpg", "mpeg2video", ".mpg"),
        (".ts", "mpeg2video", ".ts"),
        (".m2ts", "mpeg2video", ".ts"),
    ],
)
def test_files_are_known_by_their_content(tmp_path, suffix, codec, kind):
    try:
        path = footage.write_video(tmp_path / f"clip{suffix}", FRAMES, codec)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV writes no {codec}: {error}")
    found = kind_of(path.read_bytes()[:4096])
    assert found is not None and found.suffix == kind


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<html><script>alert(1)</script>",
        b"\x7fELF\x02\x01\x01",
        b"\x89PNG\r\n\x1a\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\n",
        b"G",
    ],
)
def test_what_is_no_video_is_refused_whatever_its_name(tmp_path, content):
    assert kind_of(content + bytes(4096)) is None
    with pytest.raises(Refused, match="not a video") as caught:
        received(tmp_path, content)
    assert caught.value.status == 415


def test_a_clip_is_written_as_it_was_sent_under_a_name_of_ours(tmp_path):
    content = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 40
    chunks = [content[:3], content[3:5000], content[5000:]]
    path, kind = received(tmp_path, *chunks, said=len(content), limit=len(content))
    assert path == tmp_path / "clip.mp4" and kind.type == "video/mp4"
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("chunks", "said", "status"),
    [
        ([bytes(6000), bytes(6000)], None, 413),
        ([bytes(6000), bytes(6000)], 100, 413),  # who says less than he sends
        ([b"RIFF1234AVI "], 5000, 400),
        ([], None, 422),
    ],
)
def test_too_much_and_too_little_are_refused(tmp_path, chunks, said, status):
    with pytest.raises(Refused) as caught:
        received(
            tmp_path, *[b"\x00\x00\x00\x18ftyp" + c for c in chunks[:1]], *chunks[1:], said=said
        )
    assert caught.value.status == status


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(Refused, match="not enough room") as caught:
        received(tmp_path, b"x")
    assert caught.value.status == 507 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [500, 3000, 20_000])
def test_a_disk_that_fills_up_is_told_whenever_it_does(tmp_path, size):
    """Of a few bytes only when the file is closed."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # of a file, as a disk's end
    try:
        with pytest.raises(Refused, match=r"could not be stored: [\w ]+\.$") as caught:
            received(tmp_path, BEGIN + bytes(size), limit=100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.status == 507


def test_names_are_shown_without_folders_and_tricks():
    assert shown_name("../../etc/passwd") == "passwd"
    assert shown_name("C:\\clips\\a b.mov") == "a b.mov"
    assert shown_name("") == shown_name("x/") == "clip"
    assert "\u202e" not in shown_name("a\u202egpj.mp4")
    assert len(shown_name(500 * "n")) <= 80


def test_downloads_have_names_of_harmless_letters():
    assert download_name("Ferien am See.mov", "2x", ".mp4") == "Ferien am See-2x.mp4"
    assert download_name('../a"; x=\r\n<b>.mp4', "4x-slower", ".mp4") == "a_ x_ _b-4x-slower.mp4"
    assert download_name("山.mp4", "8x", ".webm") == "山-8x.webm"
    assert download_name("...", "2x", ".mp4") == "clip-2x.mp4"
