"""Stage ``ingest_drives``: a folder of drives in any known layout into one store of frames with the wheel's angle.

Frames are decoded in worker processes, side by side; rows and frames that can't be used go into a quarantine table with
the reason, and leave a gap.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.common.errors import UserError
from pipelines.common.executor import LOCAL, Executor, open_executor
from pipelines.common.files import atomic_path
from pipelines.common.limits import Limits
from pipelines.common.progress import progress_bars
from pipelines.common.provenance import find_source
from pipelines.common.quarantine import print_rejected, write_quarantine
from pipelines.common.splits import SPLITS as SPLIT_NAMES
from pipelines.common.stage import run
from pipelines.common.text import printable
from pipelines.common.workers import Failure
from pipelines.driving.drives import FrameWriter, write_rows
from pipelines.driving.layouts import DrivePath, Found, Piece, find_drives, read_drive, read_piece
from pipelines.driving.livi_set import LABELS, angle_column, below_zero
from pipelines.driving.rows import Read, Session
from pipelines.driving.sequences import SPLITS, find_copies, number_sequences, sample, split_frames
from pipelines.params.driving import IngestDrives
from pipelines.params.read import read_params

PIECE = 64  # frames that a worker decodes at once
AT_ONCE = 8  # pieces that are waited for together
Wanted = tuple[DrivePath, Session]
Decode = Callable[..., Iterator[Any]]  # :meth:`Executor.decode` with limits


def ingest_drives(source: Path, store: Path, quarantine: Path, params: IngestDrives, executor: Executor = LOCAL) -> int:
    """Write the drives below ``source`` to ``store``; return the rows of the quarantine table.

    Parameters
    ----------
    source : Path
        Folder; see `pipelines.driving.layouts`.
    store : Path
        Zarr store, written whole or not at all; see `pipelines.driving.drives`.
    quarantine : Path
        CSV with columns ``file`` (below ``source``, with the rows or frames) and ``reason``.
    executor : Executor
        Decodes.

    Raises
    ------
    UserError
        If there is no drive of use, or angles are of two units.
    """
    if not source.is_dir():
        raise UserError(f"{source}: no such folder")
    decode = partial(executor.decode, limits=Limits(params.max_memory_mb))
    found = find_drives(source)
    about: dict[str, object] = {"rate": params.rate or "all", "license": params.license}
    about |= _order_columns(found, decode, params.folder_rate)
    wanted = _sessions(found, decode, params)
    units = {session.unit for _, session in wanted}
    if len(units) > 1:
        raise UserError(f"{source}: some drives have degrees and others shares of full lock: one store has one unit")
    with atomic_path(store) as temporary:
        writer = FrameWriter(temporary, sum(len(session) for _, session in wanted), params.height, params.width)
        sessions: list[dict[str, str | None]] = []
        tables: list[pd.DataFrame] = []
        contents: list[set[int]] = []
        for (drive, session), kept, digest, checksums in _decoded(wanted, decode, found.rejected, params, writer):
            if len(kept):
                tables.append(_table(session.take(np.array(kept))).assign(session=len(sessions)))
                sessions.append(
                    {"name": session.name, "layout": drive.layout, "sha256": digest, "split": session.split}
                )
                contents.append(checksums)
        writer.close()
        write_quarantine(found.rejected, quarantine)
        if not sessions:
            name, reason = min(found.rejected.items(), default=(".", "no drive in any known layout"))
            raise UserError(f"{source}: nothing of use in it; {name}: {reason}")
        of_sessions, rows = pd.DataFrame(sessions), pd.concat(tables, ignore_index=True)
        copies = find_copies(contents)
        for number, (other, shared) in copies.items():
            found.rejected[of_sessions["name"][number]] = (
                f"{shared} of its {len(contents[number])} frames are those of {of_sessions['name'][other]}: unused"
            )
        rows["split"] = _splits(of_sessions, rows, list(copies), params)
        rows["sequence"] = number_sequences(
            rows["session"].to_numpy(), rows["split"].to_numpy(), rows["time"].to_numpy(), params.max_gap_s
        )
        write_quarantine(found.rejected, quarantine)
        write_rows(temporary, rows, of_sessions, about | {"angle_unit": units.pop()})
    _tell(rows, of_sessions, about, found.rejected, quarantine)
    return len(found.rejected)


def _order_columns(found: Found, decode: Decode, rate: float) -> dict[str, str]:
    """Decide which column of LiVi-Set's tables is the angle, by those of all drives; return words for it."""
    drives = [drive for drive in found.drives if drive.layout == "LiVi-Set"]
    found.drives = [drive for drive in found.drives if drive.layout != "LiVi-Set"]
    counts = {}
    for drive, answer in zip(drives, decode(below_zero, [(drive.path.absolute(),) for drive in drives]), strict=True):
        if isinstance(answer, Failure):
            found.rejected[drive.name] = f"its {LABELS}: {answer.reason}"
        else:
            counts[drive] = answer
    if not counts:
        return {}
    column = angle_column(list(counts.values()))
    if column is None:
        found.rejected |= {drive.name: f"its {LABELS}: which column is the angle can't be told" for drive in counts}
        return {}
    found.drives += [replace(drive, angle_at=column, rate=rate, split=_official_split(drive.name)) for drive in counts]
    below = sum(count[column] for count in counts.values())
    order = ("angle, speed", "speed, angle")[column]
    return {"behavior_columns": f"{order}: {below} numbers below zero in column {column + 1}"}


