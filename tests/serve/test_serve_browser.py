"""The page in a real browser: from a dropped clip to before and after, and no other network."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import av
import cv2
import footage
import numpy as np
import pytest
from serving import TOKEN, desk_in

from midframe.serve.app import build

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright for Python is not installed"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no chromium on the PATH", allow_module_level=True)

pytestmark = pytest.mark.slow

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LOOKS = [(WIDE, "light"), (WIDE, "dark"), (PHONE, "light")]
FRAMES = 9
TIMES = "['before', 'after'].map((id) => document.getElementById(id).currentTime)"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # in a container nobody may make the namespaces of a sandbox; the page is our own
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A clip of 9 frames, each a little brighter than the one before."""
    top = tmp_path_factory.mktemp("film")
    views = footage.pan(3, range(0, 4 * FRAMES, 4), 96, 160)
    frames = [np.clip(view * 0.5 + 12 * i, 0, 255).astype(np.uint8) for i, view in enumerate(views)]
    return footage.write_video(top / "Film <b>1.mp4", frames, "libx264")


@pytest.fixture
def server(tmp_path):
    """Serve with a stand-in for the command line, in a thread; returns the address."""
    begun, loop = threading.Event(), asyncio.new_event_loop()
    address, end = [], asyncio.Event()

    async def main():
        from aiohttp.test_utils import TestServer

        desk = desk_in(tmp_path, bytes=1_000_000)
        async with TestServer(build(desk, TOKEN), host="127.0.0.1") as server:
            address.append(f"http://127.0.0.1:{server.port}/{TOKEN}/")
            begun.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert begun.wait(20)
    yield address[0]
    loop.call_soon_threadsafe(end.set)
    thread.join(20)
    loop.close()


