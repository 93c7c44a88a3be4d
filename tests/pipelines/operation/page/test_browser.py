"""The page in a browser: from disk and from a server, every time of it, alarms, and that no text of it runs.

Chromium is Debian's (``apt install chromium``) or Playwright's own (``playwright install chromium``).
"""

import shutil
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import numpy as np
import pyproj
import pytest
import uvicorn
import xarray as xr
from archive import moving_cells
from conftest import free_port, write_params
from page_site import noisy, site, values
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright
from small_model import probabilistic
from waiting import eventually

from pipelines.operation.live_store import LiveStore
from pipelines.operation.page.server import create_app
from pipelines.operation.page.write import update_page
from pipelines.operation.products.latest import read_latest, update_latest
from pipelines.params.operation import Domain

pytestmark = pytest.mark.full

ZONE = "Europe/Helsinki"
# Its clocks go from 3 to 4 at 1:00 UTC, between observed and forecast.
FRAMES = moving_cells("2024-03-31T00:30", 5, shape=(40, 50))
TIMES = [datetime(2024, 3, 31, 0, 35, tzinfo=ZoneInfo("UTC")) + timedelta(minutes=5 * number) for number in range(7)]
LOGIN = {"username": "scs", "password": "secret"}
CYCLE = "20240331T005000Z"
HOSTILE = "</script><img src=x onerror=alert(1)>'\"><b onmouseover=alert(2)>\u202e"
CONTRASTS = """() => {
  const linear = (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map((one) => linear(one / 255))
    .reduce((sum, one, i) => sum + one * [0.2126, 0.7152, 0.0722][i], 0);
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, element = text.parentElement;
    if (!text.data.trim() || !element.checkVisibility() || ["SCRIPT", "NOSCRIPT"].includes(element.tagName)) continue;
    const style = getComputedStyle(element), colour = element instanceof SVGElement ? style.fill : style.color;
    const [low, high] = [light(parts(colour)), light(ground(element))].sort((a, b) => a - b);
    found.push([text.data.trim().slice(0, 40), (high + 0.05) / (low + 0.05)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"no browser (apt install chromium, or playwright install chromium): {error.message[:100]}")
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(
        timezone_id=ZONE, viewport={"width": 1300, "height": 900}, http_credentials=LOGIN
    ) as context:
        yield context


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    return site(tmp_path_factory.mktemp("site"), FRAMES, probabilistic(), minutes=15)


@pytest.fixture(scope="module", params=["disk", "server", "ours"])
def address(request: pytest.FixtureRequest, domain: Domain) -> Iterator[str]:
    """Where the page is: a file, any web server's, or on our own, which asks for the login."""
    folder = domain.out.parent
    if request.param == "disk":
        yield (folder / "index.html").as_uri()
        return
    if request.param == "ours":
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("MLFLOW_TRACKING_USERNAME", LOGIN["username"])
            patch.setenv("MLFLOW_TRACKING_PASSWORD", LOGIN["password"])
            write_params(folder, {"here": {"out": str(domain.out)}})
            app, port = create_app(), free_port()
        uvicorn_server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
        thread = threading.Thread(target=uvicorn_server.run)
        thread.start()
        assert eventually(lambda: uvicorn_server.started)
        yield f"http://127.0.0.1:{port}/here/"
        uvicorn_server.should_exit = True
        thread.join()
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def troubles(context: BrowserContext) -> list[str]:
    """What goes wrong on the page: errors, dialogs, files that aren't there."""
    found: list[str] = []
    context.on("weberror", lambda error: found.append(str(error.error)))
    context.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    context.on("dialog", lambda dialog: (found.append(f"dialog {dialog.message}"), dialog.dismiss()))
    context.on("requestfailed", lambda request: found.append(f"{request.url}: {request.failure}"))
    return found


