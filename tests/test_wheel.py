"""What `pip install` of the wheel gives, without what extras add, and elsewhere than in a checkout."""

import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from clone import ROOT, copy_working_tree
from radar_files import name_of, write_odim

NOON = datetime(2024, 6, 1, 12)
SHAPE = (40, 48)
# The libraries of extras, as if nobody had installed them: no finder finds them.
HIDE = """
import importlib.machinery
HIDDEN = {!r}
find = importlib.machinery.PathFinder.find_spec
def find_others(name, path=None, target=None):
    return None if name.partition(".")[0] in HIDDEN else find(name, path, target)
importlib.machinery.PathFinder.find_spec = find_others
"""
EXTRAS = {
    *("av", "bokeh", "boto3", "distributed", "dvc", "icechunk", "mlflow", "prefect", "psutil", "psycopg2"),
    *("pytorch_lightning", "sklearn", "starlette", "torchmetrics", "uvicorn"),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this working tree."""
    folder = tmp_path_factory.mktemp("wheel")
    copy_working_tree(folder / "tree")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, folder / "tree"]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": ""})
    return next(folder.glob("scs_nowcast-*-py3-none-any.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files in a folder, where no library of an extra can be imported."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (folder / "sitecustomize.py").write_text(HIDE.format(EXTRAS))
    return folder


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: Path) -> Path:
    """An empty folder to work in, for processes that have the wheel alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(installed))
    return tmp_path


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def scs(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, as pip's script calls it."""
    return python("-c", "import sys; sys.argv[0] = 'scs'; from pipelines.cli import main; main()", *arguments)


def write_showers(folder: Path, frames: int = 5) -> None:
    """A shower that moves east by three pixels in each frame of 5 minutes."""
    folder.mkdir()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for step in range(frames):
        pixels = (150 * np.exp(-((y - 20) ** 2 + (x - 12 - 3 * step) ** 2) / 60)).astype(np.uint8)
        time = NOON + timedelta(minutes=5 * step)
        write_odim(folder / name_of(time), pixels, time)


def test_what_the_code_reads_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        tops = {name.partition("/")[0] for name in names}
        assert {name for name in tops if not name.endswith(".dist-info")} == {"flows", "pipelines", "scs_model"}
        for folder in ("pipelines", "flows", "scs_model"):
            files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
            assert {path.relative_to(ROOT).as_posix() for path in files} <= {*names}
        assert archive.read("pipelines/project/params.yaml") == (ROOT / "params.yaml").read_bytes()


def test_a_first_forecast_in_an_empty_folder(empty: Path, wheel: Path) -> None:
    write_showers(empty / "radar")
    assert "forecast" in scs("--help").stdout
    done = scs("forecast", "radar", "--model", "extrapolation")
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(next(empty.glob("data/forecasts/*/forecast.nc")), decode_timedelta=False) as dataset:
        rain = dataset["rainfall_flux"].to_numpy()
        assert f"scs_nowcast-{dataset.attrs['code_commit']}-" in wheel.name  # no commit of a repository around it
    peak = np.unravel_index(np.nanargmax(rain[2]), SHAPE)
    assert peak == pytest.approx((20, 12 + 3 * (4 + 3)), abs=1)
    assert {path.name for path in empty.iterdir()} == {"radar", "data"}


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (["-m", "flows.serve"], "prefect", "serve"),
        (["-m", "pipelines.nowcast.train", "scs"], "pytorch_lightning", "pipeline"),
        (["-c", "from pipelines.cli import main; main()", "champions"], "mlflow", "pipeline"),
        (["-c", "from pipelines.cli import main; main()", "recognize", "."], "av", "pipeline"),
    ],
)
def test_an_extra_that_is_missing_is_one_line(empty: Path, arguments: list[str], module: str, extra: str) -> None:
    done = python(*arguments)
    line = f"error: {module} isn't installed: pip install 'scs-nowcast[{extra}]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


def test_a_function_raises_what_an_import_does(empty: Path) -> None:
    code = """
try:
    from pipelines.nowcast.registered_model import load
    load("models:/radar-nowcast/1")
except ImportError as error:
    print(error)
import importlib.util
print(importlib.util.find_spec("mlflow"))  # asked by others than us
from pipelines.common.provenance import main_checkout
print(main_checkout())  # where MLflow's store would be
"""
    lines = python("-c", code).stdout.splitlines()
    assert lines == ["mlflow isn't installed: pip install 'scs-nowcast[pipeline]'", "None", str(empty.resolve())]


