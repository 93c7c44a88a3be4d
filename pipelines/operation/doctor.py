"""What is wrong with an installation and its domains, and what to do: the checks of ``scs doctor``."""

import importlib.metadata
import os
import platform
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from pipelines.common.errors import UserError, one_line
from pipelines.common.login import FILE, read_login
from pipelines.common.processes import cores
from pipelines.common.provenance import CODE, code_commit, main_checkout
from pipelines.params.operation import Domain
from pipelines.params.read import Params

LOCK = "requirements.lock"
SHOWN = ("torch", "prefect", "dvc", "mlflow", "xarray", "zarr", "netCDF4")
LEAST_FREE = 2.0  # GB; a forecast on a national grid is of tens of MB, a day's files and frames of hundreds
ANSWER_S = 5.0


class Finding(NamedTuple):
    """What was looked at, whether it is well, what was found, and what to do about it.

    ``note`` is what someone may have meant to be as it is.
    """

    what: str
    state: Literal["ok", "note", "WRONG"]
    words: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.state:5}  {self.what}: {self.words}" + (f"; {self.remedy}" if self.remedy else "")


def examine(read: Callable[[], Params]) -> Iterator[Finding]:
    """Yield what is found, one look after the other: what fails on the way is a finding, and the rest is looked at."""
    for what, look in (("versions", versions), ("GPU", gpu), ("login", login), ("servers", servers)):
        yield from _guarded(what, look)
    try:
        params = read()
    except UserError as error:
        yield Finding("params.yaml", "WRONG", str(error), "correct it, or work in the folder where it is")
        return
    yield Finding("params.yaml", "ok", f"domains: {', '.join(params.domains) or 'none'}")
    folders = {Path("data"), main_checkout() / "mlflow"}
    for domain in params.domains.values():
        folders |= {domain.inbox, domain.store, domain.out, *([domain.archive] if domain.archive else [])}
    yield from _guarded("folders", lambda: permissions(folders))
    yield from _guarded("disk", lambda: disk(folders))
    for domain in params.domains.values():
        for kind, of in (("model", model), ("newest frame", newest_frame), ("newest forecast", newest_forecast)):
            yield from _guarded(f"{domain.name}: {kind}", lambda of=of, domain=domain: of(domain))  # type: ignore[misc]