def opened(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#map[data-shown=full]")
    return page


def at_time(page: Page, time: datetime) -> None:
    page.wait_for_selector(f"#map[data-time='{time:%Y-%m-%dT%H:%M:%SZ}']")


def test_every_time_is_right_in_utc_and_local_over_the_change_of_clocks(
    context: BrowserContext, address: str, troubles: list[str]
) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = opened(context, address)
    at_time(page, TIMES[3])
    assert page.inner_text("#kind") == "observed"
    page.keyboard.press("Home")
    for number, time in enumerate(TIMES):
        at_time(page, time)
        there = time.astimezone(ZoneInfo(ZONE))
        assert page.inner_text("#utc") == f"{time:%Y-%m-%d %H:%M} UTC"
        assert page.inner_text("#local") == f"{there:%Y-%m-%d %H:%M} {there.tzname()} local"
        lead = 5 * (number - 3)
        kind = f"forecast +{lead} min" if lead > 0 else f"observed {lead} min" if lead else "observed"
        assert page.inner_text("#kind") == kind
        assert f"{time:%H:%M} UTC" in page.get_attribute("#slider", "aria-valuetext")
        assert page.locator("#table tr[aria-current]").inner_text().startswith(f"{time:%Y-%m-%d %H:%M}")
        page.keyboard.press("ArrowRight")
    rows = page.locator("#table tbody tr").all_inner_texts()
    assert [row[:16] for row in rows] == [f"{time:%Y-%m-%d %H:%M}" for time in TIMES]
    assert troubles == []
    folder = address.removesuffix("index.html")
    assert all(url.startswith(folder) or url.startswith("data:") for url in asked), asked


def test_what_is_drawn_and_told_is_what_was_observed_and_published(
    context: BrowserContext, address: str, domain: Domain
) -> None:
    page = opened(context, address)
    with xr.open_dataset(domain.out / CYCLE / "forecast.nc", decode_timedelta=False) as forecast:
        published = forecast["rainfall_flux"].to_numpy()
        crs, x, y = forecast["crs"].attrs["crs_wkt"], forecast["x"].to_numpy(), forecast["y"].to_numpy()
    stored = LiveStore.of(domain).open()["rainfall_flux"].to_numpy()
    scale = values(domain.out / "page" / CYCLE / "map.js")["scales"]["rate"]
    colours = ["#ffffff", *scale["palettes"]["colour-blind safe"]]
    to_wgs84 = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(crs), "EPSG:4326", always_xy=True)
    for time, rain in ((TIMES[3], stored[-1]), (TIMES[6], published[2])):
        page.get_by_role("button", name=f"{time:%Y-%m-%d %H:%M}").click()
        at_time(page, time)
        page.locator("#map").scroll_into_view_if_needed()  # the button is below it
        box = page.locator("#map").bounding_box()
        wettest = np.unravel_index(np.nanargmax(rain), rain.shape)
        middling = np.unravel_index(np.nanargmin(np.abs(rain - 3)), rain.shape)
        for row, column in (wettest, middling, (1, 1)):
            across, down = (column + 0.5) / 50, (row + 0.5) / 40
            page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
            told, value = page.inner_text("#value"), rain[row, column]
            if np.isnan(value):
                assert (row, column) == (1, 1) and told == "not known"
            else:
                assert float(told.removesuffix(" mm/h")) == pytest.approx(value, rel=0.06), "two digits"
            lon, lat = to_wgs84.transform(x[column], y[row])
            # A pixel is 0.016 degrees, and 10 points of the screen or more, of which the pointer is at a whole one.
            assert page.inner_text("#where").startswith("at ")
            shown = [float(part[:-2]) for part in page.inner_text("#where").split(",")[0].split()[1:]]
            assert shown == pytest.approx([lat, lon], abs=0.015)
            drawn = page.evaluate(
                "([u, v]) => { const map = document.getElementById('map'); cross = null; draw();"
                "const pen = map.getContext('2d'), at = [u * map.width, v * map.height];"
                "return [...pen.getImageData(...at, 1, 1).data].slice(0, 3); }",
                [(column + 0.25) / 50, (row + 0.25) / 40],
            )
            wanted = "#b9bec3" if np.isnan(value) else colours[int(np.digitize(value, np.float32(scale["bounds"])))]
            assert "#" + "".join(f"{one:02x}" for one in drawn) == wanted, (row, column, value)


