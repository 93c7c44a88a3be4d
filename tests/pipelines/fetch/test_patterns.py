"""Which files a pattern means, and under which names they come."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.common.errors import UserError
from pipelines.fetch.archive import fetch
from pipelines.fetch.patterns import Wanted, expand, parse_time, safe_path
from pipelines.fetch.presets import PRESETS
from pipelines.fetch.provider import authorization
from pipelines.params.fetch import Fetch

DAY = datetime(2024, 2, 29, tzinfo=UTC)


def urls(start: datetime, end: datetime, **settings: object) -> list[str]:
    return [one.url for one in expand(Fetch.model_validate(settings), start, end)]


def test_times_lie_on_the_archive_s_clock() -> None:
    """2024 has a 29 February, its 60th day; from 12:02 on the next of five minutes is 12:05."""
    start, end = DAY.replace(hour=12, minute=2), DAY.replace(hour=12, minute=15)
    assert urls(start, end, url="s3://b/%Y/%j/%y%m%d-%H%M%S", step_s=300) == [
        "s3://b/2024/060/240229-120500",
        "s3://b/2024/060/240229-121000",
    ]
    assert urls(start, end, url="/d/%H%M", step_s=3600, offset_s=0) == []
    assert urls(start, DAY.replace(hour=14), url="/d/%H%M", step_s=3600, offset_s=3000) == ["/d/1250", "/d/1350"]


def test_a_day_that_reaches_into_the_range_is_wanted_and_a_month_once() -> None:
    noon = DAY.replace(hour=12)
    assert urls(noon, datetime(2024, 3, 2, tzinfo=UTC), url="/d/%m%d.tar", step_s=86_400) == [
        "/d/0229.tar",
        "/d/0301.tar",
    ]
    assert urls(noon, datetime(2024, 4, 2, tzinfo=UTC), url="/d/%Y%m.tar", step_s=86_400) == [
        "/d/202402.tar",
        "/d/202403.tar",
        "/d/202404.tar",
    ]


def test_members_are_of_their_archive_file_with_their_times() -> None:
    settings = Fetch(url="zip://%H/*_%M.h5::https://h/a/%Y/%m%d.zip", step_s=1800)
    before = datetime(2024, 2, 28, 23, 30, tzinfo=UTC)
    first, second = expand(settings, before, DAY.replace(minute=45))
    assert first == Wanted("https://h/a/2024/0228.zip", "2024/0228.zip", ("23/*_30.h5",), (before,), None)
    assert (second.members, second.times) == (("00/*_00.h5", "00/*_30.h5"), (DAY, DAY.replace(minute=30)))


def test_names_here_begin_where_the_url_differs() -> None:
    def name(url: str, **more: object) -> str:
        (one,) = expand(Fetch.model_validate({"url": url, "step_s": 86_400, **more}), DAY, DAY.replace(hour=1))
        return one.name

    assert name("https://h/a/b/%Y/c/%m%d.h5") == "2024/c/0229.h5"
    assert name("https://h/a%%20b/%d.h5") == "29.h5"
    assert name("https://h/get?time=%Y%m%d", name="%Y/rain_%m%d.h5") == "2024/rain_0229.h5"
    assert name("https://h/get?time=%Y%m%d%H%M", name="rain_%y%j.h5") == "rain_24060.h5"  # hours are the same


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"url": "/d/%H.h5"}, "step_s"),
        ({"url": "/d/x.h5", "step_s": 300}, "no time in it"),
        ({"url": "/*/%H.h5", "step_s": 300}, r"\* and \[ \] can stand in a file's name alone"),
        ({"url": "tar://x.h5", "step_s": 300}, "which archive file"),
        ({"url": "gzip://x.h5::/d/%H.gz", "step_s": 300}, "only tar://"),
        ({"url": "nosuch://x/%H.h5", "step_s": 300}, "nosuch"),
        ({"url": "/d/%Y%m%d%H%M.h5", "step_s": 300, "name": "%H%M.h5"}, "name: lacks %Y, %d, %m of"),
        ({"url": "/d/%Y%j/r_%H%M*.h5", "step_s": 300, "name": "%Y%m%d%H%M.h5"}, "name: lacks %Y, %d, %m of"),
    ],
)
def test_a_pattern_that_means_nothing_is_one_line(settings: dict, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=reason) as refused:
        fetch("x", Fetch.model_validate(settings), tmp_path, DAY, DAY.replace(hour=1))
    assert "\n" not in str(refused.value)


def test_a_range_is_given_and_runs_forward(tmp_path: Path) -> None:
    settings = Fetch(url="/d/%H.h5", step_s=300)
    with pytest.raises(UserError, match="from when to when"):
        fetch("x", settings, tmp_path)
    with pytest.raises(UserError, match="is not before --to"):
        fetch("x", settings, tmp_path, DAY, DAY)
    with pytest.raises(UserError, match="--to: 'soon' is no time"):
        parse_time("soon", "--to")
    for year in ("0001-01-01T00:00+02:00", "9999-12-31"):
        with pytest.raises(UserError, match=r"--to: .* is no "):
            parse_time(year, "--to")
    assert parse_time("2024-02-29T02:00+02:00", "--from") == DAY == parse_time("2024-02-29", "--from")


@pytest.mark.parametrize(
    "url",
    [
        "https://user:word@h/x",
        "s3://AKIA:secret@bucket/x",
        "tar://x::https://token@h/x.tar",
        "https://h/x?X-Amz-Signature=1",
        "https://h/x?a=1&sig=1",
        "https://h/x?apikey=1",
        "https://h/x?fmi-api-key=1",
        "https://h/x?access_token=",
        "https://h/x?AWSAccessKeyId=1",
        "https://h/x?accesskey=1",
        "https://h/x?APPID=1",
        "https://h/x?auth=1",
    ],
)
@pytest.mark.parametrize("key", ["url", "checksums"])
def test_a_key_in_a_url_is_refused_and_not_shown(url: str, key: str) -> None:
    with pytest.raises(ValidationError, match="keys come from the environment"):
        Fetch.model_validate({"url": "/d/x", key: url})


@pytest.mark.parametrize("url", ["https://h/x?monkey=1&station=2", "https://h/a@b/x", "s3://bucket/key=1/x"])
def test_what_is_no_key_is_taken(url: str) -> None:
    assert Fetch(url=url).url == url


@pytest.mark.parametrize("step_s", [30 * 86_400, 7 * 60])
def test_a_step_that_leaves_out_a_month_or_shifts_with_the_range_is_refused(step_s: int) -> None:
    """30 days from 1 January: 31 January, 1 March; 7 minutes: other minutes on each day."""
    with pytest.raises(ValidationError, match="must divide a day"):
        Fetch(url="/d/%Y%m.tar", step_s=step_s)


@pytest.mark.parametrize("url", ["/d/%Q.h5", "/d/100%", "/d/a%20b.h5"])
def test_a_field_that_is_no_time_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="a time is made of"):
        Fetch(url=url)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/x", "a/../b", "a/./.b", ".x", "a\\b", "a\tb", "a" * 201, "=1+1", "-x"]
)
def test_a_name_that_leads_out_or_harms_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"folder|hidden|no name|spreadsheet"):
        safe_path(name)


def test_presets_say_where_what_and_under_which_licence() -> None:
    """Their first files of a day, as the providers' and others' pages have such names."""
    first = {
        name: next(iter(expand(settings, DAY.replace(hour=1), DAY.replace(hour=2))))
        for name, settings in PRESETS.items()
    }
    assert first["dwd-radolan-rw"].members == ("raa01-rw_10000-2402290150-dwd---bin*",)
    assert first["dwd-radolan-rw"].url.endswith("/historical/bin/2024/RW202402.tar.gz")
    assert first["dwd-radklim-yw"].url.endswith("/bin/2024/YW2017.002_202402.tar")
    assert first["knmi-rtcor"].url.endswith("/files/RAD_NL25_RAC_RT_202402290100.h5/url")
    assert first["knmi-rtcor"].name == "RAD_NL25_RAC_RT_202402290100.h5"
    assert first["fmi-dbz"].name == "2024/02/29/FIN-DBZ-3067-250M/202402290100_FIN-DBZ-3067-250M.tif"
    assert first["noaa-mrms-preciprate"].url.endswith("/20240229/MRMS_PrecipRate_00.00_20240229-0100*.grib2.gz")
    assert all(one.license and one.attribution and one.source for one in PRESETS.values())


def test_each_archive_has_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCS_AUTHORIZATION_KNMI_RTCOR", "k\n")
    assert authorization("knmi-rtcor") == "k" and authorization("knmi") is None
