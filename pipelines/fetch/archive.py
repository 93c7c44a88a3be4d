"""Fill a folder from an archive elsewhere: what is missing in it, from one time to another."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from pathlib import Path

from pipelines.common.errors import Unavailable, UserError
from pipelines.common.files import exclusive
from pipelines.fetch.manifest import Manifest, write_missing
from pipelines.fetch.patterns import Wanted, expand
from pipelines.fetch.provider import MOST_FAILURES, PARTIAL, Fetched, Provider
from pipelines.params.fetch import Fetch

BATCH = 256


def fetch(
    name: str,
    settings: Fetch,
    folder: Path,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Callable[[int, int], object] = lambda done, of: None,
) -> Fetched:
    """Fill ``folder`` with the files that `settings` mean from ``start`` up to ``end``.

    What is in its manifest and here with the same length is left alone. Each file that comes is checked and put in its
    place whole; interrupted, the next fetch goes on within the file where the place allows it.

    Parameters
    ----------
    name : str
        Of the archive, by which the environment has its key.
    progress : callable
        Called with how many of the URLs are done, and of how many.

    Raises
    ------
    UserError
        If the settings can't be used, another fetch fills the folder, the disk is full, or more than `MOST_FAILURES`
        files failed.
    """
    total = sum(1 for _ in expand(settings, start, end))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from None
    with exclusive(folder.parent / f".{folder.name}.lock", wait_s=1.0):
        manifest, fetched = Manifest(folder), Fetched()
        try:
            provider = Provider(name, settings, folder, manifest, fetched)
            with ThreadPoolExecutor(settings.parallel) as pool:
                try:
                    for done, _ in enumerate(_in_batches(pool, provider, expand(settings, start, end)), start=1):
                        progress(done, total)
                except BaseException:  # Ctrl-C, too
                    provider.transfer.pace.stop.set()
                    raise
        except OSError as error:
            raise UserError(f"{error.filename or folder}: {error.strerror or error}") from None
        finally:  # what came is kept, however it ends
            manifest.close()
            write_missing(fetched.missing, folder)
        if not fetched.failed:
            shutil.rmtree(folder / PARTIAL, ignore_errors=True)
    return fetched


def _in_batches(pool: ThreadPoolExecutor, provider: Provider, wanted: Iterator[Wanted]) -> Iterator[None]:
    while batch := list(islice(wanted, BATCH)):
        yield from pool.map(provider.bring, batch)
        if len(provider.fetched.failed) > MOST_FAILURES:
            lines = "; ".join(provider.fetched.failed[:3])
            raise (Unavailable if provider.fetched.passing else UserError)(
                f"{len(provider.fetched.failed)} files failed, so the rest isn't asked for: {lines}"
            )
