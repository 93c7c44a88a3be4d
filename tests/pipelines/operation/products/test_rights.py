"""Whom licences want named: from a store's attributes to each of a forecast's products."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from archive import moving_cells
from small_model import loaded

from pipelines.common.rights import Rights, attributions
from pipelines.nowcast.methods.description import ModelDescription, TrainedOn
from pipelines.nowcast.model_card import rights_lines
from pipelines.operation.forecast import forecast
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products.attributes import ForecastAttributes
from pipelines.operation.products.publish import draw_forecast, publish
from pipelines.operation.products.published import read_published
from pipelines.operation.sources import of_store
from pipelines.params.operation import Policy

POLICY = Policy(max_age_minutes=None, min_valid_share=0.01, max_missing=0, stand_in="advected", fallback=[])
OURS = Rights("CC-BY-NC-4.0", "Source: the service")
WHOSE = "Source: the service; Data: a $_$ neighbour"  # no formula


@pytest.mark.parametrize(
    ("license", "restrictions"),
    [
        ("CC0-1.0", 0),
        ("CC-BY-4.0", 0),
        ("LicenseRef-scancode-us-govt-public-domain", 0),
        ("LicenseRef-franchise-incl-andorra", 0),
        ("CC-BY-NC-SA-4.0", 1),
        ("PolyForm-Noncommercial-1.0.0", 1),
        ("LicenseRef-scancode-other-non-commercial", 1),
        ("CC-BY-NC-ND-4.0", 2),
        ("LicenseRef-scancode-unknown", 1),
        ("NOASSERTION", 1),
        ("not stated", 1),
        ("", 1),
        ("NONE", 1),
        ("NCGL-UK-2.0", 1),
        ("CC-BY-4.0 AND LicenseRef-scancode-unknown", 1),
        ("CC-BY-NC-4.0 AND LicenseRef-scancode-unknown", 2),
    ],
)
def test_what_a_licence_forbids_is_told_by_its_name(license: str, restrictions: int) -> None:
    assert len(Rights(license).restrictions) == restrictions


def test_rights_are_those_of_the_attributes() -> None:
    assert Rights.of({"license": "CC0-1.0"}) == Rights("CC0-1.0", None)
    assert Rights.of({}).restrictions == ["licence unknown: ask whose data they are"]
    assert Rights.of(OURS.to_attrs()) == OURS
    assert attributions([OURS, Rights("CC0-1.0"), OURS, Rights("x", "B")]) == "Source: the service; B"
    assert attributions([Rights("CC0-1.0")]) is None


def test_the_card_says_it_of_each_archive() -> None:
    archives = [
        TrainedOn(name="nl", license="CC-BY-4.0", attribution="Source: KNMI"),
        TrainedOn(name="own", license="CC-BY-NC-4.0"),
        TrainedOn(name="found", license="LicenseRef-scancode-unknown"),
    ]
    description = ModelDescription.model_construct(archives=archives)
    assert rights_lines(description) == [
        "- trained on nl: CC-BY-4.0; Source: KNMI",
        "- trained on own: CC-BY-NC-4.0; not for commercial use",
        "- trained on found: LicenseRef-scancode-unknown; licence unknown: ask whose data they are",
    ]
    assert rights_lines(ModelDescription(method="persistence", inputs=1)) == [
        "- licence of what it was trained on: unknown: it was trained before that was kept"
    ]


def test_every_product_names_them(tmp_path: Path) -> None:
    live = LiveStore(tmp_path / "live", OURS)
    live.append(moving_cells("2024-06-01T23:40", 4))
    source = of_store(live.open(), "live")
    archives = [{"name": "other", "license": "CC-BY-4.0", "attribution": "Data: a $_$ neighbour"}]
    model = loaded("persistence", archives=archives)
    result, observed = forecast(source, lambda: model, POLICY, minutes=30)
    folder = tmp_path / "20240601T235500Z"
    publish(result, observed, folder, leave_out=["maps"])
    for opened in (xr.open_dataset(folder / "forecast.nc"), xr.open_zarr(folder / "forecast.zarr")):
        with opened as dataset:
            assert (dataset.attrs["license"], dataset.attrs["attribution"]) == ("CC-BY-NC-4.0", WHOSE)
    with rasterio.open(next((folder / "cog").glob("rainfall_flux_*.tif"))) as file:
        assert (file.tags()["license"], file.tags()["attribution"]) == ("CC-BY-NC-4.0", WHOSE)
    attributes = read_published(folder).attributes
    assert attributes.attribution == WHOSE and attributes.credit == f"persistence: radar-nowcast version 7. {WHOSE}"

    # A picture has a line more for it.
    silent = result.assign_attrs(attribution="none")
    assert ForecastAttributes.model_validate(silent.attrs).credit == "persistence: radar-nowcast version 7"
    draw_forecast(silent, observed[-1], tmp_path / "silent.png")
    with rasterio.open(folder / "forecast.png") as named, rasterio.open(tmp_path / "silent.png") as other:
        assert named.height > other.height or not np.array_equal(named.read(), other.read())
    assert json.loads(json.dumps(result.attrs))["license"] == "CC-BY-NC-4.0"
