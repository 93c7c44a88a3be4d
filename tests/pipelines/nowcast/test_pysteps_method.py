"""pysteps' example of a nowcast, from file to score and picture, by our importer and method."""

from datetime import datetime, timedelta
from pathlib import Path

import matplotlib
import numpy as np
import pysteps
import pytest
from radar_files import name_of, write_odim
from small_model import NETWORK, write_model

import pipelines.nowcast.pysteps_method  # noqa: F401 - registers it
from pipelines.common.errors import UserError
from pipelines.radar.pysteps_importer import import_scs

NOON = datetime(2024, 6, 1, 12)
SHAPE = (64, 80)
RATES = [0.1, 1.0, 5.0]
OURS = {"timestep": 5, "kmperpixel": 1.0}
DESCRIPTION = {"method": "network", "name": "small", "inputs": 3, "network": NETWORK}


def showers(step: int) -> np.ndarray:
    """Bytes of RATE in 0.1 mm/h: two showers that move east by two pixels a step."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    fields = (
        peak * np.exp(-((y - row) ** 2 + (x - column - 2 * step) ** 2) / 50)
        for peak, row, column in ((150, 20, 15), (90, 44, 30))
    )
    return sum(fields).astype(np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight composites."""
    folder = tmp_path_factory.mktemp("radar")
    times = [NOON + timedelta(minutes=5 * step) for step in range(8)]
    return [
        write_odim(folder / name_of(time), showers(step), time, quantity="RATE", gain=0.1, offset=0.0)
        for step, time in enumerate(times)
    ]


@pytest.fixture(scope="module")
def rain(files: list[Path]) -> np.ndarray:
    return np.stack([import_scs(str(path))[0] for path in files])


def test_pysteps_example_of_a_nowcast(files: list[Path], rain: np.ndarray) -> None:
    decibels, _ = pysteps.utils.transformation.dB_transform(rain[:3], threshold=0.1, zerovalue=-10.0)
    velocity = pysteps.motion.get_method("LK")(decibels)
    nowcast = pysteps.nowcasts.get_method("scs")(rain[:3], velocity, 5, model="extrapolation", **OURS)
    assert (nowcast.shape, nowcast.dtype) == ((5, *SHAPE), np.float64)
    theirs = pysteps.nowcasts.get_method("extrapolation")(rain[2], velocity, 5)
    both = np.isfinite(nowcast) & np.isfinite(theirs)
    assert both.mean() > 0.8
    np.testing.assert_allclose(nowcast[both], theirs[both], atol=0.01)
    scores = pysteps.verification.get_method("CSI")(nowcast[-1], rain[7], thr=1.0)
    assert scores["CSI"] > 0.8  # it moves rigidly
    frozen = pysteps.nowcasts.get_method("scs")(rain[:3], None, [2, 5], model="persistence", **OURS)
    np.testing.assert_allclose(frozen, rain[[2, 2]], rtol=1e-6)
    metadata = import_scs(str(files[0]))[2]
    matplotlib.use("Agg")
    axes = pysteps.visualization.plot_precip_field(nowcast[-1], geodata=metadata, units="mm/h", ptype="intensity")
    assert axes.get_images()


def test_a_networks_field_is_what_it_forecasts(tmp_path: Path, rain: np.ndarray) -> None:
    from pipelines.nowcast.methods.interface import load_forecaster

    folder = write_model(tmp_path / "model", DESCRIPTION | {"step_seconds": 300, "pixel_metres": 1000.0})
    masked = np.ma.masked_where(np.arange(SHAPE[1]) < 3 + np.zeros((4, *SHAPE)), rain[:4])
    nowcast = pysteps.nowcasts.get_method("SCS")(masked, None, [1.0, 3.0], model=folder, **OURS)
    seen = np.where(np.arange(SHAPE[1]) < 3, np.nan, rain[1:4]).astype(np.float32)
    np.testing.assert_array_equal(nowcast, load_forecaster(folder)[0](seen, 3)[[0, 2]])


def test_members_are_drawn_of_probabilities(tmp_path: Path, rain: np.ndarray) -> None:
    folder = write_model(tmp_path / "model", DESCRIPTION | {"rates": RATES})
    method = pysteps.nowcasts.get_method("scs")
    three = method(rain[:3], None, [1, 4], model=str(folder), n_ens_members=3, seed=7, **OURS)
    assert (three.shape, three.dtype) == ((3, 2, *SHAPE), np.float64)
    five = method(rain[:3], None, 4, model=str(folder), n_ens_members=5, seed=7, **OURS)
    np.testing.assert_array_equal(five[:3, [0, 3]], three)
    assert (five[3] != five[4]).any()
    drawn = [method(rain[:3], None, 1, model=str(folder), n_ens_members=1, **OURS) for _ in range(2)]
    assert (drawn[0] != drawn[1]).any(), "without a seed each draw is another"
    crps = pysteps.verification.get_method("CRPS", type="probabilistic")(five[:, 0], rain[3])
    assert 0 < crps < rain[3].max()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"precip": "decibels"}, r"^precip: mm/h are wanted, and it has values below 0: .* from dB first$"),
        ({"precip": "infinite"}, r"^precip: it has infinite values: "),
        ({"timestep": np.nan}, r"^timestep, kmperpixel: minutes and km above 0 are wanted; got nan and 1\.0$"),
        ({"kmperpixel": 0}, r"^timestep, kmperpixel: minutes and km above 0 are wanted; got 5 and 0$"),
        ({"precip": "one"}, r"^precip: frames \(T_in, m, n\) are wanted, and it is of shape \(64, 80\)$"),
        ({"precip": "few"}, r"^precip: .*model looks at 3 frames, and there are 2$"),
        ({"timesteps": [1, 1.5]}, r"^timesteps: whole steps"),
        ({"timesteps": [2, 1]}, r"^timesteps: whole steps"),
        ({"timesteps": 0}, r"^timesteps: whole steps"),
        ({"timesteps": 3.0}, r"^timesteps: whole steps"),
        ({"timestep": 10}, r"^frames are 600 s apart, and .*model forecasts in steps of 300 s$"),
        ({"kmperpixel": 2.0}, r"^pixels are of 2000 m, and .*model was trained on 1000 m$"),
        ({"n_ens_members": 2}, r"^n_ens_members: small gives no probabilities to draw members of$"),
        ({"model": "nowhere"}, r"nowhere"),
    ],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, rain: np.ndarray, changes: dict[str, object], reason: str
) -> None:
    folder = write_model(tmp_path / "model", DESCRIPTION | {"step_seconds": 300, "pixel_metres": 1000.0})
    decibels = pysteps.utils.transformation.dB_transform(rain[:3], threshold=0.1, zerovalue=-15.0)[0]
    infinite = np.where(rain[:3] == rain[:3].max(), np.inf, rain[:3])
    frames = {"decibels": decibels, "infinite": infinite, "one": rain[0], "few": rain[:2]}
    arguments = {"precip": None, "velocity": None, "timesteps": 3, "model": folder, **OURS} | changes
    arguments["precip"] = frames.get(str(arguments["precip"]), rain[:3])
    with pytest.raises(UserError, match=reason) as error:
        pysteps.nowcasts.get_method("scs")(**arguments)
    assert "\n" not in str(error.value)
