"""The page as files: what they say, whose they are, and that what fails costs nothing that was there."""

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pyproj
import pytest
from archive import GRID_CRS
from domains import domain_in
from issued_files import damage_pixels
from ledger_rows import GOOD, cycle
from page_site import FRAMES, REFERENCE, page_map, site, values

from pipelines.common.errors import UserError
from pipelines.operation.ledger import append
from pipelines.operation.page.place import place_of
from pipelines.operation.page.scores import scores_by_lead
from pipelines.operation.page.script import script
from pipelines.operation.page.write import PARTS, update_page
from pipelines.operation.products.latest import update_latest
from pipelines.radar.grid import Grid

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028'\"]]>\n<!--"


def test_the_state_is_what_latest_json_says(tmp_path: Path) -> None:
    domain = site(tmp_path).model_copy(update={"silent_minutes": 90})
    update_latest(domain, alarms={"fallback": "MLflow is down"})
    update_page(domain, [domain])
    state, latest = values(domain.out / "page/state.js"), json.loads((domain.out / "latest.json").read_text())
    assert (state["alarms"], state["silent_minutes"]) == (latest["alarms"], 90)
    assert [one["message"] for one in state["alarms"]] == ["MLflow is down"]
    forecast = latest["forecast"]
    assert {name: forecast[name] for name in state["forecast"] if name != "files"} == {
        name: value for name, value in state["forecast"].items() if name != "files"
    }
    assert state["forecast"]["folder"] == REFERENCE and state["forecast"]["model_version"] == "7"
    assert all((domain.out / file).exists() for file in state["forecast"]["files"].values())


def test_text_from_outside_ends_no_string_and_no_element(tmp_path: Path) -> None:
    text = script("name", {"said": HOSTILE})
    assert text.isascii() and "<" not in text and text.count("\n") == 1
    assert json.loads(f"[{text[9:-3]}]")[1]["said"] == HOSTILE
    with pytest.raises(ValueError, match="not JSON compliant"):
        script("name", float("nan"))
    domain = domain_in(tmp_path, out=tmp_path / "o\"><img src=x onerror='alert(1)'>")
    update_latest(domain, alarms={"no-forecast": HOSTILE})
    update_page(domain, [domain])
    page = (tmp_path / "index.html").read_text()
    (names,) = re.findall(r'data-domains="([^"]*)"', page)
    assert json.loads(unescape(names)) == [["here", domain.out.name]] and "<img" not in page
    assert "<" not in (domain.out / "page/state.js").read_text()


def test_a_page_names_the_domains_whose_folders_lie_beside_it(tmp_path: Path) -> None:
    folders = {"one": tmp_path / "forecasts/one", "two": tmp_path / "forecasts/2", "far": tmp_path / "elsewhere/far"}
    domains = [domain_in(tmp_path, name=name, out=out) for name, out in folders.items()]
    for domain in domains:
        update_page(domain, domains)
    named = {}
    for folder in ("forecasts", "elsewhere"):
        (names,) = re.findall(r'data-domains="([^"]*)"', (tmp_path / folder / "index.html").read_text())
        named[folder] = json.loads(unescape(names))
    assert named == {"forecasts": [["one", "one"], ["two", "2"]], "elsewhere": [["far", "far"]]}
    assert values(folders["two"] / "page/state.js")["forecast"] is None, "nothing is published yet"


