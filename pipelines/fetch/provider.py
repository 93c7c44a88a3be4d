"""Bring what is wanted of an archive: a file, those that a listing names, or members of an archive file."""

import os
import re
import shutil
import threading
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pipelines.common.provenance import sha256
from pipelines.common.text import printable
from pipelines.fetch.files import Files
from pipelines.fetch.http import Http
from pipelines.fetch.manifest import Manifest, Row
from pipelines.fetch.members import extract
from pipelines.fetch.pace import Pace
from pipelines.fetch.patterns import Wanted, fits, safe_path, split_members
from pipelines.fetch.remote import Absent, Passing, Refused, Remote
from pipelines.fetch.transfer import Transfer, place
from pipelines.params.fetch import Fetch, without_keys

PARTIAL = ".partial"  # folder of what isn't whole yet; hidden, so that no reader takes it
MOST_FAILURES = 20  # then something is wrong with all, and the provider is spared the rest
HASHES = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}  # by hex digits


@dataclass
class Fetched:
    """What a fetch did: files and bytes that came, files that were here, times without a file, and failures.

    ``unlisted`` are files that came and that the table of hashes, where there should be one, doesn't list. ``failed``
    are lines; ``passing`` says that each of them may go well another time.
    """

    files: int = 0
    bytes: int = 0
    here: int = 0
    unlisted: int = 0
    missing: list[tuple[str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    passing: bool = True


def authorization(name: str) -> str | None:
    """Return what a provider wants in the header Authorization, from the environment: SCS_AUTHORIZATION_NAME."""
    key = os.environ.get(f"SCS_AUTHORIZATION_{re.sub('[^A-Z0-9]', '_', name.upper())}")
    return key and key.strip()  # a key that was read from a file ends with the line


class Provider:
    """Where an archive's files come from, with the folder that they go to and what is counted of them."""

    def __init__(
        self,
        name: str,
        settings: Fetch,
        folder: Path,
        manifest: Manifest,
        fetched: Fetched,
    ) -> None:
        self.kind, _, outer = split_members(settings.url)
        self.settings, self.folder = settings, folder
        self.manifest, self.fetched, self.lock = manifest, fetched, threading.Lock()
        pace = Pace(settings.rate)
        remote: Remote
        if outer.startswith(("http://", "https://")):
            remote = Http(pace, authorization(name), settings.answer)
        else:
            remote = Files(pace, outer, settings.anonymous)
        # What archive files hold is limited one by one.
        self.transfer = Transfer(remote, pace, folder / PARTIAL, settings.max_file_mb)
        self.listing = lru_cache(maxsize=8)(self._listing)
        self.hashes = lru_cache(maxsize=8)(self._hashes)
        self.listed = threading.Lock()  # the others wait for the one that asks
        self.asked = set[PurePosixPath]()  # names here: what fits the patterns of two times is fetched once

    def bring(self, wanted: Wanted) -> None:
        """Bring what is wanted, or count why not."""
        try:
            self._bring(wanted)
        except Absent:
            for time in wanted.times or (None,):
                self._missing(wanted.url, time)
        except (Passing, Refused, ValueError) as error:
            self._failed(wanted.url, error)

    def _bring(self, wanted: Wanted) -> None:
        if len(self.fetched.failed) > MOST_FAILURES or self.transfer.pace.stop.is_set():
            return
        for url, name in self._files(wanted):
            try:
                path = safe_path(name)
            except ValueError as error:
                self._failed(url, error)
                continue
            if self.kind is None:
                with self.lock:
                    if path in self.asked:
                        continue
                    self.asked.add(path)
                self._bring_file(wanted, url, path)
            else:
                self._bring_members(wanted, url, path)

    def _files(self, wanted: Wanted) -> list[tuple[str, str]]:
        """Return the files that are wanted, each with its name below the folder."""
        if not wanted.many:
            return [(wanted.url, wanted.name)]
        parent, _, pattern = wanted.url.rpartition("/")
        below = wanted.name.rpartition("/")[0]
        with self.listed:
            found = self.listing(f"{parent}/")
        names = sorted(name for name in found if fits(name, (pattern,)))
        if not names:
            raise Absent
        return [(without_keys(found[name]), f"{below}/{name}" if below else name) for name in names]

    def _bring_file(self, wanted: Wanted, url: str, path: PurePosixPath) -> None:
        # One of no bytes may have been seen before it was written there.
        if self.manifest.has(str(path)) and self.manifest.rows[str(path)].bytes:
            with self.lock:
                self.fetched.here += 1
            return
        here, sha256, version = self._fetch(wanted, url)
        row = Row(str(path), here.stat().st_size, sha256, url, version)
        place(here, self.folder / path, self.folder)
        self._add([row])

    def _bring_members(self, wanted: Wanted, url: str, path: PurePosixPath) -> None:
        assert self.kind is not None
        files = [PurePosixPath(row.file) for row in self.manifest.of(url)]
        names = [str(file.relative_to(path)) for file in files if file.is_relative_to(path)]
        known = [name for name in names if fits(name, wanted.members)]
        whole = all(self.manifest.has(str(path / name)) for name in known)
        if known and whole and all(any(fits(name, (pattern,)) for name in known) for pattern in wanted.members):
            with self.lock:
                self.fetched.here += len(known)
            return
        archive, _, version = self._fetch(wanted, url)
        unpacked = archive.with_name(f"{archive.name}.members")
        try:
            members, refused = extract(archive, self.kind, wanted.members, unpacked, self.settings.max_file_mb)
            rows = []
            for member, file in sorted(members.items()):
                target = path / member
                row = Row(str(target), file.stat().st_size, sha256(file), f"{self.kind}://{member}::{url}", version)
                try:
                    place(file, self.folder / target, self.folder)
                except ValueError as error:
                    refused[str(member)] = str(error)
                else:
                    rows.append(row)
            self._add(rows)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
            archive.unlink(missing_ok=True)
        for name, why in refused.items():
            self._failed(f"{url}: {name}", ValueError(why))
        for pattern, time in zip(wanted.members, wanted.times or (None,) * len(wanted.members), strict=True):
            if not any(fits(str(member), (pattern,)) for member in members):
                self._missing(f"{self.kind}://{pattern}::{url}", time)

    def _fetch(self, wanted: Wanted, url: str) -> tuple[Path, str, str]:
        """Bring a file, and hold it to the table of hashes where that lists it."""
        if wanted.checksums is None:
            return self.transfer.fetch(url, {})
        with self.listed:
            digest = self.hashes(wanted.checksums).get(url.rpartition("/")[2])
        brought = self.transfer.fetch(url, {} if digest is None else {HASHES[len(digest)]: digest})
        with self.lock:
            self.fetched.unlisted += digest is None
        return brought

    def _hashes(self, url: str) -> dict[str, str]:
        """Return the digests of a file as sha256sum writes it, by the last part of each name."""
        try:
            path, _, _ = self.transfer.fetch(url, {})
        except Absent:
            return {}
        text = path.read_text(encoding="utf-8", errors="replace")
        path.unlink()
        rows = re.findall(r"^([0-9a-fA-F]{32,128}) [ *](.+?)\r?$", text, re.MULTILINE)
        return {name.rpartition("/")[2]: digest for digest, name in rows if len(digest) in HASHES}

    def _listing(self, folder: str) -> dict[str, str]:
        try:
            return self.transfer.list(folder)
        except Absent:
            return {}

    def _add(self, rows: list[Row]) -> None:
        with self.lock:
            self.manifest.add(rows)
            self.fetched.files += len(rows)
            self.fetched.bytes += sum(row.bytes for row in rows)

    def _missing(self, url: str, time: datetime | None) -> None:
        with self.lock:
            self.fetched.missing.append(("" if time is None else f"{time:%Y-%m-%dT%H:%M:%SZ}", url))

    def _failed(self, url: str, error: Exception) -> None:
        with self.lock:
            self.fetched.passing &= isinstance(error, Passing)
            self.fetched.failed.append(printable(f"{url}: {error}"))
