"""Which files a pattern means, from one time to another, and where they go below a folder."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import PurePosixPath
from typing import NamedTuple

from pipelines.common.errors import UserError
from pipelines.common.text import FORMULA
from pipelines.params.fetch import FIELD, Fetch

DAY = timedelta(days=1)
MAGIC = "*["


class Wanted(NamedTuple):
    """A file, or with ``*`` in its URL each that fits; of an archive file, the members that fit any of ``members``.

    ``times`` are those that it stands for, UTC, one for each of ``members``; none where the pattern has no time.
    ``checksums`` is the file that may list its hash, ``name`` its own below the folder.
    """

    url: str
    name: str
    members: tuple[str, ...]
    times: tuple[datetime, ...]
    checksums: str | None

    @property
    def many(self) -> bool:
        """Whether it has to be looked up in a listing which files these are."""
        return any(sign in self.url for sign in MAGIC)


def parse_time(text: str | None, option: str) -> datetime | None:
    """Return a time of the command line, UTC where it names no other zone; None where none is given."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UserError(f"{option}: {text!r} is no time like 2024-06-01 or 2024-06-01T12:30") from None
    if not 1900 <= time.year < 2200:  # so that no step from it leaves the calendar
        raise UserError(f"{option}: {text!r} is no year of an archive")
    return time


def split_members(url: str) -> tuple[str | None, str, str]:
    """Return the kind of archive file, tar or zip, the pattern of its members, and its own URL."""
    kind, _, rest = url.partition("://")
    members, chained, outer = rest.partition("::")
    if not chained:
        if kind in ("tar", "zip"):
            raise UserError(f"{url}: which archive file? {kind}://MEMBERS::URL")
        return None, "", url
    if kind not in ("tar", "zip") or "::" in outer or not (members and outer):
        raise UserError(f"{url}: only tar://MEMBERS::URL and zip://MEMBERS::URL can be chained")
    return kind, members, outer


def expand(settings: Fetch, start: datetime | None, end: datetime | None) -> Iterator[Wanted]:
    """Yield what `settings` mean, in the order of time, each once.

    Wanted are the times from `start` up to `end`, but not `end`; of files a day or more apart, the one before `start`
    too, which reaches into it.

    Raises
    ------
    UserError
        If a pattern with times has no range or no step, or one without has a range; if two files had the same name.
    """
    _, members, outer = split_members(settings.url)
    if any(sign in outer.rpartition("/")[0] for sign in MAGIC):
        raise UserError(f"{settings.url}: * and [ ] can stand in a file's name alone, not in its folder's")
    name = settings.name or outer[len(_fixed(outer)) :]
    if not _has_time(settings.url):
        if start or end:
            raise UserError(f"{settings.url}: no time in it, so --from and --to choose nothing")
        yield Wanted(outer, name, (members,) * bool(members), (), settings.checksums)
        return
    if start is None or end is None:
        raise UserError(f"{settings.url}: has a time in it: from when to when? --from and --to")
    if start >= end:
        raise UserError(f"--from {start:%Y-%m-%dT%H:%M} is not before --to {end:%Y-%m-%dT%H:%M}")
    if settings.step_s is None:
        raise UserError(f"{settings.url}: has a time in it: how far apart are they? step_s")
    # A listing says the last part of names.
    many = any(sign in outer for sign in MAGIC)
    here = f"{name.rpartition('/')[0]}/{outer.rpartition('/')[2]}" if many else name
    if lost := _changing(outer, settings.step_s) - _changing(here, settings.step_s):
        raise UserError(f"name: lacks %{', %'.join(sorted(lost))} of {outer}: several files would have the same")
    of_url = groupby(_times(start, end, settings.step_s, settings.offset_s), lambda time: _at(time, outer))
    for url, times in of_url:
        of_members = {_at(time, members): time for time in reversed(list(times))} if members else {"": next(times)}
        first = min(of_members.values())
        yield Wanted(
            url,
            _at(first, name),
            tuple(reversed(of_members)) if members else (),
            tuple(sorted(of_members.values())),
            settings.checksums and _at(first, settings.checksums),
        )


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name, or its last part, fits any of some patterns; what is hidden fits none, as in a shell."""
    if any(part.startswith(".") and not part.startswith("..") for part in name.split("/")):
        return False
    return any(fnmatchcase(name, one) or fnmatchcase(name.rpartition("/")[2], one) for one in patterns)


def safe_path(name: str) -> PurePosixPath:
    """Return a name from elsewhere as a path below a folder; a ValueError if it leads out, or is no name for a file."""
    path = PurePosixPath(name)
    parts = path.parts
    if not parts or path.is_absolute() or any(part == ".." for part in parts):
        raise ValueError("leads out of the folder")
    if any(part.startswith(".") for part in parts):
        raise ValueError("a hidden file")
    if "\\" in name or not name.isprintable() or len(name) > 1000 or any(len(part.encode()) > 200 for part in parts):
        raise ValueError("no name for a file here")
    if any(part.startswith(FORMULA) for part in parts):
        raise ValueError("a name that a command or a spreadsheet takes for its own")
    return path


def _times(start: datetime, end: datetime, step_s: int, offset_s: int) -> Iterator[datetime]:
    step = timedelta(seconds=step_s)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(seconds=offset_s)
    steps = (start - midnight) // step if step >= DAY else -((midnight - start) // step)
    time = midnight + steps * step
    while time < end:
        yield time
        time += step


def _at(time: datetime, pattern: str) -> str:
    # Not strftime itself: it writes years before 1000 and what is no field of ours as each platform likes.
    of_field = {
        "Y": f"{time.year:04}",
        "y": f"{time:%y}",
        "m": f"{time:%m}",
        "d": f"{time:%d}",
        "j": f"{time:%j}",
        "H": f"{time:%H}",
        "M": f"{time:%M}",
        "S": f"{time:%S}",
        "%": "%",
    }
    return FIELD.sub(lambda field: of_field[field[1]], pattern)


def _has_time(pattern: str) -> bool:
    return any(field != "%" for field in FIELD.findall(pattern))


def _changing(pattern: str, step_s: int) -> set[str]:
    """Return the fields of a pattern that differ from one of the times to another."""
    same = {field for field, of in (("H", 86_400), ("M", 3_600), ("S", 60)) if step_s % of == 0} | {"%"}
    fields = "".join(FIELD.findall(pattern)).replace("j", "md").replace("y", "Y")
    return set(fields) - same


def _fixed(url: str) -> str:
    """Return the folder of a pattern that is the same at all times: what is below it names the files here."""
    scheme, mark, path = url.rpartition("://")
    fixed: list[str] = []
    for part in path.split("/")[:-1]:
        if _has_time(part) or any(sign in part for sign in MAGIC):
            break
        fixed.append(part)
    return scheme + mark + "".join(f"{part}/" for part in fixed)
