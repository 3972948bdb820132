"""The page: one file with all that it needs, in which nothing of the results can run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import fake_results
import pytest

from midframe.launch.report import MARKERS, main
from midframe.report import finding, page, sections

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> a_b & 50%'
VOID = {"meta", "img", "br", "input", "link"}


class Reader(HTMLParser):
    """Collects the elements of a page, and holds that they are closed as they were opened."""

    def __init__(self):
        super().__init__()
        self.found, self.open, self.texts = [], [], {}

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            key = self.open[-1] + str(sum(t == self.open[-1] for t, _ in self.found))
            self.texts[key] = self.texts.get(key, "") + data


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def html(*paths, count=6, budget=1 << 24):
    entries, speeds = finding.read(paths)
    return page.html(sections.build("Results", entries, speeds, count, budget))


@pytest.fixture
def result(tmp_path):
    folder = fake_results.write(tmp_path / "r")
    fake_results.add_pictures(folder)
    fake_results.speed(tmp_path / "speed.json")
    return tmp_path


def data_of(reader):
    return json.loads(reader.texts["script1"])


def test_the_page_needs_nothing_but_itself(result):
    reader = read(html(result))
    assert [tag for tag, _ in reader.found if tag in ("link", "iframe", "object", "embed")] == []
    for tag, attributes in reader.found:
        assert not any(key in attributes for key in ("src", "srcset", "style")), tag
        assert not any(key.startswith("on") for key in attributes), tag
        if "href" in attributes:
            assert attributes["href"].startswith("#")
    scripts = re.sub(r'"http://www.w3.org/2000/svg"', "", reader.texts["script2"])
    assert not re.search(r"https?://|fetch\(|XMLHttp|import\(|innerHTML|eval\(", scripts)
    assert not re.search(r"https?://|url\(|@import", reader.texts["style1"])


def test_only_the_page_s_own_script_may_run(result):
    reader = read(html(result))
    policy = next(a["content"] for _, a in reader.found if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    for text in (reader.texts["script2"], reader.texts["style1"]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_names_from_results_are_text_and_nothing_else(tmp_path):
    by = fake_results.protocol(name="x<b>&", note=HOSTILE)
    values = {"i<u>": (30, 1), "j&amp;": (31, 1)}
    fake_results.write(tmp_path / "r", HOSTILE, values, by, revision=HOSTILE, hints={HOSTILE: 1})
    text = html(tmp_path)
    reader = read(text)
    assert [tag for tag, _ in reader.found].count("script") == 2
    assert not any(tag in ("u", "b", "img") for tag, _ in reader.found)
    assert "alert(1)" in text  # it is shown
    assert data_of(reader)["groups"][0]["models"][0]["title"] == HOSTILE
    assert data_of(reader)["groups"][0]["images"]["titles"] == ["i<u>", "j&amp;"]


def test_directions_and_control_characters_are_made_visible(tmp_path):
    fake_results.write(tmp_path / "r", "a\u202eb\x07c")
    text = html(tmp_path)
    table = text.partition("<main")[2].partition("</main>")[0]
    assert "a\ufffdb\ufffdc" in table and "\u202e" not in table


def test_headings_go_down_step_by_step_and_tables_are_named(result):
    reader = read(html(result))
    levels = [int(tag[1]) for tag, _ in reader.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:]))
    tags = [tag for tag, _ in reader.found]
    assert tags.count("table") == tags.count("caption") > 3
    ids = [a["id"] for _, a in reader.found if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"][1:] for _, a in reader.found if "href" in a]
    assert set(links) <= set(ids)
    named = [a["aria-labelledby"] for _, a in reader.found if "aria-labelledby" in a]
    assert set(named) <= set(ids)


def test_what_is_plotted_is_what_was_measured(result):
    group = data_of(read(html(result)))["groups"][0]
    assert group["images"]["values"]["psnr"] == [[30.0, 32.0, 28.0]]
    assert group["models"][0]["mean"] == {"psnr": 30.0, "ssim": 0.9}
    axes = {a["title"]: [v["values"] for v in a["variants"]] for a in group["axes"]}
    assert axes["Parameters"] == [[5_000_000]] and axes["FLOPs"] == [[2e9], [2e9]]
    assert axes["Latency"] == [[12.5], [6.25], [12.5], [6.25]]
    assert axes["Seconds per image"] == [[0.1]]


def test_infinite_values_are_told_but_not_plotted(tmp_path):
    fake_results.write(tmp_path / "r", values={"a": (float("inf"), 1)})
    text = html(tmp_path)
    assert 'data-v="Infinity">∞<' in text
    assert data_of(read(text))["groups"][0]["images"]["values"]["psnr"] == [[None]]


def test_of_very_many_images_some_are_plotted_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("midframe.report.plotted.IMAGES_MOST", 10)
    fake_results.write(tmp_path / "r", values={str(i): (i, 0.5) for i in range(25)})
    text = html(tmp_path)
    assert data_of(read(text))["groups"][0]["images"]["values"]["psnr"][0] == [*range(0, 25, 3)]
    assert "One image of 3 is drawn, 9 of 25." in text


def test_everything_recorded_of_a_result_is_told(result):
    text = html(result)
    for told in ("ab" * 32, "0123456789ab", "runs/best.ckpt", "What else there is to know."):
        assert told in text


def test_the_command_writes_four_files_and_leaves_nothing_half_done(result, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(result / "r"), "--out", str(out), "--title", "A & B", "--pictures", "1"]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        f"report.{kind}" for kind in ("csv", "html", "md", "tex")
    ]
    text = (out / "report.html").read_text()
    assert (
        "<title>A &amp; B</title>" in text and len(data_of(read(text))["groups"][0]["album"]) == 1
    )


def test_the_page_keeps_to_its_size(result, tmp_path):
    main([str(result / "r"), "--out", str(tmp_path / "out"), "--max-mb", "0.02"])
    without = len(html(result / "r", count=0))
    assert (tmp_path / "out" / "report.html").stat().st_size <= without + 0.02 * 2**20 + 2000


def test_tables_go_between_the_markers_of_a_text(result, tmp_path):
    text = tmp_path / "results.md"
    text.write_text(f"# Mine\n\nkept\n\n{MARKERS[0]}\nold\n{MARKERS[1]}\n\nkept too\n")
    assert main([str(result), "--results-page", str(text)]) == 0
    found = text.read_text()
    assert found.startswith("# Mine\n\nkept\n\n") and found.endswith("\n\nkept too\n")
    assert "old" not in found and "## tiny@1" in found and "| net |" in found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say where the report goes"),
        (["--out", "x", "--pictures", "-1"], "must not be below 0"),
        (["--out", "x", "--max-mb", "nan"], "must not be below 0"),
    ],
)
def test_a_command_that_cannot_be_is_explained(result, capsys, words, said):
    assert main([str(result), *words]) == 2
    assert said in capsys.readouterr().err


def test_what_is_wrong_with_a_result_is_one_line(tmp_path, capsys):
    (tmp_path / "summary.json").write_text("{")
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "summary.json" in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()
