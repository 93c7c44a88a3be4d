"""What an operation of version 0.1 left is read, gone on with, and not harmed; what a newer one left is refused."""

import subprocess
import sys
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import zarr
from archive import moving_cells
from conftest import REPOSITORY, write_params
from domains import domain_in

from pipelines.common.errors import UserError
from pipelines.operation.archive import archive_day, day_file, how_it_differs, of_day
from pipelines.operation.ledger import ledger_file, read_ledger
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products.latest import describe, read_latest, update_latest
from pipelines.operation.products.published import published_times, read_published
from pipelines.operation.retention import archive_days, expire_days
from pipelines.operation.verify import close_cycles, unverified
from pipelines.params.operation import Domain
from pipelines.radar.store import frames_of

FRAMES = moving_cells("2024-06-01T23:30:00", 8, shape=(24, 24))  # the first seven are stored
LATER = np.datetime64("2024-06-02T06:00:00")
FIRST, SECOND = np.datetime64("2024-06-01T23:40:00"), np.datetime64("2024-06-01T23:50:00")


@pytest.fixture
def domain(tmp_path: Path) -> Domain:
    with tarfile.open(REPOSITORY / "tests/fixtures/operation_0_1.tar.xz") as fixture:
        fixture.extractall(tmp_path, filter="data")
    return domain_in(tmp_path)


def test_a_live_store_is_read_and_grows_and_forgets(domain: Domain) -> None:
    live = LiveStore.of(domain)
    before = live.open()
    for stored, frame in zip(frames_of(before), FRAMES[:7], strict=True):
        assert (stored.time, stored.sha256, stored.source) == (frame.time, frame.sha256, frame.source)
        np.testing.assert_allclose(stored.rain_rate, frame.rain_rate, atol=0.0051)
    appended = live.append([FRAMES[7], FRAMES[0], replace(FRAMES[1], rain_rate=FRAMES[1].rain_rate + 1, sha256="0")])
    assert appended.new == [True, False, False] and "conflict" in str(appended.refusals[2])
    assert live.open().sizes["time"] == 8 and live.open(before.attrs["snapshot"]).sizes["time"] == 7
    assert live.expire([FRAMES[0].time], datetime.now(UTC)) == 1
    np.testing.assert_array_equal(live.open()["time"], [frame.time for frame in FRAMES[1:]])


def test_a_day_of_the_archive_is_what_the_live_store_holds_and_is_added_to(domain: Domain) -> None:
    path = day_file(domain, FIRST.astype("datetime64[D]"))
    assert path.is_file()
    live = LiveStore.of(domain)
    assert how_it_differs(path, of_day(live.open(), FIRST.astype("datetime64[D]"))) is None
    assert archive_days(domain, LATER) == ({}, [])
    assert expire_days(domain, LATER, wall_clock=datetime.now(UTC)) == (0, [])
    before = replace(FRAMES[0], time=FRAMES[0].time - np.timedelta64(300, "s"), sha256="1")
    live.append([before])
    day = of_day(live.open(), FIRST.astype("datetime64[D]"))
    assert archive_day(day, path) == 1 and how_it_differs(path, day) is None


def test_published_forecasts_are_read_and_verified_beside_those_of_the_ledger(domain: Domain) -> None:
    assert published_times(domain.out) == [FIRST, SECOND] and unverified(domain.out) == [SECOND]
    published = read_published(domain.out / "20240601T235000Z")
    attributes = published.attributes
    assert (attributes.method, attributes.model_version, attributes.model_sha256) == ("extrapolation", None, None)
    assert attributes.fallback == "extrapolation: models:/radar-nowcast@champion: no such model"
    assert [frame.sha256 for frame in attributes.input_frames] == [FRAMES[2].sha256, FRAMES[4].sha256]
    assert attributes.warnings == [
        f"fallback: {attributes.fallback}",
        "input of 2024-06-01T23:45:00 UTC: no frame of this time; in its place frame_2024-06-01T23:40:00.h5 of "
        "2024-06-01T23:40:00, advected",
    ]
    assert LiveStore.of(domain).open(attributes.live_store_snapshot).sizes["time"] == 7
    own = read_published(domain.out / "20240601T234000Z").attributes
    assert (own.model_version, own.fallback, own.missing_frames) == ("7", None, [])

    latest = read_latest(domain.out)
    described = describe(published)
    assert described["files"].pop("maps") == [] and len(latest["forecast"]["files"].pop("maps")) == 4  # left out here
    assert (described.pop("license"), described.pop("attribution")) == ("none", "none")  # not kept then
    assert described == latest["forecast"]
    update_latest(domain, alarms={"stale-input": "old"})
    assert [one["kind"] for one in read_latest(domain.out)["alarms"]] == ["fallback", "stale-input"]

    before = ledger_file(domain.out, FIRST).read_bytes()
    assert list(close_cycles(domain, LiveStore.of(domain).open(), [0.5], LATER, [])) == [(SECOND, 0)]
    ledger = read_ledger(domain.out)
    assert ledger_file(domain.out, FIRST).read_bytes() == before
    assert ledger.groupby("reference_time")["model_version"].unique().map(list).tolist() == [["7"], ["none"]]
    assert ledger.groupby("reference_time")["fallback"].unique().map(list).tolist() == [[False], [True]]
    old, new = (pd.read_parquet(ledger_file(domain.out, time)) for time in (FIRST, SECOND))
    assert old.dtypes.equals(new.dtypes)


def test_scs_skill_shows_an_earlier_ledger(domain: Domain, tmp_path: Path) -> None:
    write_params(tmp_path, {"here": {"out": "out"}})
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "skill", "here"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "| radar-nowcast | 7 | extrapolation | issued | 1 |" in shown and "| 23:50 |" in shown


@pytest.mark.parametrize(
    ("version", "words"),
    [(2, "it is of format 2, and this scs-nowcast knows up to 1"), ("x", "'x', which is no version")],
)
def test_what_a_newer_version_has_written_is_refused_in_words(domain: Domain, version: object, words: str) -> None:
    live = LiveStore.of(domain)
    live.append([FRAMES[7]])
    assert live.open().attrs["scs_format_version"] == 1
    session = live._repository(create=False).writable_session("main")
    zarr.open_group(session.store).attrs["scs_format_version"] = version
    session.commit("by a newer version")
    for use in (live.open, lambda: live.append([FRAMES[7]]), lambda: live.expire([], datetime.now(UTC))):
        with pytest.raises(UserError, match=f"{domain.store}: .*{words}"):
            use()

    path = ledger_file(domain.out, FIRST)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, "scs_format_version": str(version)}), path)
    with pytest.raises(UserError, match=f"{path}: .*{words}"):
        read_ledger(domain.out)
    assert read_ledger(domain.out, since=LATER).empty, "other days are read"