def test_scs_model_needs_torch_alone(empty: Path) -> None:
    code = """
import sys, torch, torch.nn.functional
before = {name.partition(".")[0] for name in sys.modules} | set(sys.stdlib_module_names)
import scs_model
network = scs_model.EncoderForecaster(cell="scs", widths=[4], kernel=3, downsample=4, leads=2)
network(torch.zeros(1, 3, 1, 32, 32), 2).sum().backward()
print(*sorted({name.partition(".")[0] for name in sys.modules} - before))
"""
    done = python("-c", code)
    assert (done.stdout.strip(), done.returncode) == ("scs_model", 0), done.stderr


def test_a_torch_or_system_that_does_not_fit_is_one_line(empty: Path) -> None:
    old = "import sys, torch; torch.__version__ = '2.4.1+cpu'; "
    words = "scs_model wants torch 2.13 or later, and this is 2.4.1+cpu"
    assert python("-c", f"{old} import scs_model").stderr.splitlines()[-1] == f"ImportError: {words}"
    done = python("-c", f"{old} from pipelines.cli import main; main()", "describe", "scs")
    assert (done.returncode, done.stderr) == (1, f"error: {words}\n")
    windows = "import sys, typer; sys.platform = 'win32'; sys.argv[0] = 'Scripts/scs.exe'; import pipelines.cli"
    done = python("-c", windows)
    words = "scs-nowcast runs on Linux and macOS, and this is win32"
    assert done.stderr == f"error: {words}\n"
    # Other libraries import their plugins whenever they are imported: they must not fail by ours.
    plugins = "import sys, xarray; sys.platform = 'win32'; import pipelines.radar.xarray_engine"
    done = python("-c", f"{plugins}; from pipelines.radar.pysteps_importer import import_scs; import_scs('a.h5')")
    assert done.stderr.splitlines()[-1] == f"ImportError: {words}"
    assert "in import_scs" in done.stderr


@pytest.fixture
def project(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project of the wheel, with an archive of seconds, in git."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # dvc.yaml says python
    monkeypatch.chdir(tmp_path)
    assert scs("new", "ours").stdout == "ours/README.md\n"
    monkeypatch.chdir("ours")
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["simulate"] |= {"events": 1, "hours": 0.25, "size": 64}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    subprocess.run("git init -q && git add .", shell=True, check=True)
    return tmp_path / "ours"


def dvc(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_project_runs_and_sees_an_upgrade(project: Path) -> None:
    stages = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]
    assert stages.keys() == {"version"} | yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].keys()
    deps = {name: stage.get("do", stage).get("deps", []) for name, stage in stages.items() if name != "version"}
    assert all("scs.version" in of_stage for of_stage in deps.values())
    assert not [dep for of_stage in deps.values() for dep in of_stage if Path(dep).parts[0] in ("pipelines", "flows")]
    installed = next((project.parent / "installed").glob("*.dist-info/METADATA"))
    version = re.search("^Version: (.*)$", installed.read_text(), re.MULTILINE)[1]

    assert "MLFLOW_DISABLE_TELEMETRY=true" in (project / "mlflow/server.env").read_text().split()
    dvc("repro", "simulate")
    assert (project / "scs.version").read_text() == f"{version}\n"
    assert len([*(project / "data/raw/simulated").rglob("*.h5")]) == 3
    assert "'simulate' didn't change" in dvc("repro", "simulate")

    installed.write_text(installed.read_text().replace(f"Version: {version}", "Version: 9.8.7"))
    assert "Running stage 'simulate'" in dvc("repro", "simulate")
    assert (project / "scs.version").read_text() == "9.8.7\n"


def test_what_a_project_s_files_say_holds_there(empty: Path) -> None:
    """It has no Makefile, no docs and no code."""
    scs("new", "ours")
    text = "\n".join(path.read_text() for path in (empty / "ours").rglob("*") if path.is_file())
    assert not re.findall(r"make (?:serve|ui|demo)|(?<!scs-nowcast's )(?:docs/\w+\.md|pipelines/params)", text)
    assert "see scs-nowcast's docs/operations.md" in text and "nowcast's scs-nowcast's" not in text


