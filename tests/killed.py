"""Kills flows at sampled file events, and lets them run again: ``python tests/killed.py DOMAIN NOW POINTS FLOW...``.

Works in the present folder, whose ``data`` is the state to start from each time. Each run is a fork of this process,
which has imported everything. An audit hook counts what Python does to files under ``data`` and sends SIGKILL at the
Nth time. A line of JSON for each point says what is there after the run that came next.
"""

import importlib
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

DATA, START = Path("data"), Path("start")


def forked(work: Callable[[], Any]) -> tuple[int, Any]:
    """Do some work in a fork: this process stays without threads, which a fork of it would miss.

    Gives the fork's exit status as `waitpid` does, and what the work gave.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        with os.fdopen(read) as stream:
            said = stream.read()
        return os.waitpid(pid, 0)[1], json.loads(said or "null")
    os.close(read)
    try:
        with os.fdopen(write, "w") as stream:
            stream.write(json.dumps(work()))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run(flows: Sequence[Callable[..., Any]], domain: str, now: datetime, kill_at: int | None) -> int:
    """Run flows one after the other, all of which must complete; give the number of file events."""
    root, count = f"{DATA.absolute()}{os.sep}", 0

    def count_event(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event != "open" and not event.startswith(("os.", "shutil.")):
            return
        paths = [os.path.abspath(one) for one in arguments[:2] if isinstance(one, str | Path)]  # noqa: PTH100
        if any(path.startswith(root) for path in paths):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count_event)
    for flow in flows:
        state = flow(domain, now, return_state=True)
        assert state.is_completed(), state
    return count


def found(domain: str) -> dict[str, Any]:
    """Return what is in the domain's folders."""
    from pipelines.common.rights import Rights
    from pipelines.operation.live_store import LiveStore
    from pipelines.operation.products.latest import read_latest

    out = DATA / "out" / domain
    store = DATA / "store" / domain
    times = LiveStore(store, Rights()).open()["time"].to_numpy() if store.exists() else np.array([], "datetime64[s]")
    newest = read_latest(out)["forecast"]
    return {
        "times": [str(time) for time in times.astype("datetime64[s]")],
        "files": sorted(
            path.relative_to(DATA).as_posix()
            for folder in (DATA / "inbox", out)
            for path in folder.rglob("*")
            if path.is_file() and not path.name.endswith(".lock")
        ),
        "latest": newest and newest["folder"],
    }


def main() -> None:
    domain, now, points = sys.argv[1], datetime.fromisoformat(sys.argv[2]), int(sys.argv[3])
    flows = [getattr(importlib.import_module(f"flows.{name}"), name) for name in sys.argv[4:]]
    shutil.copytree(DATA, START)
    status, events = forked(lambda: run(flows, domain, now, None))
    assert status == 0, "it doesn't run unharmed"
    print(json.dumps({"events": events, **forked(lambda: found(domain))[1]}), flush=True)
    for kill_at in np.unique(np.linspace(1, events, points).round().astype(int)).tolist():
        shutil.rmtree(DATA)
        shutil.copytree(START, DATA)
        status, _ = forked(partial(run, flows, domain, now, kill_at))
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        between = forked(lambda: found(domain))[1]
        status, _ = forked(lambda: run(flows, domain, now, None))
        said = {"point": kill_at, "killed": killed, "status": status, "between": between}
        print(json.dumps(said | forked(lambda: found(domain))[1]), flush=True)


if __name__ == "__main__":
    main()