def test_probabilities_are_a_layer_that_never_says_none_or_all(context: BrowserContext, address: str) -> None:
    page = opened(context, address)
    page.select_option("#layer", "Probability: rain rate")
    assert page.locator("#level option").all_inner_texts() == ["≥ 0.1 mm/h", "≥ 1 mm/h", "≥ 5 mm/h"]
    page.select_option("#level", "≥ 1 mm/h")
    assert eventually(lambda: page.evaluate("shown.of.level") == "≥ 1 mm/h")
    at_time(page, TIMES[4])
    assert page.locator("#table tbody tr").count() == 3
    told = page.evaluate("[0, 0.04, 0.25, 0.75, 1].map((one) => inWords(one, scaleOf(layer)))")
    assert told == ["< 5 %", "< 5 %", "25 %", "75 %", "> 95 %"]
    page.select_option("#layer", "Rain rate")
    at_time(page, TIMES[4])  # the same time
    assert page.locator("#level-of").is_hidden()


def test_the_colours_are_those_of_the_legend_whatever_was_chosen_before(
    context: BrowserContext, domain: Domain
) -> None:
    page = opened(context, (domain.out.parent / "index.html").as_uri())
    palettes = values(domain.out / "page" / CYCLE / "map.js")["scales"]["rate"]["palettes"]
    seen = (
        "() => { const { width, height } = shown.picture, pen = shown.picture.getContext('2d');"
        "const all = pen.getImageData(0, 0, width, height).data, found = new Set();"
        "for (let i = 0; i < all.length; i += 4)"
        " found.add('#' + [...all.slice(i, i + 3)].map((one) => one.toString(16).padStart(2, '0')).join(''));"
        "return [...found]; }"
    )

    def drawn() -> list[str]:
        chosen, found = page.input_value("#palette"), set(page.evaluate(seen))
        return [name for name, colours in palettes.items() if found & set(colours)] + [chosen]

    page.keyboard.press("End")  # a time that both layers have
    at_time(page, TIMES[-1])
    assert drawn() == ["colour-blind safe"] * 2
    page.select_option("#palette", "as in the pictures")
    assert drawn() == ["as in the pictures"] * 2
    page.select_option("#layer", "Probability: rain rate")
    assert eventually(lambda: page.evaluate("shown.of.scale") == "probability")
    page.select_option("#layer", "Rain rate")
    assert eventually(lambda: page.evaluate("shown.of.scale") == "rate")
    first, second = drawn()
    assert first == second


def test_it_plays_in_order_over_and_over_until_it_is_told_not_to(context: BrowserContext, address: str) -> None:
    page = opened(context, address)
    page.keyboard.press("End")
    at_time(page, TIMES[-1])
    page.evaluate(
        "() => { window.seen = []; const one = document.getElementById('map');"
        " new MutationObserver(() => seen.push(one.dataset.time)).observe(one, { attributeFilter: ['data-time'] }); }"
    )
    page.keyboard.press("Space")
    assert eventually(lambda: page.evaluate("seen.length") >= 9)
    page.get_by_role("button", name="Pause").click()
    seen = page.evaluate("seen")
    assert seen[:9] == [f"{TIMES[number % 7]:%Y-%m-%dT%H:%M:%SZ}" for number in range(9)]
    page.wait_for_timeout(1600)
    assert len(page.evaluate("seen")) <= len(seen) + 1, "it stands"


def test_pausing_and_playing_at_once_and_another_domain_leave_one_round_or_none(
    context: BrowserContext, troubles: list[str], tmp_path: Path
) -> None:
    domain = site(tmp_path, FRAMES, minutes=15)
    update_latest(domain, alarms={"no-forecast": "of here"})
    update_page(domain, [domain, domain.model_copy(update={"name": "other", "out": tmp_path / "none-yet"})])
    page = opened(context, (tmp_path / "index.html").as_uri())
    page.keyboard.press("End")
    at_time(page, TIMES[-1])
    page.evaluate(
        "() => { window.seen = []; const one = document.getElementById('map');"
        " new MutationObserver(() => seen.push(performance.now())).observe(one, { attributeFilter: ['data-time'] }); }"
    )
    for _ in range(3):
        page.keyboard.press("Space")
    assert eventually(lambda: page.evaluate("seen.length") >= 5)
    gaps = np.diff(page.evaluate("seen"))
    assert gaps[1:].min() > 250, "one round plays, though the first was still waiting"
    page.select_option("#domain", "other")
    page.get_by_text("nothing has been published yet").wait_for()
    assert page.text_content("#play") == "▶ Play"
    left = page.evaluate("['alarms', 'facts', 'files', 'chart', 'scores'].filter((id) => $(id).textContent)")
    assert left == [] and page.locator("#map").is_hidden(), "nothing of one domain stands under the name of another"
    page.wait_for_timeout(1600)
    page.select_option("#domain", "here")
    page.wait_for_selector("#map[data-shown=full]")
    assert page.locator("#facts dd").count() > 5
    assert not any("Error" in one for one in troubles if "none-yet" not in one), troubles