@pytest.mark.parametrize("name", PARTS)
def test_a_page_of_somebody_else_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("ours since 1998")
    domain = domain_in(tmp_path)
    with pytest.raises(UserError, match=f"{name}: not of a page of ours"):
        update_page(domain, [domain])
    assert (tmp_path / name).read_text() == "ours since 1998"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_a_forecast_that_cant_be_read_leaves_the_map_of_before_and_its_alarms_are_told(tmp_path: Path) -> None:
    site(tmp_path, FRAMES[:7])
    domain = site(tmp_path)
    newest = domain.out / REFERENCE / "forecast.nc"
    maps = sorted(path.parent.name for path in domain.out.glob("page/*/map.js"))
    assert maps == ["20240601T120000Z", REFERENCE]
    newest.rename(newest.with_name("20240601T121000Z.nc"))
    (domain.out / "20240601T121000Z").mkdir()
    damaged = domain.out / "20240601T121000Z/forecast.nc"
    newest.with_name("20240601T121000Z.nc").rename(damaged)
    damage_pixels(damaged)
    latest = json.loads((domain.out / "latest.json").read_text())
    update_latest(domain, forecast=latest["forecast"] | {"folder": "20240601T121000Z"}, alarms={"fallback": "why"})
    with pytest.raises(UserError, match="20240601T121000Z"):
        update_page(domain, [domain])
    assert sorted(path.parent.name for path in domain.out.glob("page/*/map.js")) == maps
    assert sorted(path.name for path in (domain.out / "page").iterdir()) == sorted(
        [".lock", *maps, "scores.js", "state.js"]
    )
    assert values(domain.out / "page/state.js")["alarms"][0]["kind"] == "fallback"


