"""Files from a real web server that breaks off, is busy, and changes a file under way."""

import base64
import csv
import hashlib
import io
import logging
import resource
import tarfile
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from faulty_server import Site, serve

from pipelines.common.errors import UserError
from pipelines.fetch import http, transfer
from pipelines.fetch.archive import fetch
from pipelines.fetch.provider import Fetched
from pipelines.params.fetch import Fetch

BIG = bytes(range(256)) * 20_000  # 5 MB


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve; waits that the server doesn't ask for are short."""
    monkeypatch.setattr(transfer, "backoff", lambda tries, after: 0.01 if after is None else after)
    with serve() as served:
        yield served


def at(minutes: int) -> datetime:
    return datetime(2024, 6, 1, tzinfo=UTC) + timedelta(minutes=minutes)


def bring(site: Site, folder: Path, pattern: str = "/rain_%H%M.h5", minutes: int = 5, **changes: object) -> Fetched:
    settings = Fetch.model_validate({"url": pattern.replace("{site}", site.address), "step_s": 300} | changes)
    if "{site}" not in pattern:
        settings = settings.model_copy(update={"url": site.address + pattern})
    timed = "%" in settings.url
    return fetch("a-b", settings, folder, at(0) if timed else None, at(minutes) if timed else None)


def manifest(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / ".manifest.csv").read_text().splitlines()))


def assert_whole(folder: Path, content: bytes, name: str = "rain_0000.h5") -> None:
    assert (folder / name).read_bytes() == content
    (row,) = (row for row in manifest(folder) if row["file"] == name)
    assert (row["bytes"], row["sha256"]) == (str(len(content)), hashlib.sha256(content).hexdigest())
    assert not (folder / ".partial").exists()


def test_times_that_are_missing_are_listed_and_the_rest_is_there(site: Site, tmp_path: Path) -> None:
    site.files = {f"/rain_00{minute:02}.h5": f"{minute}".encode() for minute in (0, 5, 15)}
    fetched = bring(site, tmp_path, minutes=20)
    assert (fetched.files, fetched.failed) == (3, [])
    assert fetched.missing == [("2024-06-01T00:10:00Z", f"{site.address}/rain_0010.h5")]
    assert (tmp_path / ".missing.csv").read_text().splitlines()[1:] == [",".join(fetched.missing[0])]
    assert [row["file"] for row in manifest(tmp_path)] == ["rain_0000.h5", "rain_0005.h5", "rain_0015.h5"]
    site.files["/rain_0010.h5"] = b"late"
    site.requests.clear()
    again = bring(site, tmp_path, minutes=20)
    assert (again.files, again.here, again.missing) == (1, 3, [])
    assert [path for path, _ in site.requests] == ["/rain_0010.h5"]
    assert not (tmp_path / ".missing.csv").exists()


def test_what_broke_off_goes_on_there(site: Site, tmp_path: Path) -> None:
    site.files["/rain_0000.h5"] = BIG
    site.faults["/rain_0000.h5"] = [(1_500_000, None), (2_000_000, None)]
    assert bring(site, tmp_path).files == 1
    assert_whole(tmp_path, BIG)
    first, second, third = site.asked("/rain_0000.h5")
    assert "Range" not in first
    assert second["Range"] == "bytes=1500000-" and third["Range"] == "bytes=3500000-"
    assert second["If-Range"] == f'"{hashlib.md5(BIG).hexdigest()[:8]}"'


def test_what_was_killed_goes_on_in_the_next_fetch(site: Site, tmp_path: Path) -> None:
    site.files["/rain_0000.h5"] = BIG
    site.faults["/rain_0000.h5"] = [(1_500_000, None), *[503] * 5]
    broken = bring(site, tmp_path)
    assert broken.failed == [f"{site.address}/rain_0000.h5: HTTP 503"] and broken.passing
    assert not (tmp_path / "rain_0000.h5").exists() and manifest(tmp_path) == []
    assert bring(site, tmp_path).files == 1
    assert_whole(tmp_path, BIG)
    assert site.asked("/rain_0000.h5")[-1]["Range"] == "bytes=1500000-"


@pytest.mark.parametrize("knows_if_range", [False, True])
@pytest.mark.parametrize("between", [False, True])
def test_a_file_that_changes_under_way_comes_anew(
    site: Site, tmp_path: Path, between: bool, knows_if_range: bool
) -> None:
    """Within one fetch, and between one that was cut off and the next; of the same length."""
    other, site.knows_if_range = BIG[::-1], knows_if_range
    site.files["/rain_0000.h5"] = BIG
    site.faults["/rain_0000.h5"] = [(1_500_000, other), *[503] * 5 * between]
    assert bring(site, tmp_path).files == (not between)
    if between:
        bring(site, tmp_path)
    assert_whole(tmp_path, other)


