"""The flow ``archive``: finished days go from a domain's live store into files that ``ingest_radar`` reads.

DVC knows them before they leave the live store; see `pipelines.operation.retention`.
"""

from contextlib import ExitStack
from datetime import UTC, datetime

import numpy as np
from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.clock import utc
from flows.retries import RETRY
from pipelines.common.errors import Unavailable, UserError
from pipelines.common.files import exclusive
from pipelines.common.text import printable
from pipelines.operation.cleanup import remove_old
from pipelines.operation.dvc_add import dvc_add
from pipelines.operation.retention import archive_days, expire_days
from pipelines.params.operation import Domain
from pipelines.params.read import read_params

HANGS_S = 4 * 3600


@task(name="write days", **RETRY)
def write_days(domain: Domain, now: np.datetime64) -> tuple[int, list[str]]:
    """Bring the files of finished days up to date; return the frames that are new in them, and what went wrong."""
    written, failures = archive_days(domain, now)
    for path, new in written.items():
        get_run_logger().info("%s: %s: %d new frame(s)", domain.name, path, new)
    return sum(written.values()), failures


add_to_dvc = task(name="add to dvc", **RETRY)(dvc_add)


@task(name="expire", **RETRY)
def expire(domain: Domain, now: np.datetime64) -> tuple[int, list[str]]:
    """Take old days out of the live store that the archive has; return the frames, and why others stay."""
    return expire_days(domain, now, wall_clock=datetime.now(UTC))


remove = task(name="remove", **RETRY)(remove_old)


@flow(name="archive", flow_run_name="{domain}", timeout_seconds=HANGS_S)
def archive(domain: str, now: datetime | None = None) -> State:
    """Archive a domain's finished days, let the live store forget those older than it keeps, and remove what is to go.

    Parameters
    ----------
    domain : str
        Key of the section ``domains`` in params.yaml.
    now : datetime, optional
        The clock by which days are finished; UTC unless it says otherwise. The wall clock by default.
    """
    log = get_run_logger()
    clock = utc(now)
    with ExitStack() as held:
        try:
            settings = read_params().domain(domain)
            folder = settings.archive
            if folder is None and not settings.removes:
                return Completed(message=f"params.yaml: domains.{domain}.archive is null: the live store keeps all")
            try:
                held.enter_context(exclusive(settings.out / ".archive.lock", wait_s=0))
            except Unavailable:
                return Completed(message=f"another run for {domain} is in progress")
            done, failures = _archive(settings, clock) if folder else ("the live store keeps all", [])
        except (UserError, OSError) as error:
            log.error("%s: not archived: %s", printable(domain), error)
            return Failed(message=f"not archived: {error}")
        removed = list[str]()
        try:
            removed = remove(settings, datetime.now(UTC)) if settings.removes else []
        except OSError as error:
            failures.append(f"not all is removed that is to go: {error}")
    done += f"; removed: {', '.join(removed)}" if removed else ""
    for failure in failures:
        log.error("%s: %s", domain, failure)
    if failures:
        return Failed(message="; ".join([*failures, done]))
    return Completed(message=done)


def _archive(domain: Domain, now: np.datetime64) -> tuple[str, list[str]]:
    """Archive finished days, and let the live store forget old ones; return both in words, and what went wrong."""
    folder = domain.archive
    assert folder is not None
    written, failures = write_days(domain, now)
    recorded = add_to_dvc(folder) if folder.is_dir() else "nothing to record"
    expired, kept = expire(domain, now)
    # A file that couldn't be brought up to date is the reason for which its day stays.
    failures += [words for words in kept if not any(words.split(": ")[0] in one for one in failures)]
    return f"{written} new frame(s) in {folder} ({recorded}), {expired} expired from the live store", failures
