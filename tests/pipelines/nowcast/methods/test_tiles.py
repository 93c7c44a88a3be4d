"""A grid that is cut into tiles has the forecast of the whole."""

from typing import Any

import numpy as np
import pytest
import torch
from rigid_rain import rigid

from pipelines.nowcast.methods.network import FixedNetworkForecaster, NetworkForecaster, ProbabilisticNetworkForecaster
from pipelines.nowcast.methods.normalisation import thresholds
from pipelines.nowcast.methods.tiles import cut
from pipelines.radar.frame import Rain
from scs_model import EncoderForecaster

RATES = [0.1, 1.0, 5.0]


def network(cell: str, **arguments: Any) -> EncoderForecaster:
    """A network that looks as far as it can: its weights are large."""
    torch.manual_seed(0)
    built = EncoderForecaster(cell, [4, 4], 3, 4, leads=3, **arguments)
    for parameter in built.parameters():
        parameter.data *= 2
    torch.nn.init.normal_(built.head.weight, std=0.3)
    return built


def rain() -> Rain:
    """Showers that come from the north-west, by 4 pixels a frame, heavier in the east, with a hole."""
    frames = rigid(4, dx=4, dy=3, shape=(210, 330)) * np.linspace(0.3, 3, 330, dtype=np.float32)
    frames[:, 100:120, 90:130] = np.nan
    return frames


def in_tiles(forecaster: Any) -> Any:
    forecaster.whole, forecaster.side = 0, 80
    return forecaster


def test_tiles_have_every_pixel_once() -> None:
    count = np.zeros((210, 330), int)
    tiles = cut((210, 330), 80)
    for tile in tiles:
        count[tile] += 1
    assert (count == 1).all() and max(max(tile.shape) for tile in tiles) <= 80
    assert [tile.shape for tile in cut((210, 330), 330)] == [(210, 330)]


@pytest.mark.parametrize("cell", ["scs", "scs_action", "convlstm", "convgru", "trajgru"])
def test_a_field_is_the_same_in_tiles(cell: str) -> None:
    frames, built = rain(), network(cell)
    whole, tiled = NetworkForecaster(built, 4)(frames, 5), in_tiles(NetworkForecaster(built, 4))(frames, 5)
    np.testing.assert_allclose(tiled, whole, rtol=0.02, atol=1e-3)  # pixels of all but the same order may change places
    assert np.nanquantile(abs(tiled - whole), 0.999) < 1e-4


def test_a_field_in_fixed_coordinates_is_the_same_in_tiles() -> None:
    frames, built = rain(), network("scs", coordinates="fixed")
    whole, tiled = FixedNetworkForecaster(built, 4)(frames, 5), in_tiles(FixedNetworkForecaster(built, 4))(frames, 5)
    np.testing.assert_allclose(tiled, whole, rtol=1e-3, atol=1e-4)
    assert np.nanstd(whole) > 0.1


def test_probabilities_are_the_same_in_tiles_within_half_a_step_of_a_byte() -> None:
    frames, built = rain(), network("scs", thresholds=thresholds(RATES))
    whole = ProbabilisticNetworkForecaster(built, 4, RATES, "mean").distribution(frames, 4, RATES)
    for kind in ("matched", "optimal", "median"):
        forecaster = in_tiles(ProbabilisticNetworkForecaster(built, 4, RATES, kind))  # type: ignore[arg-type]
        tiled = forecaster.distribution(frames, 4, RATES)
        assert list(tiled.fields) == [kind]
        difference = abs(np.asarray(tiled.fields[kind]) - whole.fields[kind])
        np.testing.assert_array_equal(np.isnan(difference), np.isnan(whole.fields[kind]))
        assert np.nanquantile(difference, 0.999) < 1e-4, kind
    np.testing.assert_allclose(tiled.exceedance, whole.exceedance, atol=0.5 / 250 + 1e-6)
    assert np.nanstd(whole.exceedance) > 0.2
    some = forecaster.distribution(frames, 4, [0.1, 5.0]).exceedance
    np.testing.assert_array_equal(some, np.asarray(tiled.exceedance)[:, [0, 2]])


def test_without_what_is_around_it_a_tile_has_another_forecast() -> None:
    frames, built = rain(), network("scs", thresholds=thresholds(RATES))
    whole = ProbabilisticNetworkForecaster(built, 4, RATES, "mean")
    tiled = in_tiles(ProbabilisticNetworkForecaster(built, 4, RATES, "mean"))
    assert tiled.halo == 96  # 10 cells of 4 that it sees and one between two, and a block of 8 cells: 76 pixels
    for halo, same in ((96, True), (32, False)):
        tiled.halo = halo
        assert (np.nanmax(abs(tiled(frames, 1) - whole(frames, 1))) < 1e-4) == same