def test_without_etag_and_date_no_part_is_kept(site: Site, tmp_path: Path) -> None:
    site.files["/rain_0000.h5"] = BIG
    site.headers["/rain_0000.h5"] = {"ETag": 'W/"weak"'}
    site.faults["/rain_0000.h5"] = [(1_500_000, BIG[::-1])]
    bring(site, tmp_path)
    assert_whole(tmp_path, BIG[::-1])
    assert all("Range" not in headers for headers in site.asked("/rain_0000.h5"))


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_a_provider_that_is_busy_is_left_alone_as_long_as_it_says(
    site: Site, tmp_path: Path, status: int, kind: str
) -> None:
    site.files["/rain_0000.h5"] = b"x"
    until = datetime.now(UTC) + timedelta(seconds=2)
    site.faults["/rain_0000.h5"] = [(status, {"Retry-After": "1" if kind == "seconds" else format_datetime(until)})]
    started = time.monotonic()
    assert bring(site, tmp_path).files == 1
    assert 0.9 < time.monotonic() - started < 3


def test_one_that_says_tomorrow_is_not_waited_for(site: Site, tmp_path: Path) -> None:
    site.faults["/rain_0000.h5"] = [(429, {"Retry-After": "86400"})]
    fetched = bring(site, tmp_path)
    assert fetched.failed == [f"{site.address}/rain_0000.h5: HTTP 429; again in 86400 s, it says"] and fetched.passing
    assert len(site.requests) == 1


def test_one_that_breaks_off_here_and_there_is_given_up(site: Site, tmp_path: Path) -> None:
    """Later than the last time, but never later than before: without an ETag no part is kept."""
    site.files["/rain_0000.h5"] = BIG
    site.headers["/rain_0000.h5"] = {"ETag": 'W/"weak"'}
    site.faults["/rain_0000.h5"] = [(2_000_000 if number % 2 else 1_000_000, None) for number in range(30)]
    assert bring(site, tmp_path).passing
    assert len(site.requests) < 10


@pytest.mark.parametrize(("status", "passing"), [(202, True), (304, False)])
def test_an_answer_without_the_file_is_no_file(site: Site, tmp_path: Path, status: int, passing: bool) -> None:
    site.faults["/rain_0000.h5"] = [status] * 6
    fetched = bring(site, tmp_path)
    assert f"HTTP {status}" in fetched.failed[0] and fetched.passing == passing and fetched.files == 0


def test_a_web_page_in_the_place_of_a_file_is_none(site: Site, tmp_path: Path) -> None:
    """A server at work answers all with one, and 200; some call whatever they have a page."""
    site.files["/rain_0000.h5"] = b"\n<!doctype html><p>We are back in an hour"
    site.headers["/rain_0000.h5"]["Content-Type"] = "text/html; charset=utf-8"
    assert bring(site, tmp_path).failed == [f"{site.address}/rain_0000.h5: a web page, no file"]
    assert not (tmp_path / "rain_0000.h5").exists() and manifest(tmp_path) == []
    site.files["/rain_0000.h5"] = BIG
    assert bring(site, tmp_path).files == 1
    assert_whole(tmp_path, BIG)


def test_no_content_is_a_missing_time(site: Site, tmp_path: Path) -> None:
    site.faults["/rain_0000.h5"] = [204]
    assert [time for time, _ in bring(site, tmp_path).missing] == ["2024-06-01T00:00:00Z"]


def test_an_etag_of_any_bytes_stays_readable(site: Site, tmp_path: Path) -> None:
    r"""Of ISO 8859-1, with what Python takes for the end of a line."""
    site.files["/rain_0000.h5"] = BIG
    site.headers["/rain_0000.h5"] = {"ETag": '"\xe9\x85\x1c"'}
    site.faults["/rain_0000.h5"] = [(1_500_000, None)]
    assert bring(site, tmp_path).files == 1 and bring(site, tmp_path).here == 1
    assert_whole(tmp_path, BIG)


def test_a_file_of_no_bytes_is_asked_for_again(site: Site, tmp_path: Path) -> None:
    site.files["/rain_0000.h5"] = b""
    bring(site, tmp_path)
    site.files["/rain_0000.h5"] = b"written"
    assert bring(site, tmp_path).files == 1
    assert_whole(tmp_path, b"written")