@pytest.fixture
def opened(browser):
    """Open a page; afterwards nothing must have failed or been asked of any other network."""
    contexts, said = [], []

    def open_page(address, size=WIDE, refused=None, **options):
        """Open it; ``refused`` is a status that the server gives, which the browser tells."""
        context = browser.new_context(viewport=size, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        known = f"Failed to load resource: the server responded with a status of {refused} "
        page.on(
            "console",
            lambda one: None if one.text.startswith(known) else said.append(one.text),
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request", lambda one: None if one.url.startswith(address) else said.append(one.url)
        )
        page.goto(address)
        page.locator("#model option").first.wait_for(state="attached")
        return page

    def watch(url, address):
        return not url.startswith(("data:", address))

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def behaving(film, tmp_path, **behave):
    """Return a copy of a film on which the stand-in behaves in some way."""
    import json

    path = tmp_path / film.name
    facts = {"frames": FRAMES, **behave}
    path.write_bytes(film.read_bytes() + b"\nbehave:" + json.dumps(facts).encode())
    return path


def shot(page, name):
    """Return what a part of the page looks like, (H, W, 3)."""
    data = np.frombuffer(page.locator(name).screenshot(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(float)


def made(page, path):
    """Send a clip and have frames made."""
    page.set_input_files("#file", path)
    page.get_by_role("button", name="Make frames").click()
    page.locator("#player[data-ready]").wait_for()


def drop(page, path, name):
    """Drop a file on the page."""
    data = page.evaluate_handle(
        """([bytes, name]) => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name)); return data; }""",
        [list(path.read_bytes()), name],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": data})


def paused_at(page, frame):
    """Wait until both players show a frame, by its number in the result."""
    page.locator("#clock", has_text=f"{frame + 1} / ").wait_for()
    for _ in range(100):
        before, after = page.evaluate(TIMES)
        if abs(after - (frame + 0.5) / 50) < 1e-3 and abs(before - after) < 1e-3:
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"they show {before} and {after} s at frame {frame}")


def test_a_clip_is_sent_and_watched_before_and_after(opened, server, film, tmp_path):
    page = opened(server)
    page.set_input_files("#file", behaving(film, tmp_path, steps=8, pause=0.1))
    page.get_by_role("heading", name="Film <b>1.mp4").wait_for()
    assert "25 frames a second" in page.locator("#facts").inner_text()
    page.locator("label", has_text="4×").click()
    assert "100 frames a second instead of 25" in page.locator("#outcome").inner_text()
    page.locator("label", has_text="Slow motion").click()
    assert "4 times slower: 1.4 s instead of 0.4 s" in page.locator("#outcome").inner_text()
    page.locator("label", has_text="Smoother").click()
    page.locator("label", has_text="2×").click()
    page.locator("#original").wait_for()
    page.get_by_role("button", name="Make frames").click()
    page.locator("#work-facts", has_text="12.5 frames/s · 3 s left").wait_for()
    assert page.get_by_role("progressbar").is_visible()
    page.locator("#player[data-ready]").wait_for()
    assert page.locator("#tag-before").inner_text() == "Before · 25 fps"
    assert page.locator("#tag-after").inner_text() == "After · 50 fps"
    assert page.locator("#result-notes").inner_text() == "Film <b>1.mp4 was only copied."

    paused_at(page, 0)
    assert page.locator("#kind").inner_text() == "frame of your clip"
    page.keyboard.press("ArrowRight")
    paused_at(page, 1)
    assert page.locator("#kind").inner_text() == "between two frames"
    page.get_by_role("button", name="One frame forward").click()
    paused_at(page, 2)
    page.keyboard.press("ArrowLeft")
    paused_at(page, 1)
    seek = page.get_by_role("slider", name="Frame")
    seek.focus()
    page.keyboard.press("End")
    assert seek.get_attribute("aria-valuetext").startswith("frame 18 of 18")
    page.keyboard.press("Home")
    paused_at(page, 0)
    page.get_by_role("button", name="Play").click()
    page.locator("#clock", has_text=re.compile(r"^([4-9]|1\d) / ")).wait_for()
    before, after = page.evaluate(TIMES)
    assert abs(before - after) < 0.2
    page.locator("#stage").focus()
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("button", name="Play").is_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "Film _b_1-2x.mp4"


@pytest.mark.slow
def test_the_divider_moves_by_mouse_and_keys_and_changes_what_is_seen(
    opened, server, film, tmp_path
):
    page = opened(server)
    made(page, behaving(film, tmp_path))
    # so that both sides differ: after by frames that are brighter
    page.evaluate("document.getElementById('after').currentTime = 0.3")
    page.wait_for_timeout(300)
    handle = page.get_by_role("slider", name="Divider")
    box = page.locator("#stage").bounding_box()
    middle = shot(page, "#stage")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 20, steps=4)
    page.mouse.up()
    assert handle.get_attribute("aria-valuenow") == "20"
    moved = shot(page, "#stage")
    width = moved.shape[1]
    changed = np.abs(moved - middle).mean((0, 2))
    assert changed[int(0.26 * width) : int(0.45 * width)].mean() > 10
    assert changed[int(0.6 * width) : int(0.8 * width)].mean() < 2
    assert changed[int(0.02 * width) : int(0.14 * width)].mean() < 2
    page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "22"
    page.keyboard.press("End")
    assert handle.get_attribute("aria-valuenow") == "100"
    page.get_by_role("button", name="Side by side").click()
    assert handle.is_hidden()
    boxes = [page.locator(f"#{name}").bounding_box() for name in ("before", "after")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


COUNTED = """
  window.asked = new Set(); window.most = 0;
  const [ask, cancel] = [window.requestAnimationFrame, window.cancelAnimationFrame];
  window.requestAnimationFrame = (then) => {
    const id = ask.call(window, (time) => { window.asked.delete(id); then(time); });
    window.asked.add(id); window.most = Math.max(window.most, window.asked.size);
    return id;
  };
  window.cancelAnimationFrame = (id) => { window.asked.delete(id); cancel.call(window, id); };
"""


def test_loops_and_other_speeds_ask_for_no_more_than_one_frame_at_a_time(
    opened, server, film, tmp_path
):
    page = opened(server)
    page.evaluate(COUNTED)
    made(page, behaving(film, tmp_path))
    page.evaluate(
        """window.loops = 0;
        document.getElementById("after").addEventListener("ended", () => { window.loops += 1; })"""
    )
    page.get_by_role("button", name="Play").click()
    for number in ("0.5", "1", "0.25", "1"):
        page.select_option("#speed", number)
        page.wait_for_function("() => window.asked.size > 0", polling=10)
    # without an interval this would ask for frames itself
    page.wait_for_function("() => window.loops >= 3", polling=10)
    assert page.evaluate("window.most") == 1
    left = "() => { document.getElementById('play').click(); return window.asked.size; }"
    assert page.evaluate(left) == 0


def test_impatient_presses_start_one_job_and_leave_none_behind(opened, server, film, tmp_path):
    page = opened(server)
    held, ended = [], []
    page.route("**/api/jobs", lambda route: held.append(route))
    page.on("request", lambda one: ended.append(one.url) if one.method == "DELETE" else None)
    page.set_input_files("#file", behaving(film, tmp_path, steps=1000, pause=0.1))
    button = page.locator("#make")
    with page.expect_request("**/api/jobs"):
        button.dblclick()
    page.locator("#form").dispatch_event("submit")
    assert len(held) == 1 and button.is_disabled()
    page.get_by_role("button", name="Another clip").click()
    with page.expect_response(lambda one: one.request.method == "DELETE") as answer:
        held[0].continue_()
    assert answer.value.status == 204 and len(ended) == 1
    page.set_input_files("#file", behaving(film, tmp_path))  # nothing of before is in its way
    button.click()
    page.wait_for_function("() => document.getElementById('make').disabled")
    held[1].continue_()
    page.locator("#player[data-ready]").wait_for()
    assert len(held) == 2 and button.is_enabled()


def test_another_clip_may_be_dropped_after_one_that_failed(opened, server, film, tmp_path):
    page = opened(server)
    page.set_input_files("#file", behaving(film, tmp_path, error="the memory does not suffice"))
    page.get_by_role("button", name="Make frames").click()
    page.get_by_role("alert").wait_for()
    drop(page, behaving(film, tmp_path), "other.mp4")
    page.get_by_role("heading", name="other.mp4").wait_for()
    assert not page.get_by_role("alert").is_visible()  # what went wrong is not said of this one
    assert page.get_by_role("button", name="Make frames").is_enabled()


def test_cancelling_and_errors_lead_back_to_the_settings(opened, server, film, tmp_path):
    page = opened(server)
    page.set_input_files("#file", behaving(film, tmp_path, steps=1000, pause=0.1))
    page.get_by_role("button", name="Make frames").click()
    page.locator("#work-facts", has_text="of 1000 frames").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Make frames").wait_for()
    page.get_by_role("button", name="Another clip").click()
    page.set_input_files("#file", behaving(film, tmp_path, error="the memory does not suffice"))
    page.get_by_role("button", name="Make frames").click()
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").inner_text() == "The memory does not suffice."
    assert page.get_by_role("button", name="Make frames").is_visible()


@pytest.mark.parametrize("failed", [False, True])
def test_after_a_page_is_loaded_anew_the_settings_are_whole(opened, server, film, tmp_path, failed):
    """Of a clip that browsers do not play, so that what is made next needs a copy of it."""
    page = opened(server)
    behave = {"error": "no memory"} if failed else {"steps": 1000, "pause": 0.1}
    path = tmp_path / "old.avi"
    path.write_bytes(b"RIFF1234AVI " + behaving(film, tmp_path, **behave).read_bytes()[-2000:])
    page.set_input_files("#file", path)
    page.locator("#unshown").wait_for()
    facts, outcome = (page.locator(name).inner_text() for name in ("#facts", "#outcome"))
    with page.expect_request("**/api/jobs") as asked:
        page.get_by_role("button", name="Make frames").click()
    assert asked.value.post_data_json["preview"]
    if failed:
        page.get_by_role("alert").wait_for()
        page.reload()
        page.get_by_role("alert").wait_for()
        assert page.get_by_role("alert").inner_text() == "No memory."
    else:
        page.get_by_role("button", name="Cancel").wait_for()
        page.wait_for_function("() => location.hash.length > 1")
        page.reload()
        page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="old.avi").wait_for()
    assert page.locator("#facts").inner_text() == facts and "25 frames a second" in facts
    assert page.locator("#outcome").inner_text() == outcome and "instead of" in outcome
    assert page.locator("#original").get_attribute("src").startswith("api/clips/")
    with page.expect_request("**/api/jobs") as asked:
        page.get_by_role("button", name="Make frames").click()  # however soon
    assert asked.value.post_data_json["preview"]
    page.close()  # before the server, of whose job it asks


def test_a_page_of_a_clip_that_is_gone_says_so(opened, server):
    page = opened(server, refused=404)
    page.goto(f"{server}#0123456789abcdef")
    page.reload()
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").inner_text().startswith("This clip is no longer here")
    assert page.locator("#drop").is_visible() and page.url == server


def test_times_are_rounded_before_they_are_split(opened, server):
    page = opened(server)
    times = {
        0.04: "0 s", 0.36: "0.4 s", 59.94: "59.9 s", 59.96: "1 min 0 s", 60: "1 min 0 s",
        119.4: "1 min 59 s", 119.7: "2 min 0 s", 3599.8: "60 min 0 s",
    }  # fmt: skip
    told = page.evaluate(
        "(times) => import('./words.js').then((words) => times.map(words.duration))", list(times)
    )
    assert told == list(times.values())


def test_a_file_that_is_too_large_is_refused_by_the_page(opened, server, tmp_path):
    page = opened(server)
    (tmp_path / "large.mp4").write_bytes(bytes(1_000_001))
    page.set_input_files("#file", tmp_path / "large.mp4")
    assert "larger than 1 MB" in page.get_by_role("alert").inner_text()
    assert page.locator("#drop").is_visible()


@pytest.mark.slow
def test_a_clip_can_be_dropped_and_a_page_loaded_anew(opened, server, film, tmp_path):
    page = opened(server)
    drop(page, behaving(film, tmp_path), "dropped.mp4")
    page.get_by_role("button", name="Make frames").click()
    page.locator("#player[data-ready]").wait_for()
    assert page.get_by_role("heading", name="dropped.mp4").is_visible()
    page.reload()
    page.locator("#player[data-ready]").wait_for()
    paused_at(page, 0)
    page.get_by_role("button", name="Other settings").click()
    page.get_by_role("button", name="Make frames").wait_for()


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        (PHONE, "dark"),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in LOOKS),
    ],
)
def test_the_page_fits_its_width_and_looks_like_one(opened, server, film, tmp_path, size, scheme):
    page = opened(server, size, color_scheme=scheme)
    pictures = [tmp_path / f"{name}.png" for name in ("choose", "setup", "result")]
    page.screenshot(path=pictures[0])
    page.set_input_files("#file", behaving(film, tmp_path))
    page.get_by_role("button", name="Make frames").wait_for()
    page.screenshot(path=pictures[1])
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert page.evaluate(fits)
    page.get_by_role("button", name="Make frames").click()
    page.locator("#player[data-ready]").wait_for()
    page.screenshot(path=pictures[2])
    assert page.evaluate(fits)
    for path in pictures:
        picture = cv2.imread(str(path))
        assert picture.shape[:2] == (size["height"], size["width"])
        ground = picture[5, 5].astype(int)
        assert (ground.mean() < 40) == (scheme == "dark")
        assert (np.abs(picture.astype(int) - ground).max(-1) > 60).mean() > 0.005