def test_an_alarm_that_comes_while_the_page_is_open_and_text_that_would_run(
    context: BrowserContext, troubles: list[str], tmp_path: Path
) -> None:
    domain = site(tmp_path, FRAMES, minutes=15)
    page = opened(context, (tmp_path / "index.html").as_uri())
    assert page.locator("#alarms").is_hidden()
    told = read_latest(domain.out)["forecast"]
    gap = {"time": "2024-03-31T00:45:00", "why": HOSTILE, "stand_in": HOSTILE}
    told |= {"title": HOSTILE, "fallback": HOSTILE, "attribution": HOSTILE, "missing_frames": [gap]}
    update_latest(domain, forecast=told, alarms={"no-forecast": HOSTILE})
    update_page(domain.model_copy(update={"silent_minutes": 90}), [domain])
    page.evaluate("refresh()")
    alarm = page.get_by_role("alert")
    alarm.wait_for()
    assert alarm.locator("div").count() == 3, "old data, the alarm, the fallback"
    assert HOSTILE in alarm.inner_text() and "old data" in alarm.inner_text()
    first = "document.querySelector('.alarm')"
    page.evaluate(f"window.kept = {first}; const real = Date.now; Date.now = () => real() + 3 * 86400000; showStatus()")
    assert page.evaluate(f"kept === {first}"), "a screen reader reads it out once, not every minute"
    assert page.locator("#facts dd").first.inner_text() == HOSTILE
    assert page.locator("img, body script").count() == 0
    page.mouse.move(300, 60)
    assert page.evaluate(CONTRASTS)
    assert troubles == []


def test_a_forecast_that_is_made_again_or_gone_while_the_page_is_open(
    context: BrowserContext, troubles: list[str], tmp_path: Path
) -> None:
    domain = site(tmp_path, FRAMES, minutes=15)
    page = opened(context, (tmp_path / "index.html").as_uri())
    told = read_latest(domain.out)["forecast"]
    with xr.load_dataset(domain.out / CYCLE / "forecast.nc", decode_timedelta=False) as forecast:
        forecast["rainfall_flux"][:] = 42.0
        forecast.to_netcdf(domain.out / CYCLE / "forecast.nc")
    update_latest(domain, forecast=told | {"model_version": "2"}, alarms={})
    update_page(domain, [domain])
    page.evaluate("refresh()")
    page.wait_for_selector("#map[data-shown=full]")
    page.keyboard.press("End")
    at_time(page, TIMES[-1])
    assert "highest 42 mm/h" in page.get_attribute("#map", "aria-label")
    page.keyboard.press("Space")
    (domain.out / "latest.json").unlink()
    update_latest(domain, alarms={"stale-input": "since the radar is off"})
    update_page(domain, [domain])
    page.evaluate("refresh()")
    page.get_by_text("no forecast yet").wait_for()
    assert page.locator("#map").is_hidden() and page.get_by_role("alert").is_visible()
    page.wait_for_timeout(1600)
    assert troubles == []


def test_a_field_that_is_damaged_is_said_and_the_others_are_shown(context: BrowserContext, tmp_path: Path) -> None:
    domain = site(tmp_path, FRAMES, minutes=15)
    fields = sorted((domain.out / "page" / CYCLE).glob("rainfall_flux_2*_small.js"))
    fields[4].write_text('scs.give("here')
    fields[5].write_text(fields[6].read_text().replace("T010500Z", "T010000Z").replace('", "', '", "AAAA'))
    page = opened(context, (tmp_path / "index.html").as_uri())
    page.keyboard.press("End")
    for time, shown in ((TIMES[6], "full"), (TIMES[5], "nothing"), (TIMES[4], "nothing"), (TIMES[3], "full")):
        at_time(page, time)
        assert page.get_attribute("#map", "data-shown") == shown
        page.keyboard.press("ArrowLeft")


