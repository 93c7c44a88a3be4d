"""Times in names against those of one frame or several."""

import numpy as np
import pyproj
import pytest

from pipelines.radar.grid import Grid
from pipelines.radar.readers.header import Header
from pipelines.radar.readers.names import check_name

GRID = Grid.from_edges(pyproj.CRS("EPSG:3035"), left=0.0, top=0.0, dx=1.0, dy=1.0, shape=(2, 2))


def at(*clock: str) -> list[Header]:
    return [Header(np.datetime64(f"2021-02-28T{one}", "s"), "instant", 0, "mm/h", GRID) for one in clock]


@pytest.mark.parametrize(
    ("name", "clock"),
    [
        ("a.nc", ("12:00",)),
        ("a_20210228.nc", ("12:00", "12:05")),
        ("a_202102281200.nc", ("12:00", "12:05", "12:10")),  # the first
        ("a_202102281210.nc", ("12:00", "12:05", "12:10")),  # the last
        ("a_202102281200-202102281300.nc", ("12:05", "12:55")),  # a range
        ("a_202102280000_202102282359.nc", ("00:00:30", "23:59:30")),
        ("a_20210228T120000_v2.nc", ("12:00",)),
    ],
)
def test_names_that_agree(name: str, clock: tuple[str, ...]) -> None:
    check_name(name, at(*clock))


@pytest.mark.parametrize(
    ("name", "clock"),
    [
        ("a_202102281155.nc", ("12:00", "12:05")),
        ("a_202102281201-202102281300.nc", ("12:00", "12:05")),
        ("a_202102281100-202102281300.nc", ("12:00",)),  # one frame is no range
        ("a_20210228T120001.nc", ("12:00",)),
    ],
)
def test_names_that_contradict(name: str, clock: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"its name says 2021-02-28T1.:..:0., and its content 2021-02-28T12:00:00"):
        check_name(name, at(*clock))
