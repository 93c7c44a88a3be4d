"""``scs fetch`` in a shell: what it prints, and its exit status."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import REPOSITORY, SECRET, holders
from faulty_server import serve
from waiting import eventually


def scs(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "fetch", *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)} | SECRET
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def write_params(folder: Path, **archives: dict) -> None:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(params | {"fetch": archives}))


def test_what_came_what_is_missing_and_under_which_licence(tmp_path: Path) -> None:
    with serve() as site:
        site.files["/rain_0000.h5"] = b"x" * (1 << 20)
        site.faults["/rain_0010.h5"] = [(429, {"Retry-After": "9999"})]
        write_params(
            tmp_path,
            radar={"url": f"{site.address}/rain_%H%M.h5", "step_s": 300, "license": "CC-BY-4.0", "attribution": "Us"},
        )
        done = scs(tmp_path, "radar", "--from", "2024-06-01", "--to", "2024-06-01T00:10")
        busy = scs(tmp_path, "radar", "--from", "2024-06-01", "--to", "2024-06-01T00:15")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "data/raw/radar: 1 files came, 1.0 MB; 0 were here",
        "missing there: 2024-06-01T00:05:00Z; all of them are in data/raw/radar/.missing.csv",
        "licence: CC-BY-4.0",
        "for params.yaml, ingest_radar: sources: {radar: data/raw/radar}, "
        'archives: {radar: {licence: "CC-BY-4.0", attribution: "Us"}}',
    ]
    assert busy.returncode == 75 and "1 were here" in busy.stdout
    assert busy.stderr == f"error: 1 of them failed: {site.address}/rain_0010.h5: HTTP 429; again in 9999 s, it says\n"
    assert not holders(tmp_path)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    write_params(tmp_path, radar={"url": "https://me:word@h/x.h5"})
    refused = scs(tmp_path, "radar")
    assert refused.returncode == 1 and refused.stderr.startswith("error: params.yaml: fetch.radar.url: a login, key")
    assert "word" not in refused.stderr and refused.stderr.count("\n") == 1
    (tmp_path / "params.yaml").unlink()
    assert scs(tmp_path, "nosuch").stderr.startswith("error: params.yaml: fetch: no 'nosuch' among dwd-")


def test_ctrl_c_ends_it_at_once_and_keeps_what_came(tmp_path: Path) -> None:
    with serve() as site:
        site.files = {f"/rain_{minute:02}.h5": b"x" for minute in range(2)}
        for minute in range(2, 60):
            site.faults[f"/rain_{minute:02}.h5"] = [(503, {"Retry-After": "600"})]
        # One after the other: a 503 keeps all waiting, those that would come as well.
        write_params(tmp_path, radar={"url": f"{site.address}/rain_%M.h5", "step_s": 60, "rate": 50.0, "parallel": 1})
        code = (
            "import signal; from pipelines.cli import main; "
            "signal.signal(signal.SIGINT, signal.default_int_handler); main()"  # which a job in the background ignores
        )
        span = ["--from", "2024-06-01", "--to", "2024-06-01T01:00"]
        with subprocess.Popen(
            [sys.executable, "-c", code, "fetch", "radar", *span],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        ) as fetching:
            try:
                table = tmp_path / "data/raw/radar/.manifest.csv"
                assert eventually(lambda: len(site.requests) >= 3 and table.read_text().count("\n") == 3, pause_s=0.05)
                fetching.send_signal(signal.SIGINT)
                assert fetching.wait(60) == 130
            finally:
                fetching.kill()  # or a failure would wait for it for ever
    rows = table.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["file", "rain_00.h5", "rain_01.h5"]


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    write_params(tmp_path, radar={"url": f"{tmp_path}/x.h5"})
    (tmp_path / "taken").write_text("")
    refused = scs(tmp_path, "radar", "--out", "taken")
    assert (refused.returncode, refused.stderr) == (1, "error: taken: File exists\n")
