"""What DVC hashes of an archive that grew, with the cache that docs/scaling.md advises."""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import REPOSITORY
from ingested import archive, at, pixels
from radar_files import name_of, write_odim

REPRO = """
import sys, dvc_data.hashfile.build as build
from dvc.cli import main
hash_file = build.hash_file
def told(path, *arguments, **named):
    print("hashed", path)
    return hash_file(path, *arguments, **named)
build.hash_file = told
sys.exit(main(["repro", "--quiet"]))
"""


def shards_hashed(folder: Path) -> set[str]:
    """Run the stage by DVC; return the numbers of the shards that it hashed."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", REPRO]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    paths = [Path(line.split(" ", 1)[1]) for line in done.stdout.splitlines() if line.startswith("hashed ")]
    return {path.parts[-3] for path in paths if path.parts[-5:-3] == ("rainfall_flux", "c")}


def test_an_archive_that_grew_is_hashed_where_it_grew(tmp_path: Path) -> None:
    archive(tmp_path / "in", 70)
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["ingest_radar"]["sources"] = {"radar": "in"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    command = f"{sys.executable} -m pipelines.radar.ingest radar radar.zarr quarantine.csv quality.csv"
    stage = {"cmd": command, "deps": ["in"], "outs": ["radar.zarr"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"ingest": stage}}))
    for words in ("init --quiet --no-scm", "config cache.type hardlink,copy"):
        subprocess.run([sys.executable, "-m", "dvc", *words.split()], cwd=tmp_path, check=True)
    assert shards_hashed(tmp_path) == {"0", "1", "2"}
    for i in range(70, 100):
        write_odim(tmp_path / "in" / name_of(at(i)), pixels(i), at(i))
    assert shards_hashed(tmp_path) == {"2", "3"}
