"""What is imported before there is something to do for it: modules, not seconds."""

import subprocess
import sys
from pathlib import Path

# What makes a forecast, draws it, writes its files, or tracks it; each takes from 0.2 to 2 seconds to import.
LATER = {
    *("alembic", "dask", "distributed", "matplotlib", "mlflow", "pysteps", "pytorch_lightning", "rasterio", "rich"),
    *("scipy", "scores", "sklearn", "torch", "torchmetrics"),
}
PACKAGES = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"


def imported_by(code: str, folder: Path | None = None) -> set[str]:
    """Top-level packages that a process has imported when it has run ``code``."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{PACKAGES}"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    found = set(done.stdout.splitlines()[-1].split()) - sys.stdlib_module_names
    return {name for name in found if not name.startswith("_")}


def test_the_list_of_commands_needs_typer_alone() -> None:
    packages = imported_by("import pipelines.cli")
    assert "typer" in packages
    assert packages <= {"typer", "pipelines", "shellingham", "annotated_doc", "click", "typing_extensions"}


def test_a_cycle_reads_its_frame_before_anything_is_made_of_it() -> None:
    packages = imported_by("import flows.forecast")
    assert {"prefect", "xarray", "icechunk"} <= packages
    assert not packages & (LATER - {"rich"})  # that is Prefect's


def test_a_worker_that_decodes_needs_readers_alone() -> None:
    packages = imported_by("import pipelines.radar.decoding")
    assert {"h5py", "pyproj"} <= packages
    assert not packages & (LATER | {"pandas", "prefect", "xarray", "zarr"})


def test_a_forecast_by_hand_reads_frames_first(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((Path(__file__).parents[1] / "params.yaml").read_bytes())
    (tmp_path / "radar").mkdir()
    (tmp_path / "radar/frame.h5").write_bytes(b"no frame")
    command = (
        "from pathlib import Path; from pipelines.operation.commands import forecast\n"
        "try: forecast(Path('radar'), model='extrapolation', minutes=60, out=Path('out'), domain=None)\n"
        "except Exception as error: print(error)"
    )
    packages = imported_by(f"import os; os.chdir({str(tmp_path)!r})\n{command}")
    assert "xarray" in packages
    assert not packages & (LATER - {"rich", "scipy"})