def test_two_maps_are_kept_and_nothing_is_made_twice(tmp_path: Path) -> None:
    for count in (5, 6, 7):
        domain = site(tmp_path, FRAMES[:count])
        if count == 5:
            (domain.out / "page/.20240601T114500Z.99999999.partial").mkdir()  # of one that was killed
    assert sorted(path.parent.name for path in domain.out.glob("page/*/map.js")) == [
        "20240601T115500Z",
        "20240601T120000Z",
    ]
    assert not list(domain.out.glob("page/.*.partial"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.js")}
    update_page(domain, [domain])
    again = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.js")}
    assert [path.name for path in again if again[path] != before.get(path)] == ["state.js"]


def test_without_a_live_store_the_forecast_is_shown_alone(tmp_path: Path) -> None:
    domain = site(tmp_path)
    (domain.store).rename(tmp_path / "gone")
    for path in (domain.out / "page" / REFERENCE).iterdir():
        path.unlink()
    (domain.out / "page" / REFERENCE).rmdir()
    update_page(domain, [domain])
    assert page_map(domain)["layers"][0]["frames"][0][0] == "2024-06-01T12:10:00Z"


def test_scores_by_lead_time_are_those_counted_by_hand(tmp_path: Path) -> None:
    domain = domain_in(tmp_path)
    assert scores_by_lead(domain.out, 7) == {"days": 7, "cycles": 0, "minutes": [], "scores": {}}
    for number in range(2):
        rows = cycle(number, GOOD).assign(
            domain="here", valid_time=pd.Timestamp("2024-06-02"), scored=pd.Timestamp("2024-06-02")
        )
        (domain.out / f"20240601T0{number}0000Z").mkdir(parents=True)
        append(domain.out, np.datetime64(f"2024-06-01T0{number}:00:00"), rows)
    found = scores_by_lead(domain.out, 7)
    assert (found["cycles"], found["minutes"], found["newest"]) == (2, [5.0, 10.0], "2024-06-01T01:00:00Z")
    # hits / (hits + misses + false alarms): 12, 10 and 8 of 20 + 4, and two hits fewer at 10 minutes
    assert found["scores"]["csi"] == {
        "issued": [0.5, round(10 / 24, 4)],
        "extrapolation": [round(10 / 24, 4), round(8 / 24, 4)],
        "persistence": [round(8 / 24, 4), 0.25],
    }
    assert found["scores"]["fss_8km"]["issued"] == [0.75, 0.75]


@pytest.mark.parametrize("crs", [GRID_CRS.to_proj4(), "EPSG:4326"])
def test_the_graticule_and_the_degrees_told_are_where_pyproj_says(crs: str) -> None:
    projection = pyproj.CRS.from_user_input(crs)
    dx, left, top = (1000.0, -2e5, 3e5) if projection.is_projected else (0.02, 178.0, 52.0)
    grid = Grid.from_edges(projection, left=left, top=top, dx=dx, dy=dx, shape=(300, 200))
    place = place_of(grid)
    to_wgs84 = pyproj.Transformer.from_crs(projection, "EPSG:4326", always_xy=True)

    def lonlat(across: float, down: float) -> tuple[float, float]:
        return to_wgs84.transform(left + across * 200 * dx, top - down * 300 * dx)

    for row, column in ((0, 0), (0, 16), (16, 0), (5, 11)):
        lon, lat = lonlat(column / 16, row / 16)
        assert (place["lon"][row][column] - lon) % 360 == pytest.approx(0, abs=1e-4) or crs == "EPSG:4326"
        assert place["lat"][row][column] == pytest.approx(lat, abs=1e-4)
    assert {line["of"] for line in place["lines"]} == {"lon", "lat"}
    for line in place["lines"]:
        degrees = float(re.match(r"[\d.]+", line["name"])[0]) * (-1 if line["name"][-1] in "WS" else 1)
        for across, down in line["points"]:
            found = lonlat(across, down)[0 if line["of"] == "lon" else 1]
            assert (found - degrees + 180) % 360 - 180 == pytest.approx(0, abs=0.02)
    if projection.is_projected:
        assert (place["aspect"], place["km"]) == (1.5, pytest.approx(200, abs=0.001))


@pytest.mark.parametrize("middle", [9.5, 175.0])
def test_off_the_disk_that_a_satellite_sees_there_are_no_degrees_and_no_lines(middle: float) -> None:
    projection = pyproj.CRS.from_proj4(f"+proj=geos +h=35785831 +lon_0={middle} +sweep=y")
    half, count = 5.6e6, 160
    grid = Grid.from_edges(
        projection, left=-half, top=half, dx=2 * half / count, dy=2 * half / count, shape=(count,) * 2
    )
    place = place_of(grid)
    lon, lat = np.array(place["lon"], float), np.array(place["lat"], float)
    x, y = np.meshgrid(np.linspace(-1, 1, 17), np.linspace(1, -1, 17))
    # Of a sphere of 6,378 km, seen from 42,164 km off its middle, the rim is at an angle of asin(6378 / 42164).
    rim = 35785831 * np.arcsin(6378137 / 42164168) / half
    seen = np.hypot(x, y) < 0.98 * rim
    assert np.isfinite(lon[seen]).all() and np.isnan(lon[np.hypot(x, y) > 1.01 * rim]).all()
    assert (lon[8, 8], lat[8, 8]) == pytest.approx((middle, 0), abs=1e-4)
    assert (np.diff(lon[8]) > 0)[1:-1].all()  # beyond 180° it goes on
    assert np.ptp(lon[8][1:-1]) == pytest.approx(2 * (lon[8, 15] - middle), abs=0.01)
    points = np.concatenate([line["points"] for line in place["lines"]])
    assert {line["of"] for line in place["lines"]} == {"lon", "lat"}
    assert (np.hypot(*(2 * points - 1).T) <= 1.01 * rim).all()
    beyond = Grid.from_edges(projection, left=-9e6, top=9e6, dx=1e4, dy=1e4, shape=(30, 30))
    assert place_of(beyond)["lines"] == []  # nothing of the globe


def test_the_parts_ask_for_nothing_elsewhere_and_set_no_html(tmp_path: Path) -> None:
    domain = domain_in(tmp_path)
    update_page(domain, [domain])
    html, css, js = ((tmp_path / name).read_text() for name in PARTS)
    assert re.findall(r"""(?:src|href)=["']([^"']*)""", html) == ["data:,", "index.css", "index.js"]
    assert "default-src 'none'" in html and "unsafe" not in html and "<script>" not in html and "style=" not in html
    assert "http" not in css and "url(" not in css and "@import" not in css
    assert re.findall(r"https?://[\w./]+", js) == ["http://www.w3.org/2000/svg"], "a name, no address"
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
        "XMLHttpRequest",
    ):
        assert word not in js