def _official_split(name: str) -> str | None:
    """Return the split that a folder above is named after."""
    return next((SPLIT_NAMES[part] for part in name.lower().split("/") if part in SPLIT_NAMES), None)


def _sessions(found: Found, decode: Decode, params: IngestDrives) -> list[Wanted]:
    """Read what the drives say of their frames, and choose those in time that are wanted."""
    wanted = []
    tasks = [(drive.path.absolute(), drive) for drive in found.drives]
    for drive, read in zip(found.drives, decode(read_drive, tasks), strict=True):
        if isinstance(read, Failure):
            found.rejected[drive.name] = read.reason
            continue
        found.rejected |= read.rejected
        for session in read.sessions:
            try:
                wanted.append((drive, session.take(sample(session.time, params.rate, params.max_gap_s))))
            except ValueError as error:
                found.rejected[session.name] = str(error)
    return wanted


def _decoded(
    wanted: list[Wanted], decode: Decode, rejected: dict[str, str], params: IngestDrives, writer: FrameWriter
) -> Iterator[tuple[Wanted, list[int], str, set[int]]]:
    """Decode the frames of each session into ``writer``; yield which there are, their digest, and their checksums."""
    target = params.height, params.width
    with progress_bars() as progress:
        bar = progress.add_task("decode drives", total=sum(len(session) for _, session in wanted))
        for drive, session in wanted:
            path, size, read = drive.path.absolute(), None, Read()
            kept: list[int] = []
            digests: list[str] = []
            checksums: set[int] = set()
            starts = iter(range(0, len(session), PIECE))
            # The first piece alone: most of it says the size that all should have.
            for group in iter(lambda: list(islice(starts, AT_ONCE if kept else 1)), []):  # noqa: B023 - called at once
                pictures = [list(session.pictures[start : start + PIECE]) for start in group]
                tasks = [(path, drive.layout, some, target, size) for some in pictures]
                for start, some, piece in zip(group, pictures, decode(read_piece, tasks), strict=True):
                    if isinstance(piece, Failure):
                        read.reject(session.name, session.numbers[start : start + len(some)], piece.reason)
                        continue
                    _note(piece, session, start, read)
                    writer.add(piece.frames)
                    kept += [start + place for place in piece.places]
                    digests.append(piece.sha256)
                    checksums |= set(piece.checksums)
                    size = size or (piece.size if piece.places else None)
                progress.update(bar, advance=sum(map(len, pictures)))
            rejected |= read.rejected
            yield (drive, session), kept, hashlib.sha256("".join(digests).encode()).hexdigest(), checksums


def _note(piece: Piece, session: Session, start: int, read: Read) -> None:
    for reason in set(piece.bad.values()):
        places = [place for place, other in piece.bad.items() if other == reason]
        read.reject(session.name, [session.numbers[start + place] for place in places], reason)


def _table(session: Session) -> pd.DataFrame:
    columns = {name: getattr(session, name) for name in ("time", "angle", "speed", "hidden")}
    return pd.DataFrame(columns)


def _splits(
    sessions: pd.DataFrame, rows: pd.DataFrame, copies: list[int], params: IngestDrives
) -> "np.ndarray[tuple[int], np.dtype[np.int8]]":
    """Draw the splits; copies are in none."""
    split = np.full(len(rows), SPLITS.index("unused"), np.int8)
    used = ~rows["session"].isin(copies).to_numpy()
    split[used] = split_frames(
        rows["session"].to_numpy()[used],
        rows["time"].to_numpy()[used],
        sessions["split"].tolist(),
        **params.model_dump(include={"stretch_minutes", "margin_s", "validation_share", "test_share", "seed"}),
    )
    return split


def _tell(
    rows: pd.DataFrame, sessions: pd.DataFrame, about: dict[str, object], rejected: dict[str, str], quarantine: Path
) -> None:
    """Print a line for each row of the quarantine, the first of many, and the summary."""
    print_rejected(rejected, quarantine)
    if "behavior_columns" in about:
        print(f"{LABELS} is {about['behavior_columns']}")
    layouts = sorted(set(sessions["layout"]))
    if len(layouts) > 1:
        print(f"{' and '.join(layouts)} in one store: nothing says that a degree of one is a degree of the other")
    counts = rows["split"].value_counts()
    line = (
        f"{len(rows)} frames of {len(sessions)} sessions ({', '.join(layouts)}) in "
        f"{rows['sequence'].nunique()} sequences without a gap: "
        + ", ".join(f"{counts[code]} {name}" for code, name in enumerate(SPLITS) if code in counts)
        + f"; {rows['hidden'].sum()} with the road hidden; {len(rejected)} rows in quarantine"
        + (f": {quarantine}" if rejected else "")
    )
    print(printable(line))


def main(store: Path, quarantine: Path) -> None:
    """Ingest the drives of params.yaml's ingest_drives.source into STORE; what can't be used is in QUARANTINE."""
    params = read_params()
    source = find_source(params.ingest_drives.source)
    with open_executor(**params.executor.model_dump()) as executor:
        ingest_drives(source, store, quarantine, params.ingest_drives, executor)


if __name__ == "__main__":
    run(main)
