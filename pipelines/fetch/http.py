"""Files of a web server: by httpx, since fsspec's own asks without If-Range and hides Retry-After."""

import base64
import binascii
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from itertools import chain
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from pipelines.common.errors import UserError
from pipelines.fetch.pace import Pace, parse_retry_after
from pipelines.fetch.remote import Absent, Changed, Opened, Part, Passing, Refused

TIMEOUT_S = 60.0
MOST_TEXT = 64 << 20  # bytes of a page that lists files, or answers with an address
HERE = ("127.0.0.1", "localhost", "::1")
PASSING = {408, 425, 429, 500, 502, 503, 504}

# They tell of URLs that an answer signed, of headers, and of what S3's keys signed: of no use to who looks for a fault.
for telltale in ("httpx", "httpcore", "botocore", "aiobotocore"):
    logging.getLogger(telltale).setLevel(logging.WARNING)


class Http:
    """A web server.

    Parameters
    ----------
    pace : Pace
        Waited for before each request.
    authorization : str, optional
        Sent as the header Authorization to the servers of the pattern alone, not to where they redirect.
    answer : str, optional
        Key of the JSON answer that has the file's own address.
    """

    def __init__(self, pace: Pace, authorization: str | None = None, answer: str | None = None) -> None:
        self.pace, self.answer = pace, answer
        self.authorization = authorization
        # identity: a length and a hash are of the file, not of what is packed on the way.
        headers = {"User-Agent": "scs-nowcast", "Accept-Encoding": "identity"}
        self.client = httpx.Client(headers=headers, timeout=TIMEOUT_S, follow_redirects=True)

    @contextmanager
    def open(self, url: str, part: Part | None) -> Iterator[Opened]:
        """Open a file, behind ``part`` where the server says that it is still the same; see `Remote`."""
        headers = {} if part is None else {"Range": f"bytes={part.bytes}-", "If-Range": part.version}
        address = self._own_address(url) if self.answer else url
        with self._get(address, headers, signed=self.answer is None) as response:
            if response.headers.get("Content-Encoding", "identity") != "identity" and not url.endswith(".gz"):
                raise Refused("the server packs it on the way, though asked not to")
            offset, size = 0, _number(response.headers.get("Content-Length"))
            if response.status_code == httpx.codes.PARTIAL_CONTENT:
                found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
                if found is None or part is None or (int(found[1]), int(found[2])) != (part.bytes, part.size):
                    raise Changed("another part of the file than was asked for")
                if _version(response.headers) not in ("", part.version):  # some servers don't know If-Range
                    raise Changed("changed since a part of it came")
                offset, size = part.bytes, part.size
            chunks = _chunks(response)
            if not offset and "html" in response.headers.get("Content-Type", ""):
                first = next(chunks, b"")
                if first.lstrip().startswith(b"<"):  # not of a server that calls all of its files so
                    raise Refused("a web page, no file")
                chunks = chain([first], chunks)
            yield Opened(offset, size, _version(response.headers), chunks, _hashes(response))

    def list(self, folder: str) -> dict[str, str]:
        """Return the files that a page links to, but those of other folders; see `Remote`."""
        with self._get(folder, {}) as response:
            links, base = _Links(), urljoin(str(response.url), ".")  # its folder, where it leads on to index.html
            links.feed(_text(response))
        found = {}
        for link in links.found:
            address = urljoin(base, urlsplit(link)._replace(query="", fragment="").geturl())
            name = unquote(address.removeprefix(base))
            if address.startswith(base) and name and "/" not in name:
                found[name] = address
        return found

    def _own_address(self, url: str) -> str:
        with self._get(url, {}) as response:
            try:
                address = json.loads(_text(response))[self.answer]
            except (ValueError, KeyError, TypeError, RecursionError):
                raise Passing(f"no {self.answer} in its answer") from None
        if not isinstance(address, str) or not address.startswith(("https://", "http://")):
            raise Refused(f"{self.answer} of its answer is no address")
        return address

    @contextmanager
    def _get(self, url: str, headers: dict[str, str], *, signed: bool = True) -> Iterator[httpx.Response]:
        if self.authorization and signed:
            parts = urlsplit(url)
            if parts.scheme != "https" and parts.hostname not in HERE:
                raise UserError(f"{url}: the authorization of the environment isn't sent without TLS")
            headers = headers | {"Authorization": self.authorization}
        self.pace.wait()
        try:
            with self.client.stream("GET", url, headers=headers) as response:
                if response.status_code in (204, 404, 410):  # 204: no content
                    raise Absent
                if response.status_code in PASSING:
                    after = parse_retry_after(response.headers.get("Retry-After"))
                    raise Passing(f"HTTP {response.status_code}", after)
                if response.status_code == 416:
                    raise Changed("shorter than the part of it that is here")
                if response.status_code == 202:
                    raise Passing("HTTP 202: not ready")
                if response.status_code not in (200, 206):
                    raise Refused(f"HTTP {response.status_code}")
                yield response
        except httpx.HTTPError as error:
            raise Passing(type(error).__name__) from None  # its text may have the address that an answer signed
        except httpx.InvalidURL:
            raise Refused("not a URL") from None


class _Links(HTMLParser):
    """The links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_raw()  # as they come: what broke off in a larger block would be lost
    except httpx.HTTPError as error:
        raise Passing(type(error).__name__) from None


def _text(response: httpx.Response) -> str:
    text = bytearray()
    for chunk in _chunks(response):
        text += chunk
        if len(text) > MOST_TEXT:
            raise Refused(f"a page of more than {MOST_TEXT >> 20} MB")
    return text.decode(errors="replace")


def _version(headers: httpx.Headers) -> str:
    """Return what If-Range takes: a strong ETag, else a date; empty for what can't be sent back."""
    etag = headers.get("ETag", "")
    version = headers.get("Last-Modified", "") if not etag or etag.startswith("W/") else etag
    return version if version.isascii() and version.isprintable() else ""


def _hashes(response: httpx.Response) -> dict[str, str]:
    """Return the hex digests of the whole file that an answer's headers have: RFC 9530, RFC 3230, S3's ETag."""
    headers, found = response.headers, {}
    for algorithm, digest in re.findall(
        r"(sha-256|sha-512|md5)=:?([\w+/]+=*)", f"{headers.get('Repr-Digest')},{headers.get('Digest')}", re.IGNORECASE
    ):
        found[algorithm.lower().replace("-", "")] = digest
    if (whole := headers.get("Content-MD5")) and response.status_code == httpx.codes.OK:
        found["md5"] = whole
    hexadecimal = {}
    for algorithm, digest in found.items():
        try:
            decoded = base64.b64decode(digest, validate=True)
        except binascii.Error:
            continue
        if len(decoded) == hashlib.new(algorithm, usedforsecurity=False).digest_size:  # some servers write hex
            hexadecimal[algorithm] = decoded.hex()
    if headers.get("Server") == "AmazonS3" and headers.get("x-amz-server-side-encryption", "AES256") == "AES256":
        hexadecimal |= s3_hash(headers.get("ETag", ""))
    return hexadecimal


def s3_hash(etag: str) -> dict[str, str]:
    """Return the MD5 that S3's ETag is of what was uploaded in one part, without a key of its own."""
    found = re.fullmatch(r'"?([0-9a-f]{32})"?', etag)
    return {"md5": found[1]} if found else {}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
