"""`midframe serve`: what it offers, where it listens, and what it leaves."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import av
import footage
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from midframe import cli
from midframe.files import sha256_of
from midframe.launch import locks, serve
from midframe.models import shipped, zoo
from midframe.serve.records import DEEP, PLAIN, Clip
from midframe.serve.uploads import MP4
from midframe.video.clip import open_clip


def state_of(name):
    """Return a state dict that fits a model."""
    return zoo.build(zoo.config_of(name)).state_dict()


def test_models_without_weights_are_offered(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    offered = serve.choices([], "auto")
    assert list(offered) == ["dis", "average"]
    assert offered["dis"].words == ["--model", "dis"]


def test_models_that_come_with_weights_are_offered(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    config, path = zoo.config_of("upr_small"), tmp_path / "upr_small.safetensors"
    save_file(state_of("upr_small"), path)
    record = dict.fromkeys(shipped.KEYS, ()) | {
        "model": {"name": "upr_small", "net": config["net"]}, "sha256": sha256_of(path)
    }  # fmt: skip
    (tmp_path / "upr_small.json").write_text(json.dumps(record))
    offered = serve.choices([], "cuda")
    assert list(offered) == ["dis", "average", "upr_small"]
    assert offered["upr_small"].words == ["--model", "upr_small", "--device", "cuda"]
    path.write_bytes(path.read_bytes()[:-1])  # as an installation that broke off leaves it
    assert list(serve.choices([], "cuda")) == ["dis", "average"]


def test_models_given_with_weights_come_first(tmp_path):
    names = ["ifrnet_s", "upr_small"]
    paths = [tmp_path / f"{name}.pth" for name in names]
    for name, path in zip(names, paths):
        torch.save(state_of(name), path)
    offered = serve.choices([f"{name}={path}" for name, path in zip(names, paths)], "cuda")
    assert [one.title for one in offered.values()][:2] == names
    first = next(iter(offered.values()))
    assert first.words == ["--weights", str(paths[0]), "--device", "cuda", "--model", "ifrnet_s"]


@pytest.fixture
def run(tmp_path):
    """The directory of a run, with its best checkpoint."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": zoo.config_of("ifrnet_s")}))
    torch.save(state_of("ifrnet_s"), folder / "best.ckpt")
    return folder


def test_runs_know_their_model(run):
    (offered, *_) = serve.choices([str(run)], "cpu").values()
    assert offered.title == "ifrnet_s"
    assert offered.words == ["--weights", str(run), "--device", "cpu"]


def test_weights_that_no_job_could_load_are_told_at_the_start(tmp_path, capsys, run):
    film = footage.write_video(tmp_path / "film.mp4", footage.pan(0, range(3)), "mpeg4")
    other = tmp_path / "other.pth"
    torch.save(state_of("upr_small"), other)
    (tmp_path / "empty.ckpt").touch()
    (run / "best.ckpt").write_bytes((run / "best.ckpt").read_bytes()[:5000])
    for text, said in (
        (f"ifrnet_s={film}", "film.mp4 cannot be read as weights"),
        (f"ifrnet_s={tmp_path / 'empty.ckpt'}", "empty.ckpt cannot be read as weights"),
        (f"ifrnet_s={other}", "other.pth does not fit IFRNet"),
        (f"average={other}", "other.pth does not fit Average"),
        (str(run), "best.ckpt cannot be read as weights"),
    ):
        assert cli.main(["serve", "--port", "0", "--weights", text]) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert line.startswith("error: ") and said in line, line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights", "{}/none"], "no such file"),
        (["--weights", "{}/file"], "only a run directory knows its model"),
        (["--weights", "event={}/file"], "model event needs events"),
        (["--limit", "0"], "--limit 0"),
        (["--minutes", "-1"], "--minutes -1"),
        (["--port", "99999"], "--port 99999"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_wrong_options_are_told_before_anything_is_served(tmp_path, capsys, words, said):
    (tmp_path / "file").touch()
    assert cli.main(["serve", *(word.format(tmp_path) for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_told_and_the_usual_one_replaced(monkeypatch):
    with socket.socket() as other:
        other.bind((serve.LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(serve.UserError, match=f"--port {port}"), serve._listening(port):
            pass
        monkeypatch.setattr(serve, "PORT", port)
        with serve._listening(None) as listening:
            host, found = listening.getsockname()
            assert host == "127.0.0.1" and found != port


def test_folders_are_removed_and_those_of_killed_servers_too(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names = {name: tmp_path / f"midframe-serve-{name}" for name in ("killed", "alive", "new")}
    for path in (*names.values(), tmp_path / "other"):
        path.mkdir()
        (path / "clip").touch()
    lock = locks.take(names["alive"])
    (tmp_path / "midframe-serve-link").symlink_to(tmp_path / "other")
    for path in (names["killed"], names["alive"]):
        os.utime(path, (0, time.time() - 3600))
    with serve._folder() as folder:
        assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
        assert not names["killed"].exists()
        assert locks.is_held(folder)
    assert not folder.exists()
    assert names["alive"].exists() and names["new"].exists() and (tmp_path / "other/clip").exists()
    lock.close()


def test_a_job_ends_with_the_server_even_if_that_is_killed(tmp_path):
    path = footage.write_video(tmp_path / "clip.mkv", footage.pan(0, range(8)))
    words = [str(path), str(tmp_path / "out.mp4"), "--model", "average"]
    command = [sys.executable, "-m", "midframe.launch.serve_job", *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    process.stdin.close()  # as the system does when the server is gone
    assert process.wait(120) == 1
    assert not (tmp_path / "out.mp4").exists()


@pytest.fixture
def deep(tmp_path):
    """A clip of 10 bits, beside sound in a language that nobody speaks."""
    path = tmp_path / "deep.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=64, height=48, pix_fmt="yuv420p10le")
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound.metadata["language"] = "\x1b[2J\u202e" + 100_000 * "x"
        for number, image in enumerate(footage.pan(0, range(3), 48, 64)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    return path


def test_what_a_file_says_of_languages_is_bounded_and_without_tricks(deep):
    (other,) = open_clip(deep).others
    assert other.language == "\ufffd[2J\ufffd" + 195 * "x"


def test_the_page_learns_of_a_clips_depth_from_the_command_line(tmp_path, capsys, deep):
    flat = footage.write_video(tmp_path / "flat.mkv", footage.pan(0, range(3)))
    for path, bits in ((deep, 10), (flat, 8)):
        words = ["--dry-run", "--progress", "json", "--model", "average"]
        assert cli.main(["interpolate", str(path), str(tmp_path / "look.mp4"), *words]) == 0
        plan = json.loads(capsys.readouterr().out.splitlines()[0])
        assert plan["event"] == "plan" and plan["depth"] == bits
        clip = Clip("0", path.name, path, MP4, plan)
        assert clip.form is (DEEP if bits == 10 else PLAIN)
        assert clip.told()["frames"] == 3
