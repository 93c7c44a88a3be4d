"""The command `scs` in a shell of its own: one line for a user's mistake, files for a forecast."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from radar_files import name_of, write_odim

from pipelines import cli
from pipelines.common.errors import UserError
from pipelines.common.stage import exit_on_user_error
from pipelines.nowcast.register import write_extrapolation
from pipelines.nowcast.specification import RADAR
from pipelines.params.read import read_params

ROOT = Path(__file__).parents[2]
NOON = datetime(2024, 6, 1, 12)
SHAPE = (40, 48)


def showers(step: int) -> np.ndarray:
    """Bytes of a composite: a shower that moves east by three pixels a step; not seen in one corner."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    pixels = (150 * np.exp(-((y - 20) ** 2 + (x - 12 - 3 * step) ** 2) / 60)).astype(np.uint8)
    pixels[:3, :3] = 255
    return pixels


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in: params.yaml, radar files of which the newest is cut short, a registry with a champion."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (folder / "radar").mkdir()
    for step in range(5):
        time = NOON + timedelta(minutes=5 * step)
        path = write_odim(folder / "radar" / name_of(time), showers(step), time)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("OMP_NUM_THREADS", "1")
        write_extrapolation(folder / "extrapolation")
        version = RADAR.ensure_version("extrapolation", folder / "extrapolation", {"csi_mean": 0.5})
        RADAR.set_alias("champion", version, "the only one")
        yield folder


def started(*arguments: str) -> "subprocess.Popen[str]":
    scs = Path(sys.executable).with_name("scs")
    return subprocess.Popen(
        [scs, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def test_a_forecast_and_two_mistakes(place: Path) -> None:
    runs = {
        "champion": started("--log", "info", "forecast", "radar", "--out", "out"),
        "no folder": started("forecast", "nowhere", "--out", "none"),
        "no model": started("forecast", "radar", "--out", "none", "--model", "models:/radar-nowcast/99"),
    }
    said = {name: run.communicate(timeout=600) for name, run in runs.items()}

    assert runs["no folder"].returncode == runs["no model"].returncode == 1
    assert said["no folder"] == ("", "error: nowhere: no such folder\n")
    assert said["no model"][0] == ""
    assert said["no model"][1].startswith("error: models:/radar-nowcast/99: no such model in sqlite:///")
    assert said["no model"][1].count("\n") == 1
    assert not (place / "none").exists()

    out, told = said["champion"]
    assert runs["champion"].returncode == 0, told
    # The newest is broken, and passed over.
    broken, *used = told.splitlines()
    assert broken.startswith("WARNING: radar/RAD_202406011220.h5: ")
    frame = "INFO: frame of 2024-06-01T12:{0}:00 UTC: RAD_2024060112{0}.h5"
    assert [line.partition(", sha256 ")[0] for line in used] == [frame.format(minute) for minute in ("05", "10", "15")]
    files = [Path("out/20240601T121500Z/forecast.nc"), Path("out/20240601T121500Z/forecast.png")]
    assert out.split("\n")[-4:] == [
        "radar-nowcast version 1, 12 lead times from 2024-06-01T12:15:00 UTC",
        *map(str, files),
        "",
    ]
    folder = place / "out/20240601T121500Z"
    made = ["cog", "forecast.gif", "forecast.nc", "forecast.png", "forecast.zarr", "maps"]
    assert sorted(path.name for path in folder.iterdir()) == made
    with xr.open_dataset(place / files[0], decode_timedelta=False) as dataset:
        assert dataset["rainfall_flux"].sizes == {"lead_time": 12, "y": 40, "x": 48}
        assert dataset["time"].to_numpy()[-1] == np.datetime64("2024-06-01T13:15")
        assert dataset.attrs["model_name"] == "radar-nowcast"
        assert (dataset.attrs["model_version"], dataset.attrs["method"]) == ("1", "extrapolation")
        # After three steps of the shower the peak is nine pixels further east than in the newest frame.
        peak = np.unravel_index(np.nanargmax(dataset["rainfall_flux"].to_numpy()[2]), SHAPE)
        assert peak == pytest.approx((20, 12 + 3 * (3 + 3)), abs=1)


def test_what_a_machine_reads(place: Path) -> None:
    """One document each, and nothing else on standard output."""
    runs = {
        name: started("--log", "error", name, *arguments, "--json")
        for name, *arguments in (
            ("forecast", "radar", "--out", "out_json", "--minutes", "15"),
            ("champions",),
            ("describe", "scs_astsgd"),
            ("doctor",),
        )
    }
    told = {name: run.communicate(timeout=600) for name, run in runs.items()}
    said = {name: json.loads(out) for name, (out, _) in told.items()}
    assert told["forecast"][1] == ""  # the newest file is broken, which is a warning
    forecast = said["forecast"]
    assert Path(place, forecast["folder"], "forecast.nc").exists()
    assert (forecast["reference_time"], forecast["lead_times"]) == ("2024-06-01T12:15:00", 3)
    assert (forecast["model_version"], len(forecast["input_frames"])) == ("1", 3)
    assert said["champions"] == []  # the alias was set, and nobody decided
    assert "nobody" in started("champions").communicate(timeout=60)[0]
    assert said["describe"]["live_parameters"] > 0
    wrong = [one["what"] for one in said["doctor"] if one["state"] == "WRONG"]
    assert "versions" not in wrong and bool(wrong) == bool(runs["doctor"].returncode)


def test_the_shell_completes_and_colours_can_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"_SCS_COMPLETE": "complete_bash", "COMP_WORDS": "scs ch", "COMP_CWORD": "1"}
    with monkeypatch.context() as patch:
        for name, value in asked.items():
            patch.setenv(name, value)
        assert started().communicate(timeout=60)[0].split() == ["chains", "champions"]
    colour = re.compile(r"\x1b\[(?:\d;)?3\d")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert colour.search(started("--help").communicate(timeout=60)[0])
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour.search(started("--help").communicate(timeout=60)[0])


def times(place: Path) -> dict[Path, int]:
    """When each file was last changed, but MLflow's own."""
    return {path: path.stat().st_mtime_ns for path in place.rglob("*") if "ml" not in path.relative_to(place).parts[0]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["radar", "--minutes", "4"], "error: no lead time up to 4 minutes in steps of 300 s"),
        (["radar", "--model", "models:/nobody@champion"], "error: models:/nobody@champion: no such model in "),
        (["radar", "--model", "runs:/abc/model"], "error: runs:/abc/model: no such model in "),
        (
            ["radar", "--model", "no/such/folder"],
            "error: no/such/folder: no such folder, and neither an MLflow URI nor one of ",
        ),
        (["radar", "--out", "params.yaml"], "error: params.yaml/20240601T121500Z: can't be written: "),
    ],
)
def test_other_mistakes(place: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["scs", "forecast", *arguments])
    before = times(place)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert str(end.value.code).startswith(words)  # what Python prints on stderr, before status 1
    assert "\n" not in str(end.value.code)
    assert times(place) == before


