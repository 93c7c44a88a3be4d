"""A day of real radar through the whole of operation, by a clock that doesn't wait: forecast, verify, archive.

``python benchmarks/replayed_day.py FOLDER OUT [MINUTE]``: the files of FOLDER come into an inbox in time order. Each
hour, at MINUTE, there is a forecast by the champion (extrapolation, in an MLflow store of its own), each quarter of an
hour verification, and at the end the archive. OUT gets all of it; ``cd OUT && scs skill day`` prints the day's tables.
"""

import os
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from claims import claim, say_where, status
from ruamel.yaml import YAML

PARAMS = Path(__file__).resolve().parents[1] / "params.yaml"
MINUTE = np.timedelta64(60, "s")


def prepare(out: Path) -> None:
    """Make a folder to work in: params.yaml with one domain, and a registry with the first champion."""
    yaml = YAML(typ="safe")
    params = yaml.load(PARAMS)
    of = next(iter(params["domains"].values()))
    folders = {key: f"data/{key}" for key in ("inbox", "store", "out")}
    params["domains"] = {"day": of | folders | {"archive": "archive/day", "silent_minutes": 90, "keep_days": 1}}
    params["domains"]["day"]["policy"]["max_age_minutes"] = 30
    (out / "data" / "inbox").mkdir(parents=True)
    (out / "dvc.yaml").touch()
    with (out / "params.yaml").open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)
    os.chdir(out)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.setdefault("PREFECT_HOME", str(out / "data" / "prefect"))
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # each state is printed below
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    from pipelines.nowcast.register import write_extrapolation
    from pipelines.nowcast.specification import RADAR

    model = out / "data" / "model"
    write_extrapolation(model)
    RADAR.set_alias("champion", RADAR.ensure_version("extrapolation", model, {}), "the first")


def main(folder: Path, out: Path, minute: int) -> None:
    """Replay the files of ``folder`` in ``out``; a cycle each hour at ``minute``."""
    prepare(out)
    from flows.archive import archive
    from flows.forecast import forecast
    from flows.verify import verify
    from pipelines.operation.ledger import read_ledger
    from pipelines.operation.products.published import published_times
    from pipelines.operation.verify import unverified
    from pipelines.radar.readers.read import radar_files, read_time

    files = {path: read_time(path).astype("datetime64[s]") for path in radar_files(folder)}
    start, end = min(files.values()), max(files.values())
    clock = (start.astype("datetime64[h]") + minute * MINUTE).astype("datetime64[s]")
    seconds, states = {"forecast": 0.0, "verify": 0.0, "archive": 0.0}, list[str]()

    def run(flow: object, name: str) -> None:
        began = time.perf_counter()
        now = clock.astype(datetime).replace(tzinfo=UTC) + timedelta(seconds=60)
        state = flow("day", now, return_state=True)  # type: ignore[operator]
        seconds[name] += time.perf_counter() - began
        states.append(state.name)
        print(f"{now:%Y-%m-%d %H:%M} UTC  {name}: {state.name}: {state.message}", flush=True)

    while clock <= end + np.timedelta64(5, "h"):
        for path in sorted((path for path, at in files.items() if at <= clock), key=files.__getitem__):
            shutil.copy2(path, "data/inbox")
            del files[path]
        if clock.astype("datetime64[m]").astype(int) % 60 == minute and clock <= end + 60 * MINUTE:
            run(forecast, "forecast")  # the last one for the day's last frames
        run(verify, "verify")
        clock += 15 * MINUTE
    clock += np.timedelta64(36, "h")
    run(archive, "archive")
    published, ledger = published_times(Path("data/out")), read_ledger(Path("data/out"))
    print({name: f"{value:.1f} s" for name, value in seconds.items()}, {name: states.count(name) for name in states})
    claim("cycles published", len(published), ">=", float((end - start) // (60 * MINUTE)))
    claim("cycles verified", ledger["reference_time"].nunique(), ">=", len(published))
    claim("cycles open", len(unverified(Path("data/out"))), "<=", 0)


if __name__ == "__main__":
    say_where()
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), int(sys.argv[3]) if len(sys.argv) > 3 else 20)
    sys.exit(status())