def test_a_digest_in_another_code_is_none(site: Site, tmp_path: Path) -> None:
    """Content-MD5 in hex digits, which are base64 of something else."""
    site.files["/rain_0000.h5"] = b"x"
    site.headers["/rain_0000.h5"]["Content-MD5"] = hashlib.md5(b"x").hexdigest()
    assert bring(site, tmp_path).files == 1


def test_no_more_requests_a_second_than_allowed(site: Site, tmp_path: Path) -> None:
    site.files = {f"/rain_00{minute:02}.h5": b"x" for minute in range(0, 60, 5)}
    started = time.monotonic()
    assert bring(site, tmp_path, minutes=60, rate=20.0, parallel=8).files == 12
    assert time.monotonic() - started >= 11 / 20


def test_where_all_fails_the_rest_isnt_asked_for(site: Site, tmp_path: Path) -> None:
    for minute in range(24 * 60):
        site.faults[f"/rain_{minute // 60:02}{minute % 60:02}.h5"] = [403]
    with pytest.raises(UserError, match=r"files failed, so the rest isn't asked for: .*HTTP 403"):
        bring(site, tmp_path, minutes=24 * 60, rate=1000.0, step_s=60)
    assert len(site.requests) < 60


@pytest.mark.parametrize("where", ["table", "Repr-Digest", "Content-MD5"])
def test_another_hash_than_was_told_is_no_file(site: Site, tmp_path: Path, where: str) -> None:
    site.files["/rain_0000.h5"] = b"as it is"
    sha256, md5 = hashlib.sha256(b"as it was").digest(), hashlib.md5(b"as it was").digest()
    site.files["/SHA256SUMS"] = f"{sha256.hex()}  ./rain_0000.h5\n".encode() if where == "table" else b""
    if where == "Repr-Digest":
        site.headers["/rain_0000.h5"]["Repr-Digest"] = f"sha-256=:{base64.b64encode(sha256).decode()}:"
    if where == "Content-MD5":
        site.headers["/rain_0000.h5"]["Content-MD5"] = base64.b64encode(md5).decode()
    fetched = bring(site, tmp_path, checksums=f"{site.address}/SHA256SUMS")
    (failed,) = fetched.failed
    wanted = md5.hex() if where == "Content-MD5" else sha256.hex()
    assert f"not {wanted[:12]}… as was said" in failed
    assert not (tmp_path / "rain_0000.h5").exists()
    site.files["/rain_0000.h5"] = b"as it was"
    came = bring(site, tmp_path, checksums=f"{site.address}/SHA256SUMS")
    assert (came.files, came.unlisted) == (1, where != "table")


def test_a_listing_gives_the_names_and_never_one_outside(site: Site, tmp_path: Path) -> None:
    links = ["rain_0001.h5", "rain_0002%20b.h5", "rain_0003.h5?sig=secret", "other.h5", "../rain_0004.h5", "/rain_5.h5"]
    links += ["http://elsewhere.example/rain_0006.h5", "rain_%2e%2e%2frain_7.h5", "rain_%0a8.h5", "sub/rain_9.h5"]
    site.files = {"/d/01/": "".join(f'<a href="{link}">x</a>' for link in links).encode()}
    site.files |= {"/d/01/rain_0001.h5": b"1", "/d/01/rain_0002%20b.h5": b"2", "/d/01/rain_0003.h5": b"3"}
    fetched = bring(site, tmp_path / "in", "/d/%d/rain_*.h5")
    assert fetched.files == 3 and len(fetched.failed) == 1 and "no name for a file here" in fetched.failed[0]
    assert {path.name for path in tmp_path.rglob("*.h5")} == {"rain_0001.h5", "rain_0002 b.h5", "rain_0003.h5"}
    assert "secret" not in (tmp_path / "in/.manifest.csv").read_text()
    assert bring(site, tmp_path / "in", "/d/%d/none_*.h5").missing[0][0] == "2024-06-01T00:00:00Z"


def test_a_listing_may_be_at_an_address_of_its_own(site: Site, tmp_path: Path) -> None:
    site.faults["/d/01/"] = [(302, {"Location": "index.html?sort=name"})]
    site.files = {"/d/01/index.html?sort=name": b'<a href="rain_1.h5"><a href="?sort=size">', "/d/01/rain_1.h5": b"1"}
    assert bring(site, tmp_path, "/d/%d/rain_*.h5").files == 1


