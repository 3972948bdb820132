"""The page in a real browser: the slider, sorting, plots, phones, and no word to any network."""

from __future__ import annotations

import shutil

import cv2
import fake_results
import numpy as np
import pytest

from midframe.launch.report import main

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright for Python is not installed"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no chromium on the PATH", allow_module_level=True)

pytestmark = pytest.mark.slow

MODELS = {"net": (0, 3), "dis": (-3, 12), "average": (-8, 40), "net <b>twin</b>": (-0.1, 5)}
NAMES = ("Alley", "Bamboo", "Cave", "Dragon")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of four models with pictures, and of two on many images in two subsets."""
    top = tmp_path_factory.mktemp("report")
    for model, (less, noise) in MODELS.items():
        values = {n: (30 + 3 * i + less, 0.9 + i / 100) for i, n in enumerate(NAMES)}
        folder = top / "results" / f"tiny-{less}"
        fake_results.write(folder, model, values, parameters=0 if noise > 10 else 4_000_000)
        fake_results.add_pictures(folder, NAMES, noise, size=(120, 200))
    by = fake_results.protocol("wide", subsets=("easy", "hard"), expected={})
    for model in ("net", "dis"):
        rng = np.random.default_rng(len(model))
        keys = [f"{s}/{i}" for s in by.subsets for i in range(50)]
        values = {key: (rng.normal(30, 3), 0.9) for key in keys}
        fake_results.write(top / "results" / f"wide-{model}", model, values, by)
    part = {"complete": False, "problems": ["limited to 1 of every subset"]}
    long = "part" + 150 * "x"
    fake_results.write(top / "results" / "wide-part", long, {"easy/1": (99, 0.99)}, by, **part)
    fake_results.speed(top / "results" / "speed.json")
    assert main([str(top / "results"), "--out", str(top / "out"), "--pictures", "3"]) == 0
    return top / "out" / "report.html"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        # in a container nobody may make the namespaces of a sandbox; the page is our own
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, report):
    """Open the page; afterwards nothing must have failed or been asked of any network."""
    contexts, said = [], []

    def open_page(size=WIDE, **options):
        context = browser.new_context(viewport=size, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda one: said.append(one.url) if watch(one.url) else None)
        page.goto(report.as_uri())
        return page

    def watch(url):
        return not url.startswith("data:") and url != report.as_uri()

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def shot(page, where):
    """Return what a part of the page looks like, (H, W, 3)."""
    data = np.frombuffer(where.screenshot(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(float)


def centre(box):
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_mouse_moves_the_divider_and_what_is_seen_changes(opened):
    page = opened()
    stage, handle = page.locator(".stage").first, page.get_by_role("slider").first
    page.locator("label:text-is('Left') + select").first.select_option(label="average")
    stage.scroll_into_view_if_needed()
    before = shot(page, stage)
    box = stage.bounding_box()
    page.mouse.move(*centre(handle.bounding_box()))
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 20, steps=4)
    page.mouse.up()
    assert handle.get_attribute("aria-valuenow") == "20"
    after = shot(page, stage)
    width = before.shape[1]
    changed = np.abs(before - after).mean((0, 2))
    # between the two places stands the truth where average's noise stood
    assert changed[int(0.25 * width) : int(0.45 * width)].mean() > 5
    assert changed[int(0.6 * width) : int(0.85 * width)].mean() < 1
    assert changed[: int(0.1 * width)].mean() < 1


def test_touch_moves_the_divider(opened):
    page = opened(PHONE, has_touch=True, is_mobile=True)
    stage, handle = page.locator(".stage").first, page.get_by_role("slider").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    assert abs(int(handle.get_attribute("aria-valuenow")) - 75) <= 1


def test_keys_move_the_divider_and_go_from_image_to_image(opened):
    page = opened()
    handle = page.get_by_role("slider").first
    handle.focus()
    for key, share in (("ArrowLeft", 49), ("Shift+ArrowRight", 59), ("Home", 0), ("End", 100),
                       ("PageDown", 90), ("ArrowUp", 91)):  # fmt: skip
        page.keyboard.press(key)
        assert handle.get_attribute("aria-valuenow") == str(share)
    text = handle.get_attribute("aria-valuetext")
    assert text == "91 % net, then Ground truth"
    clip = page.locator(".layer").nth(1).evaluate("one => one.style.clipPath")
    assert clip.replace("0px", "0") == "inset(0 9% 0 0)"
    names = []
    for key in ("n", "n", "n", "p"):
        page.keyboard.press(key)
        names.append(page.locator("figcaption b").first.inner_text().split(",")[0])
    assert names == ["Dragon", "Bamboo", "Alley", "Bamboo"]  # worst, best, then in turns


def test_zoom_shows_pixels_that_can_be_moved(opened):
    page = opened()
    handle, picture = page.get_by_role("slider").first, page.locator(".layer img").first
    button = page.get_by_role("button", name="Zoom to pixels").first
    assert picture.evaluate("one => getComputedStyle(one).imageRendering") == "auto"
    handle.focus()
    page.keyboard.press("z")
    assert button.get_attribute("aria-pressed") == "true"
    assert picture.evaluate("one => getComputedStyle(one).imageRendering") == "pixelated"
    before = picture.bounding_box()
    page.keyboard.press("Shift+ArrowRight")
    assert picture.bounding_box()["x"] == pytest.approx(before["x"] - 40, abs=1.5)
    assert handle.get_attribute("aria-valuenow") == "50"
    button.click()
    assert picture.evaluate("one => getComputedStyle(one).imageRendering") == "auto"


def test_menus_choose_what_is_compared(opened):
    page = opened()
    left = page.locator("label:text-is('Left') + select").first
    found = left.locator("option").all_inner_texts()
    assert found[:4] == ["Ground truth", "net", "Error of net", "Flow of net"]
    assert "net <b>twin</b>" in found
    left.select_option(label="Error of dis")
    image = page.locator(".layer img").nth(1)
    assert image.get_attribute("alt").startswith("Error of dis, image ")
    page.get_by_role("button", name="Swap").first.click()
    right = page.locator("label:text-is('Right') + select").first
    assert right.locator("option:checked").inner_text() == "Error of dis"


def column(page, table, index):
    rows = table.locator("tbody").first.locator("tr").all()
    return [row.locator("th,td").nth(index).inner_text().split("\n")[0] for row in rows]


def test_a_click_or_enter_sorts_a_table(opened):
    page = opened()
    table = page.locator("table").first
    head = table.locator("th").nth(1)
    assert column(page, table, 0) == ["net", "net <b>twin</b>", "dis", "average"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, table, 0) == ["average", "dis", "net <b>twin</b>", "net"]
    assert [float(v) for v in column(page, table, 1)] == sorted(map(float, column(page, table, 1)))
    table.locator("th button").first.click()
    assert head.get_attribute("aria-sort") == "none"
    assert column(page, table, 0) == ["average", "dis", "net", "net <b>twin</b>"]
    published = table.locator("tbody").nth(1).locator("th").all_inner_texts()
    assert all("published" in text for text in published)  # they stay below


def test_incomplete_results_stay_last_however_a_table_is_sorted(opened):
    page = opened()
    section = page.locator("section", has=page.get_by_role("heading", name="wide@1"))
    table = section.locator("table").first
    for _ in range(2):
        table.locator("th button").nth(1).click()
        assert column(page, table, 0)[-1].startswith("part")
        assert float(column(page, table, 1)[-1]) == 99


def test_buttons_choose_the_axis_of_the_scatter_plot(opened):
    page = opened()
    plot = page.locator("[data-plot=scatter]").first
    assert "Parameters (log scale)" in plot.inner_text()
    assert plot.locator(".spot").count() == 4
    plot.get_by_role("button", name="Latency").click()
    assert plot.locator(".spot").count() == 1
    assert "Not known of net <b>twin</b>, dis, average." in plot.inner_text()
    plot.locator("select").select_option(index=1)
    assert "448x256, bf16, cpu, 2 threads" in plot.locator("svg").text_content()
    plot.get_by_role("button", name="Seconds per image").click()
    plot.get_by_role("button", name="SSIM").click()
    assert plot.locator(".spot").first.get_attribute("aria-label").startswith("net, SSIM 0.9150")


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_names_in_the_scatter_plot_hide_no_other(opened, size):
    page = opened(size)
    plot = page.locator("[data-plot=scatter]").first
    plot.get_by_role("button", name="Seconds per image").click()  # all at the same place across
    boxes = [one.bounding_box() for one in plot.locator(".label").all()]
    assert len(boxes) == 4
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            across = a["x"] < b["x"] + b["width"] and b["x"] < a["x"] + a["width"]
            upright = a["y"] + 2 < b["y"] + b["height"] and b["y"] + 2 < a["y"] + a["height"]
            assert not (across and upright)


def test_the_tooltip_follows_pointer_and_focus(opened):
    page = opened()
    tip = page.locator("#tip")
    spot = page.locator(".spot").first
    spot.focus()
    tip.wait_for(state="visible")  # the page may have to scroll there first
    assert tip.inner_text().startswith("net\nPSNR")
    spot.blur()
    assert tip.is_hidden()
    svg = page.locator("[data-plot=images] svg[tabindex]").first
    svg.scroll_into_view_if_needed()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
    svg.hover()
    tip.wait_for(state="visible")
    page.mouse.wheel(0, 200)  # what the pointer showed goes with the scrolling
    tip.wait_for(state="hidden")


def test_keys_go_along_the_images_and_open_their_pictures(opened):
    page = opened()
    plot = page.locator("[data-plot=images]").first
    plot.locator("select").select_option(label="by net")
    svg = plot.locator("svg[tabindex]")
    svg.focus()
    page.keyboard.press("End")
    assert page.locator("#tip").inner_text().startswith("Dragon")
    page.keyboard.press("Enter")
    assert page.locator("figcaption b").first.inner_text().startswith("Dragon")
    assert page.get_by_role("slider").first.evaluate("one => one === document.activeElement")


def test_many_images_are_drawn_as_dots_and_subsets_as_lines(opened):
    page = opened()
    section = page.locator("section", has=page.get_by_role("heading", name="wide@1"))
    assert section.locator("[data-plot=images] .dots").count() == 3
    assert section.locator("[data-plot=parts] .spot").count() == 5
    assert "No pictures" in section.inner_text()


@pytest.mark.parametrize("size", [WIDE, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_width_and_looks_like_one(opened, size, scheme, tmp_path):
    page = opened(size, color_scheme=scheme)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size["width"]
    for one in page.locator(".scroll").all():
        assert one.evaluate("one => one.clientWidth") <= size["width"]
    path = tmp_path / "page.png"
    page.screenshot(path=path)
    picture = cv2.imread(str(path))
    assert picture.shape[:2] == (size["height"], size["width"])
    ground = picture[5, 5].astype(int)
    assert (ground.mean() < 40) == (scheme == "dark")
    assert (np.abs(picture.astype(int) - ground).max(-1) > 60).mean() > 0.01  # something is there


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_names_in_the_first_column_keep_their_words_whole(opened, size):
    page = opened(size)
    whole = (
        page.locator("section.part")
        .first.locator("tbody th")
        .evaluate_all(
            """all => all.map((one) => { const range = document.createRange();
        const text = one.firstChild;
        return text.data.trim().split(/\\s+/).every((word) => {
          const at = text.data.indexOf(word); range.setStart(text, at);
          range.setEnd(text, at + word.length);
          return new Set([...range.getClientRects()].map((box) => box.top)).size === 1; }); })"""
        )
    )
    assert whole and all(whole)


def test_the_table_of_pairs_is_whole_on_a_desk_and_a_shade_tells_where_one_goes_on(opened):
    pairs = "[aria-labelledby=p0-pairs]"
    beyond = "one => one.scrollWidth - one.clientWidth"
    assert opened(WIDE).locator(pairs).evaluate(beyond) == 0
    one = opened(PHONE).locator(pairs)
    assert one.evaluate(beyond) > 100
    one.scroll_into_view_if_needed()
    cut = shot(opened, one)
    one.evaluate("one => one.scrollTo(one.scrollWidth, 0)")
    end = shot(opened, one)
    edge = (slice(-20, -4), slice(-3, None))
    assert cut[edge].mean() < 220 < 250 < end[edge].mean()


def test_everything_can_be_reached_by_the_tab_key_with_visible_focus(opened):
    page = opened()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => { const one = document.activeElement; const look = getComputedStyle(one);
            const after = getComputedStyle(one, "::after");
            return [one.getAttribute("role") || one.tagName, look.outlineStyle, after.boxShadow,
                    one.classList.contains("spot")]; }"""
        )
        reached.add(found[0].lower())
        assert found[1] != "none" or found[2] != "none" or found[3]
    assert {"a", "button", "select", "slider", "region", "application", "img"} <= reached


def test_without_scripts_the_tables_are_there(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("table").first.is_visible()
    assert "JavaScript shows the pictures." in page.locator("[data-compare]").first.inner_text()
