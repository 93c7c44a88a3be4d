"""The network that comes with the package: what it says that it is, and what it can do."""

import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from pysteps.verification import get_method
from radar_files import name_of, write_odim

from pipelines.common.errors import UserError
from pipelines.nowcast.registered_model import SHIPPED, load
from pipelines.radar.simulate import Event

ROOT = Path(__file__).parents[3]
SEED, INPUTS, LEADS = 4, 4, 12  # trained on events of the seed that params.yaml has, 20


@pytest.fixture(scope="module")
def event() -> np.ndarray:
    """A simulated event that it wasn't trained on, with at least 1 mm/h on an eighth of the area, mm/h."""
    return np.stack([*Event(seed=SEED, number=0, size=128).frames(INPUTS + LEADS)]).astype(np.float32)


def test_it_says_what_it_is() -> None:
    folder = SHIPPED["simulated"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    model = load("simulated")
    assert (model.name, model.version) == ("simulated", None)
    (archive,) = model.description.archives or ()
    assert archive.name == "simulated_rain" and "no radar saw" in str(archive.attribution)
    assert not archive.rights.restrictions
    assert "trained on simulated_rain: CC0-1.0; model trained on simulated rain" in (folder / "README.md").read_text()


def test_a_folder_of_its_name_is_not_mistaken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("simulated").mkdir()  # of radar files, say
    assert load("simulated").version is None
    shutil.copytree(SHIPPED["simulated"], "simulated", dirs_exist_ok=True)
    with pytest.raises(UserError, match=r"^simulated: a network of this package, and a model's folder here: "):
        load("simulated")
    assert load("./simulated").name == "radar-nowcast"


def test_it_beats_persistence(event: np.ndarray) -> None:
    observed, persistence = event[INPUTS:], np.repeat(event[[INPUTS - 1]], LEADS, axis=0)
    forecast = load("simulated", "cpu").forecaster(event[:INPUTS], LEADS)
    known = np.isfinite(forecast)
    assert known.mean() > 0.6
    of_category, of_amount = get_method("CSI"), get_method("MAE")
    for lead in (2, 5, 11):  # 15, 30 and 60 minutes
        seen = [field[lead][known[lead]] for field in (forecast, persistence, observed)]
        ours, theirs = (of_category(one, seen[2], thr=1.0)["CSI"] for one in seen[:2])
        assert ours > theirs + 0.2
        ours, theirs = (of_amount(one, seen[2])["MAE"] for one in seen[:2])
        assert ours < theirs


def test_the_readme_s_first_forecast(event: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    Path("radar").mkdir()
    for step, rain in enumerate(event[: INPUTS + 1]):
        time = datetime(2024, 6, 1, 12) + timedelta(minutes=5 * step)
        raw = np.minimum(rain / 0.5, 254).round().astype(np.uint8)
        write_odim(Path("radar") / name_of(time), raw, time, quantity="RATE", gain=0.5, offset=0.0)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in block.splitlines() if line]) <= 10
    made: dict[str, np.ndarray] = {}
    exec(block, made)
    assert made["rain"].shape == (LEADS, 128, 128)
    read = np.floor(event[1 : INPUTS + 1] / 0.5 + 0.5) * 0.5
    np.testing.assert_allclose(made["frames"], np.minimum(read, 127), atol=0.26)