def test_a_folder_with_something_in_it_is_left_alone(empty: Path) -> None:
    (empty / "ours").mkdir()
    (empty / "ours/notes").write_text("mine")
    assert scs("new", "ours").stderr == "error: ours: is there already\n"
    assert [path.name for path in (empty / "ours").iterdir()] == ["notes"]
    assert scs("new", ".").stderr == "error: .: is there already\n"
    assert scs("new", "ours/notes/x").stderr == "error: ours/notes/x: can't be written: Not a directory\n"
    (empty / "bare").mkdir()
    os.chdir("bare")
    assert scs("new", ".").stderr.startswith("error: .: is the working directory")
    assert {path.name for path in empty.iterdir()} == {"ours", "bare"}


def environment(folder: Path, *wanted: str | Path) -> dict[str, str]:
    """Install with pip into a new environment; return the environment variables of a shell in it."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW_", "PREFECT_"))}
    ours = kept | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": str(folder)}
    subprocess.run(["pip", "install", "--quiet", *wanted], check=True, env=ours)
    return ours


@pytest.mark.full
def test_pip_installs_what_forecasts(wheel: Path, tmp_path: Path) -> None:
    """With the newest of all that it needs, as who installs it has it."""
    ours = environment(tmp_path / "venv", wheel)
    write_showers(tmp_path / "radar")

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, shell=True, cwd=tmp_path, env=ours, capture_output=True, text=True, check=False)

    done = run("scs forecast radar --model simulated")
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(next(tmp_path.glob("data/forecasts/*/forecast.nc")), decode_timedelta=False) as dataset:
        assert dataset.attrs["method"] == "simulated"
        assert "no radar saw" in dataset.attrs["attribution"]
    plugins = """
import pysteps, xarray
file = f"radar/{sys.argv[1]}"
rain = pysteps.io.get_method("scs", "importer")(file)[0]
print(abs(xarray.open_dataset(file, engine="scs")["rainfall_flux"].to_numpy() - rain).max() == 0 < rain.max())
"""
    done = run(f"python -c 'import sys{plugins}' {name_of(NOON)}")
    assert done.stdout.endswith("True\n"), done.stderr
    assert run("scs champions").stderr == "error: mlflow isn't installed: pip install 'scs-nowcast[pipeline]'\n"
    names = run("pip list --format freeze").stdout.lower()
    assert not [name for name in ("mlflow", "dvc", "prefect", "pytorch-lightning") if f"\n{name}==" in names]


@pytest.mark.full
def test_pip_installs_what_trains_and_serves(wheel: Path, tmp_path: Path) -> None:
    ours = environment(tmp_path / "venv", f"{wheel}[serve]", "--constraint", ROOT / "requirements.lock")
    project = tmp_path / "ours"
    subprocess.run(["scs", "new", project], check=True, env=ours)
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["simulate"] |= {"events": 3, "hours": 2.0, "size": 64}
    params["index"] |= {"size": 32, "stride": 32, "leads": 2}
    params["train"] |= {"steps": 4, "checkpoint_steps": 2, "validation_windows": 2}
    params |= {"trained": ["scs"], "baselines": ["extrapolation"]}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    commands = "git init -q && git add . && dvc repro -q register && scs champions"
    champions = subprocess.run(
        commands, shell=True, cwd=project, env=ours, stdout=subprocess.PIPE, text=True, check=True
    )
    assert "version 1" in champions.stdout
    options = (f"--{name}-port={free_port()}" for name in ("prefect", "mlflow", "page"))
    with subprocess.Popen(
        ["python", "-m", "flows.serve", *options], cwd=project, env=ours, stdout=subprocess.PIPE, text=True
    ) as serve:
        assert serve.stdout is not None
        lines = []
        for line in serve.stdout:
            lines.append(line)
            if line.startswith("Prefect: "):
                serve.send_signal(signal.SIGINT)
    assert serve.returncode == 0
    deployed = "".join(lines)
    assert "forecast/simulated: 0 * * * * UTC" in deployed and "train/retrain: " in deployed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_lock_has_all_that_extras_add() -> None:
    """The README's commands install from it, whatever extras there are."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").lower().replace("-", "_")
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split("[^\\w.-]", name)[0].lower().replace("-", "_") for name in wanted} - {"scs_nowcast"}
    assert [name for name in sorted(names) if f"\n{name}==" not in lock] == []