def _guarded(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except Exception as error:  # whatever it is, it is what is wrong
        yield Finding(what, "WRONG", one_line(error))


def versions() -> Iterator[Finding]:
    """Compare what is installed with requirements.lock, of a clone; elsewhere there is none."""
    known = {name: _installed(name) for name in SHOWN}
    words = ", ".join(f"{name} {version or 'missing'}" for name, version in known.items())
    yield Finding("versions", "ok", f"Python {platform.python_version()}, {words}, code {code_commit()[:12]}")
    if not (lock := CODE / LOCK).exists():
        return
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    for name, wanted in pins:
        # torch's local part says which build it is: that of CUDA serves as well.
        if (found := _installed(name)) is None or found.partition("+")[0] != wanted.partition("+")[0]:
            remedy = f"pip install --requirement {LOCK}"
            yield Finding(name, "WRONG", f"{found or 'missing'}, and {LOCK} pins {wanted}", remedy)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def gpu() -> Iterator[Finding]:
    """Look at what torch computes on; a GPU that it can't use is wrong."""
    import torch

    if torch.cuda.is_available():
        names = (torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
        yield Finding("GPU", "ok", f"{', '.join(names)}; torch {torch.__version__}")
    elif Path("/dev/nvidia0").exists():
        why = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU"
        words = f"one is here, and torch {torch.__version__}, built for {why}, can't use it"
        yield Finding("GPU", "WRONG", words, "install the build of torch for its driver")
    else:
        yield Finding("GPU", "note", f"none: networks compute on {cores()} core(s)")


def login() -> Iterator[Finding]:
    """Look at the file with the servers' password, if it is made."""
    if (path := main_checkout() / FILE).exists():
        read_login(main_checkout())
        yield Finding("login", "ok", f"{path}, which its owner alone can read")
    else:
        yield Finding("login", "note", "none yet: `python -m flows.serve` makes one")


def servers() -> Iterator[Finding]:
    """Ask the servers of Prefect, MLflow and the page if they are well, where the environment or flows.serve has them.

    The page's address has no variable by which it must be there: where nothing answers, that is a note.
    """
    prefect = os.environ.get("PREFECT_API_URL") or f"http://127.0.0.1:{os.environ.get('PREFECT_PORT') or 4200}/api"
    mlflow = os.environ.get("MLFLOW_TRACKING_URI") or f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT') or 5000}"
    page = os.environ.get("SCS_PAGE_URL") or f"http://127.0.0.1:{os.environ.get('PAGE_PORT') or 4300}"
    asked = (
        ("Prefect", prefect, "PREFECT_API_URL"),
        ("MLflow", mlflow, "MLFLOW_TRACKING_URI"),
        ("page", page, "SCS_PAGE_URL"),
    )
    for name, url, named in asked:
        if not url.startswith(("http://", "https://")):
            yield Finding(name, "ok", f"files, no server: {url}")
            continue
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=ANSWER_S):
                yield Finding(name, "ok", f"{url} answers")
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or one_line(error)
            if os.environ.get(named):
                yield Finding(name, "WRONG", f"{url}: {reason}", f"start it, or correct {named}")
            else:
                yield Finding(name, "note", f"{url}: {reason}", "`python -m flows.serve` starts it")


def permissions(folders: set[Path]) -> Iterator[Finding]:
    """Look whether this user can write where a domain's files go."""
    refused = [folder for folder in sorted(folders) if not os.access(_there(folder), os.W_OK | os.X_OK)]
    for folder in refused:
        owner = f"its owner is user {_there(folder).stat().st_uid}, and this is {os.geteuid()}"
        yield Finding("permissions", "WRONG", f"{folder}: can't be written: {owner}", "chown or chmod it")
    if not refused:
        yield Finding("permissions", "ok", f"{len(folders)} folders can be written")


def disk(folders: set[Path]) -> Iterator[Finding]:
    """Look at what is free on each file system that folders lie on."""
    for place in {_there(folder).stat().st_dev: _there(folder) for folder in sorted(folders)}.values():
        free = shutil.disk_usage(place).free / 1e9
        words = f"{free:.1f} GB free where {place.resolve()} lies"
        if free < LEAST_FREE:
            yield Finding("disk", "WRONG", words, "see docs/operations.md, What is removed")
        else:
            yield Finding("disk", "ok", words)


def _there(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def model(domain: Domain) -> Iterator[Finding]:
    """Load a domain's model, as its forecast does."""
    from pipelines.nowcast.registered_model import load

    what = f"{domain.name}: model"
    try:
        loaded = load(domain.model, domain.device)
    except UserError as error:
        stands_in = f" ({', '.join(domain.policy.fallback)} until then)" if domain.policy.fallback else ""
        remedy = "`dvc repro register` fills a registry" if ":" in domain.model else "export it again"
        yield Finding(what, "WRONG", str(error), f"{remedy}; or name another{stands_in}")
        return
    registered = f", version {loaded.version}, as it was registered" if loaded.version else ""
    yield Finding(what, "ok", f"{domain.model}: {loaded.method}{registered}")


def newest_frame(domain: Domain) -> Iterator[Finding]:
    """Look at the newest frame of a domain's live store, and at what waits in its inbox."""
    from pipelines.operation.inputs import StaleInput, check_age
    from pipelines.operation.live_store import LiveStore

    what = f"{domain.name}: newest frame"
    if not domain.inbox.is_dir():
        yield Finding(what, "WRONG", f"{domain.inbox}: no such folder", "make it, and have files come into it")
    if not domain.store.exists():
        yield Finding(what, "note", f"{domain.store}: none yet")
        return
    newest = LiveStore.of(domain).open()["time"].to_numpy()[-1].astype("datetime64[s]")
    try:
        check_age(newest, np.datetime64("now"), domain.policy.max_age_minutes, domain.store)
    except StaleInput as error:
        yield Finding(what, "WRONG", str(error), f"do files come into {domain.inbox}? Is this machine's clock right?")
    else:
        yield Finding(what, "ok", f"of {newest} UTC")


def newest_forecast(domain: Domain) -> Iterator[Finding]:
    """Look at the newest forecast of a domain, and at its alarms."""
    from pipelines.operation.products.latest import read_latest
    from pipelines.operation.products.published import silent_since

    what, latest = f"{domain.name}: newest forecast", read_latest(domain.out)
    for alarm in latest["alarms"]:
        words = f"{alarm['message']} (since {alarm['since']})"
        yield Finding(f"{domain.name}: alarm {alarm['kind']}", "WRONG", words, "see docs/operations.md, alarms")
    if silent := silent_since(domain.out, np.datetime64("now"), domain.silent_minutes):
        yield Finding(
            what,
            "WRONG" if latest["forecast"] else "note",
            silent,
            "`python -m flows.serve` forecasts by the domain's cron",
        )
    elif latest["forecast"]:
        yield Finding(what, "ok", f"of {latest['forecast']['reference_time']}, by {latest['forecast']['source']}")
    else:
        yield Finding(what, "note", f"{domain.out}: none yet")