def test_names_of_folders_are_names(context: BrowserContext, troubles: list[str], tmp_path: Path) -> None:
    domain = site(tmp_path, FRAMES, minutes=15)
    other = domain.model_copy(update={"name": "other", "out": tmp_path / "o\"'><img src=x onerror=alert(1)>#?%41"})
    domain.out.rename(other.out)
    shutil.rmtree(other.out / "page")
    update_page(other, [domain, other])
    page = context.new_page()
    page.goto((tmp_path / "index.html").as_uri() + "#other")
    at_time(page, TIMES[3])
    assert page.locator("img").count() == 0 and page.title() == "other: radar nowcast"
    link = page.get_by_role("link", name="forecast.nc").evaluate("one => one.href")
    assert unquote(link) == f"file://{other.out / CYCLE / 'forecast.nc'}"
    page.select_option("#domain", "here")  # whose folder is gone
    page.get_by_text("nothing has been published yet").wait_for()
    assert not any("dialog" in one for one in troubles)


def test_texts_have_contrast_and_a_phone_shows_all_of_it(browser: Browser, domain: Domain) -> None:
    address = (domain.out.parent / "index.html").as_uri()
    with browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as context:
        page = opened(context, address)
        found = page.evaluate(CONTRASTS)
        assert len(found) > 50
        assert [one for one in found if one[1] < 4.5] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        heights = "[...document.querySelectorAll('#view button')].map((one) => one.getBoundingClientRect().height)"
        assert min(page.evaluate(heights)) >= 44, "for fingers"
        box = page.locator("#map").bounding_box()
        page.touchscreen.tap(box["x"] + 2, box["y"] + 2)
        assert page.inner_text("#value") == "not known", "the corner"
        session = context.new_cdp_session(page)
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for kind, far in (("touchStart", 30), ("touchMove", 60), ("touchMove", 90), ("touchEnd", 0)):
            points = [{"x": middle[0] - far, "y": middle[1], "id": 0}, {"x": middle[0] + far, "y": middle[1], "id": 1}]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points if far else []})
        assert page.evaluate("view.zoom") == pytest.approx(3, rel=0.15), "fingers three times as far apart"


def test_the_full_grid_comes_on_demand_and_keys_read_the_map(context: BrowserContext, tmp_path: Path) -> None:
    frames = noisy(moving_cells("2024-03-31T00:30", 5, shape=(320, 310)))
    domain = site(tmp_path, frames, minutes=15)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    page.wait_for_selector("#map[data-shown=small]")
    factor = page.evaluate("map.small")
    assert factor == values(domain.out / "page" / CYCLE / "map.js")["small"] > 1
    assert eventually(lambda: page.evaluate("fields.size") == 7)
    assert not any("_full.js" in url for url in asked)
    page.keyboard.press("f")
    page.wait_for_selector("#map[data-shown=full]")
    assert sum("_full.js" in url for url in asked) == 1
    rain = LiveStore.of(domain).open()["rainfall_flux"].to_numpy()[-1]
    page.focus("#map")
    page.evaluate("cross = { x: 100.5 / 310, y: 50.5 / 320 }")
    for key, row, column in (
        ("ArrowRight", 50, 101),
        ("ArrowDown", 51, 101),
        ("Shift+ArrowLeft", 51, 91),
        ("ArrowUp", 50, 91),
    ):
        page.keyboard.press(key)
        assert float(page.inner_text("#value").split()[0]) == pytest.approx(rain[row, column], rel=0.06)
    assert page.get_attribute("#map", "data-time") == "2024-03-31T00:50:00Z", "arrows on the map are not steps"
    page.keyboard.press("f")
    page.wait_for_selector("#map[data-shown=small]")
    for _ in range(2):
        page.keyboard.press("+")
    page.wait_for_selector("#map[data-shown=full]")
    assert page.evaluate("view.zoom") == pytest.approx(2.25)