def test_a_file_that_fits_two_times_comes_once(site: Site, tmp_path: Path) -> None:
    """Its name has its start and its end."""
    site.files = {"/d/": b'<a href="r_0000_0005.h5">', "/d/r_0000_0005.h5": BIG}
    for _ in range(2):
        fetched = bring(site, tmp_path, "/d/r_*%H%M*.h5", minutes=10)
        assert fetched.files + fetched.here == 1
    assert len(site.asked("/d/r_0000_0005.h5")) == 1
    assert_whole(tmp_path, BIG, "r_0000_0005.h5")


def tar(members: dict[str, bytes | str]) -> bytes:
    """A gzipped tar of files, and of links for members that are text."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def test_members_of_a_tar_and_the_times_that_it_lacks(site: Site, tmp_path: Path) -> None:
    site.files["/day_20240601.tar.gz"] = tar({f"x/m_{minute:04}.h5": b"%d" % minute for minute in (0, 5, 15, 600)})
    pattern = "tar://m_%H%M.h5::{site}/day_%Y%m%d.tar.gz"
    fetched = bring(site, tmp_path, pattern, minutes=20)
    assert fetched.files == 3 and [time for time, _ in fetched.missing] == ["2024-06-01T00:10:00Z"]
    assert (tmp_path / "day_20240601.tar.gz/x/m_0005.h5").read_bytes() == b"5"
    assert not (tmp_path / "day_20240601.tar.gz/x/m_0600.h5").exists()
    requests = len(site.requests)
    assert bring(site, tmp_path, pattern, minutes=10).here == 2 and len(site.requests) == requests
    assert bring(site, tmp_path, pattern, minutes=20).missing == fetched.missing  # it may have been filled since
    site.files.clear()
    assert len(bring(site, tmp_path / "none", pattern, minutes=20).missing) == 4


def test_members_that_are_named_twice_or_with_a_dot_or_as_a_folder(site: Site, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in [("./x/a.h5", b"old"), ("x/a.h5", b"new"), ("x/b.h5", b"b"), ("x/b.h5/c.h5", b"c")]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    site.files["/all.tar"] = packed.getvalue()
    fetched = bring(site, tmp_path, "tar://x/*.h5::{site}/all.tar")
    assert fetched.failed == [f"{site.address}/all.tar: x/b.h5/c.h5: a file has the name of its folder"]
    found = {row["file"]: (tmp_path / row["file"]).read_bytes() for row in manifest(tmp_path)}
    assert found == {"all.tar/x/a.h5": b"new", "all.tar/x/b.h5": b"b"}
    assert bring(site, tmp_path / "only", "tar://x/a.h5::{site}/all.tar").files == 1


def test_a_member_that_was_lost_here_comes_again(site: Site, tmp_path: Path) -> None:
    site.files["/all.tar"] = tar({"a.h5": b"a", "b.h5": b"b"})
    bring(site, tmp_path, "tar://*.h5::{site}/all.tar")
    (tmp_path / "all.tar/b.h5").unlink()
    assert bring(site, tmp_path, "tar://*.h5::{site}/all.tar").files == 2
    assert (tmp_path / "all.tar/b.h5").read_bytes() == b"b"
    assert bring(site, tmp_path, "tar://*.h5::{site}/all.tar").here == 2
    assert bring(site, tmp_path, "tar://*.h5::{site}/all.tar", name="new").files == 2


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_no_member_leaves_the_folder(site: Site, tmp_path: Path, kind: str) -> None:
    hostile = ["../out.h5", "/tmp/out-of-folder.h5", "a/../../out.h5", "..\\out.h5", ".hidden.h5", "a\nb.h5", "-rf.h5"]
    members: dict[str, bytes | str] = dict.fromkeys(hostile, b"bad")
    members["good.h5"] = b"good"
    members |= {f"._{number}.h5": b"of macOS" for number in range(30)}
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        members |= {"link.h5": "../../etc", "link.h5/in.txt": b"bad"}
        packed.write(tar(members))
    site.files["/all"] = packed.getvalue()
    fetched = bring(site, tmp_path / "a/b", kind + "://*.h5::{site}/all")
    assert len(fetched.failed) == len(hostile) - 1 + (kind == "tar")  # what is hidden isn't meant by *
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.h5")}
    assert found == {"a/b/all/good.h5"}
    assert not Path("/tmp/out-of-folder.h5").exists()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_what_is_no_archive_or_swells_is_refused(site: Site, tmp_path: Path, kind: str) -> None:
    site.files["/all"] = b"<html>"
    (failed,) = bring(site, tmp_path, kind + "://*::{site}/all").failed
    assert f"broken {kind}" in failed
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.h5", bytes(2 << 20))
    site.files["/all"] = packed.getvalue() if kind == "zip" else tar({"bomb.h5": bytes(2 << 20)})
    (failed,) = bring(site, tmp_path, kind + "://*::{site}/all", max_file_mb=1).failed
    assert failed.endswith("bomb.h5: more than max_file_mb, 1 MB")
    assert not list(tmp_path.rglob("bomb.h5"))


def test_a_link_in_the_folder_leads_nowhere(site: Site, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in/2024").symlink_to(tmp_path / "out")
    site.files["/2024/rain.h5"] = b"x"
    (failed,) = bring(site, tmp_path / "in", "/%Y/rain.h5").failed
    assert failed.endswith("leads out of the folder") and not list((tmp_path / "out").iterdir())


def test_a_file_that_is_too_large_is_refused(site: Site, tmp_path: Path) -> None:
    site.files["/rain_0000.h5"] = BIG
    (failed,) = bring(site, tmp_path, max_file_mb=4).failed
    assert failed.endswith("5 MB, more than max_file_mb") and not (tmp_path / "rain_0000.h5").exists()


def test_an_answer_with_the_file_s_own_address(
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As KNMI's: the key goes to the first server alone, and the signed address is told nobody."""
    caplog.set_level(logging.DEBUG)  # as by scs --log debug
    monkeypatch.setenv("SCS_AUTHORIZATION_A_B", "the-key-1f0b")
    with serve() as store:
        site.files["/files/rain_0000.h5/url"] = f'{{"url": "{store.address}/x?X-Amz-Signature=5ec2e7"}}'.encode()
        store.files["/x?X-Amz-Signature=5ec2e7"] = BIG
        store.faults["/x?X-Amz-Signature=5ec2e7"] = [(1_000_000, None), *[500] * 5]
        pattern: dict[str, object] = {"answer": "url", "name": "rain_%H%M.h5"}
        fetched = bring(site, tmp_path, "/files/rain_%H%M.h5/url", **pattern)
        assert bring(site, tmp_path, "/files/rain_%H%M.h5/url", **pattern).files == 1
        assert {headers.get("Authorization") for _, headers in site.requests} == {"the-key-1f0b"}
        assert {headers.get("Authorization") for _, headers in store.requests} == {None}
    assert_whole(tmp_path, BIG)
    told = str(fetched.failed) + (tmp_path / ".manifest.csv").read_text() + "".join(capfd.readouterr())
    assert "the-key" not in told and "5ec2e7" not in told
    assert not [record for record in caplog.records if record.name.startswith(("http", "botocore", "aiobotocore"))]


