"""``scs fetch``: what it takes from params.yaml and what it says."""

import json
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from pipelines.common.errors import Unavailable, UserError
from pipelines.common.limits import MB
from pipelines.common.progress import progress_bars
from pipelines.common.text import printable
from pipelines.fetch.archive import fetch
from pipelines.fetch.manifest import MISSING
from pipelines.fetch.patterns import parse_time
from pipelines.fetch.presets import NOT_TRIED, PRESETS
from pipelines.fetch.provider import Fetched
from pipelines.params.fetch import Fetch
from pipelines.params.read import params_if_any

SHOWN = 5


def fetch_archive(name: str, start: str | None, end: str | None, folder: Path) -> None:
    """Fetch the archive of this name and print what came.

    Raises
    ------
    UserError
        As :func:`fetch` does, and after all else is done where files failed.
    """
    settings = _settings(name)
    first, last = parse_time(start, "--from"), parse_time(end, "--to")
    columns = TextColumn(printable(name)), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with progress_bars(*columns) as bar:
        task = bar.add_task("", total=None)
        fetched = fetch(
            name, settings, folder, first, last, lambda done, of: bar.update(task, completed=done, total=of)
        )
    print(*_lines(name, settings, folder, fetched), sep="\n")
    if fetched.failed:
        error = Unavailable if fetched.passing else UserError
        more = f"; and {len(fetched.failed) - SHOWN} more" if len(fetched.failed) > SHOWN else ""
        raise error(f"{len(fetched.failed)} of them failed: {'; '.join(fetched.failed[:SHOWN])}{more}")


def _settings(name: str) -> Fetch:
    of_params = params.fetch if (params := params_if_any()) else {}
    if name in of_params:
        return of_params[name]
    if name not in PRESETS:
        raise UserError(f"params.yaml: fetch: no {name!r} among {', '.join([*of_params, *PRESETS])}")
    print(f"{name}: {NOT_TRIED}")
    return PRESETS[name]


def _lines(name: str, settings: Fetch, folder: Path, fetched: Fetched) -> list[str]:
    lines = [f"{folder}: {fetched.files} files came, {fetched.bytes / MB:.1f} MB; {fetched.here} were here"]
    if fetched.unlisted:
        lines.append(f"not checked: the table of hashes, {settings.checksums}, lists {fetched.unlisted} files not")
    if fetched.missing:
        times = sorted(time or url for time, url in fetched.missing)
        more = f" and {len(times) - SHOWN} more" if len(times) > SHOWN else ""
        lines.append(
            printable(f"missing there: {', '.join(times[:SHOWN])}{more}; all of them are in {folder / MISSING}")
        )
    says = {"licence": settings.license, "attribution": settings.attribution}
    known = ", ".join(f"{key}: {json.dumps(text, ensure_ascii=False)}" for key, text in says.items() if text)
    lines += [f"licence: {settings.license or 'not known: ask the provider'}"]
    lines += [f"see {settings.source}"] * bool(settings.source)
    lines += [f"for params.yaml, ingest_radar: sources: {{{name}: {folder}}}, archives: {{{name}: {{{known}}}}}"]
    return lines