@pytest.mark.slow
def test_everything_can_be_reached_by_the_tab_key(opened, server, film, tmp_path):
    page = opened(server)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    made(page, behaving(film, tmp_path))
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    wanted = ["download", "again", "handle", "play", "back", "forth", "seek", "speed", "view"]
    assert list(dict.fromkeys(one for one in reached if one in wanted)) == wanted


@pytest.mark.slow
def test_midframe_serve_from_the_command_line_to_a_slower_clip(opened, film, tmp_path):
    """Everything real: an original that browsers do not play, the model, and the end by Ctrl-C."""
    views = footage.pan(3, range(0, 4 * FRAMES, 4), 96, 160)
    path = footage.write_video(tmp_path / "old.avi", views, "ffv1")
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "midframe.cli", "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{20,}/", address)
        page = opened(address)
        page.set_default_timeout(300_000)
        page.set_input_files("#file", path)
        page.locator("#unshown").wait_for()
        page.locator("label", has_text="Slow motion").click()
        page.get_by_role("button", name="Make frames").click()
        page.locator("#player[data-ready]").wait_for()
        page.get_by_role("button", name="One frame forward").click()
        assert page.locator("#kind").inner_text() == "between two frames"
        durations = "['before', 'after'].map((id) => document.getElementById(id).duration)"
        before, after = page.evaluate(durations)
        assert after == pytest.approx(2 * before, abs=0.05)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        kept = tmp_path / download.value.suggested_filename
        download.value.save_as(kept)
        assert kept.name == "old-2x-slower.mp4"
        with av.open(str(kept)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
            assert len(list(container.decode(video=0))) == 2 * FRAMES
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert list((tmp_path / "tmp").glob("midframe-serve-*")) == []