def test_a_network_is_described(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scs", "describe", "scs_astsgd"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    model = read_params().models["scs_astsgd"]
    w, k, pixels = model.widths, model.kernel, model.downsample**2

    def conv(inputs: int, outputs: int, kernel: int = 3) -> int:
        return kernel**2 * inputs * outputs + outputs

    pairs = [*pairwise([w[0], *w]), *pairwise([w[-1], *w[::-1]])]  # encoder, forecaster
    layers = sum(2 * conv(i, o, k) + k**2 * o * o for i, o in pairs)  # W_s and W_x with biases, and W_c
    lead, weights = 2 * w[-1], 2 * 6 + 1  # a lead time's share into the forecaster; a cascade's weights out of it
    live = conv(pixels, w[0]) + lead + layers + conv(w[0], weights)
    heads = conv(w[0], pixels) + conv(w[0], 2)
    out = capsys.readouterr().out
    assert out.startswith(f"live parameters      {live:,}, and {heads:,} of the subtasks' heads in training\n")
    assert "H and W divisible by 32" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scs_sgd"], "error: params.yaml: models: no 'scs_sgd' among scs, scs_stsgd"),
        (["scs", "--grid", "0", "64"], "error: --grid: rows and columns are 1 or more; got 0 64"),
        (["models:/radar-nowcast/1"], "error: models:/radar-nowcast/1: extrapolation, which is no network"),
    ],
)
def test_what_is_no_network_is_one_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["scs", "describe", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert str(end.value.code).startswith(words)


def test_a_mistake_in_params_is_told_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("index: {siz: 64}")
    monkeypatch.setattr(sys, "argv", ["scs", "forecast", "radar"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert str(end.value.code).startswith("error: params.yaml: ")


def test_how_a_stage_ends() -> None:
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        raise UserError("params.yaml: index.size: wrong")
    assert end.value.code == "error: params.yaml: index.size: wrong"
    with pytest.raises(SystemExit) as end, exit_on_user_error():
        raise KeyboardInterrupt
    assert end.value.code == 130
    with pytest.raises(ZeroDivisionError), exit_on_user_error():  # a mistake of ours is not hidden
        _ = 1 / 0


def test_what_a_terminal_has_no_letters_for_is_no_traceback() -> None:
    code = "from pipelines.common.stage import exit_on_user_error\nwith exit_on_user_error(): print('σ a\\udcff')"
    for encoding, shown in (("ascii", "\\u03c3 a\\udcff\n"), ("utf-8", "σ a\\udcff\n")):
        of_terminal = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=of_terminal, check=False)
        assert (done.returncode, done.stdout.decode()) == (0, shown), done.stderr


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, of a project with folders of our packages' names."""
    monkeypatch.chdir(tmp_path)
    for module in ("pipelines", "pipelines.common", "pipelines.radar", "scs_model"):
        Path(*module.split(".")).mkdir()
        Path(*module.split("."), "__init__.py").write_text(f"raise ImportError('another project: {module}')")
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    Path("in").mkdir()
    for step in range(3):
        time = NOON + timedelta(minutes=5 * step)
        write_odim(Path("in", name_of(time)), showers(step), time)
    return tmp_path


def test_folders_of_another_project_hide_nothing_of_the_command(foreign: Path) -> None:
    process = started("ingest", "in", "out.zarr")  # with its workers
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert "3 frames" in out


def test_where_another_project_hides_them_from_flows_one_line_says_so(foreign: Path) -> None:
    Path("pipelines", "__init__.py").write_text("")
    command = [sys.executable, "-m", "flows.deploy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"error: {foreign / 'pipelines'} hides {ROOT / 'pipelines'}: work in another folder, or set PYTHONSAFEPATH=1"
    )
    safe = [sys.executable, "-c", "import flows; print(flows.__file__)"]
    done = subprocess.run(safe, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONSAFEPATH": "1"})
    assert done.stdout.strip() == str(ROOT / "flows" / "__init__.py")
