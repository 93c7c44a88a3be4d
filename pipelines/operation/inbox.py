"""From an inbox of radar files into the live store.

Three folders, side by side:

``inbox``
    Files come here. One that isn't whole yet stays for the next cycle.
``inbox-done``
    Files whose frame is in the store: the raw archive, kept until the operator removes them.
``inbox-quarantine``
    Files whose frame can't be in the store, each with a file ``NAME.reason`` beside it. Of a symbolic link there is
    the reason alone, and of a pipe, a socket or a device.

A file leaves the inbox after its frame is committed, so a cycle that is killed loses none: the next one reads the file
again, and the store takes each frame once.
"""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.common.files import as_text, no_file_inside
from pipelines.common.provenance import FileSignature, sha256
from pipelines.common.text import printable
from pipelines.common.workers import TOO_SLOW, guarded
from pipelines.operation.live_store import LiveStore
from pipelines.params.radar import SILENT, FileHints, IngestRadar
from pipelines.radar.decoding import decode
from pipelines.radar.frame import Frame
from pipelines.radar.readers.read import radar_files

SETTLE_S = 3.0  # a file that was changed more lately is looked at twice, so far apart
PATIENCE_S = 600.0  # a file that can't be read may be unfinished; unchanged for so long it is broken
MOST_SLOW = 3  # files on which a decoder hangs, a minute each; with more, a cycle's forecast would be late
AHEAD_S = 120  # by so much a source's clock may be ahead of ours
BATCH_BYTES = 1 << 30  # frames in memory at once, after an outage


class Inbox:
    """A folder that radar files come into.

    Attributes
    ----------
    done : Path
        Where files go whose frame is stored.
    notes : list of str
        One line for each file with which something was the matter, and for an inbox without any.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done = self._beside("done")
        self.notes: list[str] = []

    def find_whole(self) -> list[Path]:
        """Return the files that nobody writes to, as seen from outside; raises UserError if there is no folder."""
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: no such folder")
        try:
            signatures = {path: self._signature(path) for path in radar_files(self.folder)}
        except UserError as empty:
            self.notes.append(str(empty))
            return []
        if any(one and time.time() - one.changed_ns / 1e9 < SETTLE_S for one in signatures.values()):
            time.sleep(SETTLE_S)
        whole = []
        for path, before in signatures.items():
            if before and (now := self._signature(path)) == before:
                whole.append(path)
            elif before and now:
                self._note(path, "still being written; left for the next cycle")
        return whole

    def store(
        self,
        files: Iterable[Path],
        live: LiveStore,
        params: IngestRadar,
        now: np.datetime64,
        hints: FileHints = SILENT,
    ) -> int:
        """Put the frames of ``files`` into the live store, and each file where it belongs; return how many are new.

        Parameters
        ----------
        files : iterable of Path
            From :meth:`find_whole`; those that are gone by now are passed over.
        params : IngestRadar
            How a file becomes a frame: as in the archive.
        now : numpy.datetime64
            UTC; a frame of later is refused.
        hints : FileHints
            What the user says of the files.

        Raises
        ------
        Unavailable
            If another process is writing to the store for long. What is in by then stays in.
        """
        stored = slow = 0
        batch: dict[Path, tuple[FileSignature, Frame]] = {}
        for path in files:
            try:
                if path.is_symlink() or no_file_inside(path, self.folder):
                    self._remove(path)
                    continue
                if path.is_dir():
                    self._note(path, "a folder that can't be listed; left where it is")
                    continue
                signature = FileSignature.of(path)
                frame, _ = guarded(decode, path, None, params, hints, limits=params.limits)
            except FileNotFoundError:
                continue
            except UnreadableFile as error:
                hangs = error.reason.startswith(TOO_SLOW)  # it would in each cycle
                slow += hangs
                if time.time() - signature.changed_ns / 1e9 < PATIENCE_S and not hangs:
                    self._note(path, f"can't be read yet: {error.reason}; left for the next cycle")
                else:
                    self._quarantine(path, signature, error.reason)
                if slow == MOST_SLOW:
                    self.notes.append(f"{slow} files took too long; the rest is left for the next cycle")
                    break
                continue
            if frame.time > now + np.timedelta64(AHEAD_S, "s"):
                self._quarantine(path, signature, f"from the future: its time is {frame.time}, and now it is {now} UTC")
                continue
            batch[path] = signature, frame
            if len(batch) * frame.rain_rate.nbytes >= BATCH_BYTES:
                stored += self._append(batch, live)
                batch.clear()
        return stored + (self._append(batch, live) if batch else 0)

    def _append(self, batch: dict[Path, tuple[FileSignature, Frame]], live: LiveStore) -> int:
        appended = live.append([frame for _, frame in batch.values()])
        outcomes = zip(batch.items(), appended.new, appended.refusals, strict=True)
        for (path, (signature, frame)), new, refusal in outcomes:
            if refusal is not None:
                self._quarantine(path, signature, refusal)
                continue
            if not new:
                self._note(path, f"repeats the frame of {frame.time} UTC that is stored")
            self._move(path, signature, "done")
        return sum(appended.new)

    def _note(self, path: Path, words: str) -> None:
        """Add a line on a file, whose name may be of any bytes: Prefect takes text alone."""
        self.notes.append(printable(f"{path.name}: {words}"))

    def _quarantine(self, path: Path, signature: FileSignature, reason: str) -> None:
        self._note(path, f"{reason}; in quarantine")
        if target := self._move(path, signature, "quarantine"):
            try:
                target.with_name(f"{target.name}.reason").write_text(f"{printable(reason)}\n", encoding="utf-8")
            except OSError as error:  # a name that leaves no room for another ending
                self._note(path, f"its reason can't be written: {error.strerror or error}")

    def _signature(self, path: Path) -> FileSignature | None:
        """Return a file's signature; None where it is gone, as who put it there may move it away again."""
        try:
            return FileSignature.of(path)
        except FileNotFoundError:
            return None
        except OSError as error:  # of a path that is too long
            self._note(path, f"{error.strerror}; left where it is")
            return None

    def _remove(self, path: Path) -> None:
        """Remove a symbolic link: what it leads to isn't the inbox's to read, and moved it would lead there still.

        A pipe or a device, too, is moved nowhere.
        """
        link = path.is_symlink()
        reason = (
            f"a link to {as_text(path.readlink())}; none is followed" if link else no_file_inside(path, self.folder)
        )
        self._note(path, f"{reason}; removed")
        try:
            quarantine = self._beside("quarantine")
            quarantine.mkdir(exist_ok=True)
            quarantine.joinpath(f"{path.name}.reason").write_text(f"{printable(reason)}\n", encoding="utf-8")
            path.unlink()
        except OSError as error:
            self._note(path, f"can't be removed: {error.strerror or error}")

    def _beside(self, where: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}-{where}")

    def _move(self, path: Path, signature: FileSignature, where: str) -> Path | None:
        """Move a file that is still as it was looked at into a folder beside the inbox."""
        folder = self._beside(where)
        target = folder / path.name
        now = self._signature(path)
        if now is None:
            return None
        if now != signature:
            # What is there now is another file, and nobody has read it.
            self._note(path, "replaced while it was read; left for the next cycle")
            return None
        try:
            folder.mkdir(exist_ok=True)
            if target.is_file() and (digest := sha256(path)) != sha256(target):
                target = folder / f"{path.stem}-{digest[:8]}{path.suffix}"
            return Path(shutil.move(path, target))
        except OSError as error:
            # It will be read again, and stored once: no reason to go without a forecast.
            self._note(path, f"can't be moved into {folder}: {error.strerror or error}")
            return None
