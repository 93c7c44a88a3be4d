"""Section fetch: where archives lie that ``scs fetch`` brings here."""

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field

from pipelines.common.limits import Limits
from pipelines.params.base import Positive, Section

# What signs a request or stands for a password in a query, whoever's service it is.
SECRET = re.compile(
    r"x-(amz|goog|ms)-.*|.*signature|.*token|.*secret.*|.*password|(.*[-_.])?(api|access|user)?key|sig|(aws)?access_?key_?id"
    r"|credential|app_?id|auth(orization)?|jwt|passwd|pwd",
    re.IGNORECASE,
)
FIELD = re.compile("%(.?)")
FIELDS = "YymdjHMS%"


def without_keys(url: str) -> str:
    """Return a URL as it is; a ValueError if a login, a key or a signature is in it."""
    for part in url.split("::"):
        parts = urlsplit(part)
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
        if "@" in parts.netloc or any(SECRET.fullmatch(name) for name in names):
            raise ValueError("a login, key or signature in a URL: keys come from the environment; see docs/data.md")
    return url


def _pattern(text: str) -> str:
    if wrong := [field for field in FIELD.findall(text) if not field or field not in FIELDS]:
        raise ValueError(f"%{wrong[0]}: a time is made of %{', %'.join(FIELDS[:-1])}, and %% is a percent sign")
    return text


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]
PatternURL = Annotated[Pattern, AfterValidator(without_keys)]


def _part_of_a_day(step_s: int) -> int:
    if 86_400 % step_s:
        raise ValueError("must divide a day, 86400; of a month's file say 86400, and it is asked for once")
    return step_s


Step = Annotated[Positive, AfterValidator(_part_of_a_day)]


class Fetch(Section):
    """An archive elsewhere. Patterns have UTC times in strftime's words: ``%Y/%m/%d/rain_%H%M.h5``."""

    url: PatternURL = Field(
        description="pattern of the files, * and [0-9] where names differ: https, s3, a folder, whatever fsspec "
        "knows; tar://MEMBERS::URL and zip://MEMBERS::URL for members of archive files"
    )
    step_s: Step | None = Field(
        default=None, description="seconds from one file, or member, to the next; 86400 for a month's file, too"
    )
    offset_s: int = Field(default=0, ge=0, description="seconds from 0 UTC to the first of a day, where not 0")
    name: Pattern | None = Field(default=None, description="pattern of the files' names here; null: the URL's")
    answer: str | None = Field(
        default=None, min_length=1, description="the URL answers in JSON, with the file's own address under this key"
    )
    checksums: PatternURL | None = Field(
        default=None, description="pattern of files that list hashes, as sha256sum writes them"
    )
    anonymous: bool = Field(default=False, description="S3 without keys")
    rate: float = Field(default=5.0, gt=0, le=1000, description="requests a second, at most")
    parallel: int = Field(default=4, ge=1, le=64, description="files at once")
    max_file_mb: Positive = Field(default=Limits.file_mb, description="a larger file or member is refused, MB")
    license: str | None = Field(default=None, min_length=1, description="SPDX expression of the files' licence")
    attribution: str | None = Field(default=None, min_length=1, description="what the licence wants said")
    source: str | None = Field(default=None, description="page that says all this")
