"""What leaves the live store and when: finished days go into the archive, and old ones that are there may be forgotten.

A day leaves only after its file has been read back and found to hold exactly its frames, and not while a forecast that
isn't verified yet needs it. What is cut off at any moment, the next run does.
"""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from pipelines.common.errors import UserError
from pipelines.operation.archive import DAY, archive_day, day_file, finished_days, how_it_differs, of_day
from pipelines.operation.live_store import LiveStore
from pipelines.operation.verify import unverified
from pipelines.params.operation import Domain


def archive_days(domain: Domain, now: np.datetime64) -> tuple[dict[Path, int], list[str]]:
    """Bring the files of finished days up to date; raises UserError if there is no live store.

    Parameters
    ----------
    domain : Domain
        One that has an archive.
    now : numpy.datetime64
        UTC; a day is finished some hours after its end.

    Returns
    -------
    written : dict of Path to int
        Files that have new frames, and how many.
    failures : list of str
        Why other days couldn't be written.
    """
    stored = LiveStore.of(domain).open()
    written, failures = {}, []
    for day in finished_days(stored["time"].to_numpy(), now):
        path = day_file(domain, day)
        try:
            if new := archive_day(of_day(stored, day), path):
                written[path] = new
        except UserError as error:
            failures.append(str(error))  # the other days go in
    return written, failures


def expire_days(domain: Domain, now: np.datetime64, wall_clock: datetime) -> tuple[int, list[str]]:
    """Take old days out of the live store, those whose files hold them exactly.

    Parameters
    ----------
    domain, now
        As of :func:`archive_days`. Of the domain's frames those of its last ``keep_days`` stay, and those from a day
        before the first forecast that isn't verified.
    wall_clock : datetime
        With a time zone. States of the store that were made ``keep_days`` before it can't be opened any more; ``now``
        may be that of a replay.

    Returns
    -------
    int
        Frames that were taken out.
    failures : list of str
        Why days stay that are old enough to go.
    """
    live = LiveStore.of(domain)
    stored = live.open()
    times = stored["time"].to_numpy().astype("datetime64[s]")
    needed = [times[-1] - domain.keep_days * DAY, *(reference - DAY for reference in unverified(domain.out)[:1])]
    oldest = min(needed).astype("datetime64[D]")
    gone: list[np.datetime64] = []
    failures = []
    for day in finished_days(times[times < oldest], now):
        path, frames = day_file(domain, day), of_day(stored, day)
        if words := how_it_differs(path, frames):
            failures.append(f"{path}: the day stays in the live store: {words}")
        else:
            gone.extend(frames["time"].to_numpy())
    return live.expire(gone, wall_clock - timedelta(days=domain.keep_days)), failures
