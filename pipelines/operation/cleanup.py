"""What is removed by its age, where a domain asks for it: raw files, published forecasts and days of the ledger.

None of it can be made again, so by default all stays. No forecast goes before it is verified, nor its ledger before it:
a forecast without one would be verified anew.
"""

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from pipelines.operation.inbox import Inbox
from pipelines.operation.ledger import BESIDE, ledger_file
from pipelines.operation.products.dataset import stamp
from pipelines.operation.products.published import published_times
from pipelines.params.operation import Domain

DAY = np.timedelta64(1, "D")
GOING = ".{}.removed"


def remove_old(domain: Domain, wall_clock: datetime) -> list[str]:
    """Remove what is older than the domain keeps; return in words what was, of each kind.

    Parameters
    ----------
    domain : Domain
        Forecasts and ledger are as old as they are before the newest forecast: a replay of the past has its own clock.
    wall_clock : datetime
        With a time zone. By it a raw file is as old as it was moved into ``inbox-done``.
    """
    published = published_times(domain.out)
    removed = {
        "raw file(s)": _raw_files(domain, wall_clock),
        "forecast(s)": _forecasts(domain, published),
        "day(s) of the ledger": _ledger_days(domain, published),
    }
    return [f"{count} {what}" for what, count in removed.items() if count]


def _raw_files(domain: Domain, wall_clock: datetime) -> int:
    folder = Inbox(domain.inbox).done
    if domain.keep_done_days is None or not folder.is_dir():
        return 0
    oldest = (wall_clock - timedelta(days=domain.keep_done_days)).timestamp()
    with os.scandir(folder) as entries:
        # When it was moved: what the sender says of its time may be anything.
        old = [one.path for one in entries if one.is_file(follow_symlinks=False) and one.stat().st_ctime < oldest]
    for path in old:
        Path(path).unlink()
    return len(old)


def _forecasts(domain: Domain, published: list[np.datetime64]) -> int:
    for left in domain.out.glob(GOING.format("*")):
        shutil.rmtree(left)  # of a run that was killed
    if domain.keep_forecast_days is None:
        return 0
    old = [one for one in published if one < published[-1] - domain.keep_forecast_days * DAY]
    old = [one for one in old if ledger_file(domain.out, one).exists()]
    for reference in old:
        folder = domain.out / stamp(reference)
        going = folder.with_name(GOING.format(folder.name))
        folder.rename(going)  # at once: nobody finds half of it
        shutil.rmtree(going)
    return len(old)


def _ledger_days(domain: Domain, published: list[np.datetime64]) -> int:
    if domain.keep_ledger_days is None or not published:
        return 0
    left = published_times(domain.out)  # some are gone by now
    oldest = min(left[0], published[-1] - domain.keep_ledger_days * DAY)
    of_oldest = ledger_file(domain.out, oldest).parent
    old = [day for day in of_oldest.parent.glob("date=*") if day.name < of_oldest.name]
    for day in old:
        for kind in BESIDE:  # first what is beside it
            shutil.rmtree(domain.out / kind / day.name, ignore_errors=True)
        shutil.rmtree(day)
    return len(old)
