"""What the page's fields hold: the published values, at the right times, and the first look a small one."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from archive import moving_cells
from page_site import FRAMES, REFERENCE, codes, noisy, page_map, site
from small_model import probabilistic

from pipelines.operation.live_store import LiveStore
from pipelines.operation.page.layers import reduced
from pipelines.operation.page.write import PARTS
from pipelines.params.operation import Domain, Members
from pipelines.radar.maps import BOUNDS

SHAPE = (40, 50)


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    return site(tmp_path_factory.mktemp("site"), model=probabilistic(), members=Members(count=4), minutes=60)


@pytest.fixture(scope="module")
def published(domain: Domain) -> xr.Dataset:
    with xr.open_dataset(domain.out / REFERENCE / "forecast.nc", decode_timedelta=False) as opened:
        return opened.load()


def stamped(time: str) -> str:
    return time.replace("-", "").replace(":", "")


def read(domain: Domain, layer: dict, number: int) -> tuple[np.ndarray, np.ndarray]:
    """A field's bytes, and the values that the page's table has for them."""
    table = np.array([*page_map(domain)["scales"][layer["scale"]]["values"], *[np.nan] * 256])[:256]
    field = codes(
        domain.out / "page" / REFERENCE / f"{layer['id']}_{stamped(layer['frames'][number][0])}_small.js", SHAPE
    )
    return field, np.where(field == 255, np.nan, table[field])


def test_rain_is_the_published_to_two_percent_and_its_class_is_exact(domain: Domain, published: xr.Dataset) -> None:
    (layer,) = (one for one in page_map(domain)["layers"] if one["id"] == "rainfall_flux")
    assert [time for time, *_ in layer["frames"]] == [
        *(
            f"2024-06-01T{clock}:00Z"
            for clock in ("11:30", "11:35", "11:40", "11:45", "11:50", "11:55", "12:00", "12:05")
        ),
        *(f"2024-06-01T12:{minute}:00Z" for minute in range(10, 60, 5)),
        *(f"2024-06-01T13:0{minute}:00Z" for minute in (0, 5)),
    ], "all that is observed of the hour before, then an hour of forecast"
    stored = LiveStore.of(domain).open()["rainfall_flux"].to_numpy()
    np.testing.assert_allclose(stored, [frame.rain_rate for frame in FRAMES], atol=0.0051)
    wanted = [*stored, *published["rainfall_flux"].to_numpy()]
    for number, rain in enumerate(wanted):
        _, shown = read(domain, layer, number)
        np.testing.assert_array_equal(np.isnan(shown), np.isnan(rain))
        wet = rain >= 0.05
        np.testing.assert_allclose(shown[wet], rain[wet], rtol=0.02)
        np.testing.assert_array_equal(shown[rain < 0.05], 0)
        np.testing.assert_array_equal(np.digitize(shown, BOUNDS), np.digitize(rain, np.float32(BOUNDS)))
        _, highest, share, known = layer["frames"][number]
        assert highest == pytest.approx(np.nanmax(rain), abs=0.01)
        assert share == pytest.approx((rain >= 0.1).sum() / np.isfinite(rain).sum(), abs=0.001)
        assert known == pytest.approx(np.isfinite(rain).mean(), abs=0.001)


def test_probabilities_amounts_and_percentiles_are_layers(domain: Domain, published: xr.Dataset) -> None:
    layers = page_map(domain)["layers"]
    named = {(one["name"], one["level"]): one for one in layers}
    assert len(named) == len(layers) == 1 + 3 + 3 + 2 * (1 + 3 + 4), "each has a name of its own"
    assert layers[0]["name"] == "Rain rate" and layers[0]["meaning"] == "at the valid time"
    chance = named["Probability: rain rate", "≥ 1 mm/h"]
    name = "rainfall_flux_exceedance_probability"
    for number in range(12):
        _, shown = read(domain, chance, number)
        np.testing.assert_allclose(shown, published[name][number, 1].to_numpy(), atol=1e-6)
    amount = named["Rain over 30 minutes", ""]
    assert [time for time, *_ in amount["frames"]] == ["2024-06-01T12:35:00Z", "2024-06-01T13:05:00Z"]
    assert amount["meaning"] == "of the 30 minutes up to the valid time"
    _, shown = read(domain, amount, 0)
    wanted = published["rainfall_amount_30min"][0].to_numpy()
    np.testing.assert_allclose(shown[wanted >= 0.05], wanted[wanted >= 0.05], rtol=0.02)
    assert {level for name, level in named if name == "Percentile: rain rate"} == {"10 %", "50 %", "90 %"}
    assert {level for name, level in named if name == "Probability: rain over 60 minutes"} == {
        f"≥ {amount} mm" for amount in (1, 5, 10, 20)
    }


def test_small_fields_are_means_of_rain_and_middles_of_probabilities() -> None:
    rain = np.array([[1, 3, 5], [5, 7, np.nan], [np.nan, np.nan, 2]], np.float32)
    np.testing.assert_array_equal(reduced(rain, 2, "rate"), [[4, np.nan], [np.nan, np.nan]])
    grid = np.arange(25, dtype=np.float32).reshape(5, 5)
    np.testing.assert_array_equal(reduced(grid, 3, "probability"), [[6, 9], [21, 24]])


def test_the_first_view_of_rain_that_packs_worst_is_under_500_kb(tmp_path: Path) -> None:
    domain = site(tmp_path, noisy(moving_cells("2024-06-01T11:00", 14, shape=(300, 280))), minutes=60)
    about = page_map(domain)
    assert about["small"] > 1 and about["full"] == 1
    rate, cycle = about["layers"][0], domain.out / "page" / REFERENCE
    small = [cycle / f"rainfall_flux_{stamped(time)}_small.js" for time, *_ in rate["frames"]]
    assert len(small) == 13 + 12
    parts = [*(tmp_path / name for name in PARTS), domain.out / "page/state.js", domain.out / "page/scores.js"]
    first = sum(path.stat().st_size for path in (*parts, cycle / "map.js", *small))
    assert 250_000 < first < 500_000
    full = codes(cycle / f"rainfall_flux_{REFERENCE}_full.js", (300, 280))
    assert np.unique(full).size > 150, "the full grid is there too"