@pytest.mark.parametrize("answer", [b"[" * 100_000, b"x" * 2000, b'{"url": 1}'])
def test_an_answer_that_is_none_is_a_failure(
    site: Site, tmp_path: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MOST_TEXT", 200_000 if answer.startswith(b"[") else 1000)
    site.files["/files/rain_0000.h5/url"] = answer
    fetched = bring(site, tmp_path, "/files/rain_%H%M.h5/url", answer="url", name="rain_%H%M.h5")
    assert len(fetched.failed) == 1 and fetched.files == 0


def test_a_key_isnt_sent_without_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCS_AUTHORIZATION_A_B", "the-key-1f0b")
    with pytest.raises(UserError, match="isn't sent without TLS"):
        fetch("a-b", Fetch(url="http://provider.invalid/x.h5"), tmp_path)


def test_a_second_fetch_of_a_folder_is_refused_and_a_torn_manifest_is_mended(site: Site, tmp_path: Path) -> None:
    site.files = {"/rain_0000.h5": b"x", "/rain_0005.h5": b"y"}
    bring(site, tmp_path, minutes=10)
    table = tmp_path / ".manifest.csv"
    whole = table.read_bytes()
    table.write_bytes(whole[:-10])  # the second row of a fetch that was killed
    again = bring(site, tmp_path, minutes=10)
    assert (again.files, again.here) == (1, 1) and table.read_bytes() == whole
    table.write_text("file,bytes\na,b\n")
    with pytest.raises(UserError, match="not a manifest"):
        bring(site, tmp_path)


def test_what_the_disk_says_is_one_line(site: Site, tmp_path: Path) -> None:
    """A file-size limit, in the place of a full disk."""
    site.files["/rain_0000.h5"] = BIG
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(UserError, match="File too large"):
            bring(site, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "rain_0000.h5").exists() and bring(site, tmp_path).files == 1
    assert_whole(tmp_path, BIG)
