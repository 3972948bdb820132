"""What anybody may have written: broken and hostile files end in one line that names the file."""

from __future__ import annotations

import json
import os

import fake_results
import pytest

from midframe.errors import UserError
from midframe.report import finding, pictures, reading, sections


def change(folder, **more):
    path = folder / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        '{"a": NaN}',
        "[" * 100_000,
        '{"a": ' + "9" * 10_000 + "}",
        "{}",
        '{"protocol": 3}',
        '{"protocol": {"name": "x"}}',
        '{"protocol": {"name": 5, "version": 1}}',
        "\ud800",
    ],
)
def test_a_summary_that_is_none_is_named(tmp_path, text):
    path = tmp_path / "summary.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match="summary.json"):
        finding.read([tmp_path])


@pytest.mark.parametrize(
    "more",
    [
        {"mean": {"psnr": "many"}},
        {"mean": {"psnr": [1]}},
        {"mean": {"psnr": 10**400}},
        {"mean": [1]},
        {"model": "x" * 10_000},
        {"model": "two\nlines"},
        {"model": {"a": 1}},
        {"images": -1},
        {"images": 1.5},
        {"parameters": True},
        {"seconds_per_image": "soon"},
        {"problems": "none"},
        {"interval": {"psnr": [1, 2, 3]}},
        {"subsets": {"test": 3}},
        {"model_config": "x"},
        {"beside": {"x": 1}},
        {"groups": {"x": [3]}},
        {"protocol_digest": 5},
        {"protocol_digest": "0123456789ab"},
    ],
)
def test_a_summary_with_a_wrong_value_is_named(tmp_path, more):
    fake_results.write(tmp_path / "a", **more)
    with pytest.raises(UserError, match="a.summary.json"):
        finding.read([tmp_path])


@pytest.mark.parametrize(
    "text",
    [
        "id,psnr\na,1\n",
        "subset,id,psnr,ssim\ntest,a,1,x\n",
        "subset,id,psnr,ssim\ntest,a,1,1\ntest,a,1,1\n",
        "subset,id,psnr,ssim\ntest,,1,1\n",
        "subset,id,psnr,ssim\ntest,a,1,1\ntest,b,1,1\ntest,c",
        "subset,id,psnr,ssim\ntest,a,1,1\ntest,b,1,1\n",
        "subset,id,psnr,ssim\n",
        'subset,id,psnr,ssim\n"' + "a" * 200_000,
    ],
)
def test_rows_that_are_none_are_named(tmp_path, text):
    fake_results.write(tmp_path / "a")
    (tmp_path / "a" / "images.csv").write_text(text)
    with pytest.raises(UserError, match=r"images\.csv"):
        finding.read([tmp_path])


def test_files_are_not_read_beyond_a_bound(tmp_path, monkeypatch):
    fake_results.write(tmp_path / "a")
    monkeypatch.setattr(reading, "JSON_MOST", 100)
    with pytest.raises(UserError, match="more than the 100"):
        finding.read([tmp_path])


def test_a_protocol_that_was_changed_without_its_digest_is_refused(tmp_path):
    folder = fake_results.write(tmp_path / "a")
    by = json.loads((folder / "summary.json").read_text())["protocol"]
    change(folder, protocol={**by, "quantisation": "uint8"})
    with pytest.raises(UserError, match=r"a.summary\.json: its protocol_digest .* is not that"):
        finding.read([tmp_path])
    change(folder, protocol={**by, "note": "moves no number"})
    assert len(finding.read([tmp_path])[0]) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_what_is_no_file_is_not_read(tmp_path):
    folder = fake_results.write(tmp_path / "a")
    (folder / "summary.json").unlink()
    os.mkfifo(folder / "summary.json")  # whoever opens it waits
    with pytest.raises(UserError, match=r"summary\.json: is no file"):
        finding.read([tmp_path])
    (folder / "summary.json").unlink()
    (folder / "summary.json").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"summary\.json: is no file"):
        finding.read([tmp_path])


def test_more_rows_than_the_bound_are_refused(tmp_path, monkeypatch):
    fake_results.write(tmp_path / "a")
    monkeypatch.setattr(reading, "ROWS_MOST", 2)
    with pytest.raises(UserError, match="more than 2 images"):
        finding.read([tmp_path])


def test_where_nothing_is_says_what_to_give(tmp_path):
    with pytest.raises(UserError, match="no result is there; give folders"):
        finding.read([tmp_path])
    with pytest.raises(UserError, match="no such file or folder"):
        finding.read([tmp_path / "none"])


def test_json_that_is_no_speed_is_named(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"kind": "other"}')
    with pytest.raises(UserError, match=r"x\.json: no result of midframe speed"):
        finding.read([path])


@pytest.mark.parametrize(
    "more",
    [
        {"model": None},
        {"sizes": [3]},
        {"sizes": [{"size": "1x1", "ways": {"fp32": {"p50_ms": -1}}}]},
        {"sizes": [{"size": "1x1", "ways": 3}]},
        {"threads": 1.5},
    ],
)
def test_speed_with_a_wrong_value_is_named(tmp_path, more):
    with pytest.raises(UserError, match=r"speed\.json"):
        finding.read([fake_results.speed(tmp_path / "speed.json", **more)])


def test_a_result_within_a_result_is_not_looked_for(tmp_path):
    fake_results.write(tmp_path / "a")
    fake_results.write(tmp_path / "a" / "images" / "b")
    assert [e.file.parent.name for e in finding.read([tmp_path])[0]] == ["a"]


@pytest.mark.parametrize("name", ["../../../secret", "/secret", "x/../../../../secret"])
def test_an_id_leads_to_no_picture_outside_of_its_folder(tmp_path, name):
    secret = tmp_path / "secret.png"
    fake_results.picture(secret, 0)
    folder = fake_results.write(tmp_path / "r", values={name: (1, 1)})
    (folder / "images" / "test" / "x").mkdir(parents=True)
    if name.startswith("/"):
        change(folder)
    entries, _ = finding.read([folder])
    assert list(entries[0].images)  # it is read as a name
    assert not pictures._file(folder, "images", f"test/{name}")
    report = sections.build("x", entries, [], 5, 1 << 20)
    assert report.sections[0].album.shown == []


def test_a_link_leads_to_no_picture_outside_of_its_folder(tmp_path):
    fake_results.picture(tmp_path / "secret.png", 0)
    folder = fake_results.write(tmp_path / "r")
    (folder / "images" / "test").mkdir(parents=True)
    (folder / "images" / "test" / "a.png").symlink_to(tmp_path / "secret.png")
    entries, _ = finding.read([folder])
    assert sections.build("x", entries, [], 5, 1 << 20).sections[0].album.shown == []


def test_a_damaged_picture_is_named(tmp_path):
    folder = fake_results.write(tmp_path / "r")
    fake_results.add_pictures(folder)
    (folder / "images" / "test" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    entries, _ = finding.read([folder])
    with pytest.raises(UserError, match=r"a\.png"):
        sections.build("x", entries, [], 5, 1 << 20)
