"""A web server of this machine with files in memory, ranges, and the faults that a test gives it."""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, and what was asked for.

    ``faults`` of a path are used up one a request: a status; a status with headers; or a number of bytes after which
    the connection breaks off, with the file that then takes the old one's place, or None.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    faults: dict[str, list] = field(default_factory=lambda: defaultdict(list))
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    knows_if_range: bool = True

    def asked(self, path: str) -> list[dict[str, str]]:
        return [headers for one, headers in self.requests if one == path]


@contextmanager
def serve() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.requests.append((self.path, dict(self.headers)))
            fault = site.faults[self.path].pop(0) if site.faults[self.path] else None
            if isinstance(fault, int) and 100 <= fault < 600:
                fault = (fault, {})
            if isinstance(fault, tuple) and isinstance(fault[1], dict):
                return self.answer(fault[0], {**fault[1], "Content-Length": "0"}, b"")
            content = site.files.get(self.path)
            if content is None:
                return self.answer(404, {"Content-Length": "0"}, b"")
            etag = f'"{hashlib.md5(content).hexdigest()[:8]}"'
            headers = {"ETag": etag, **site.headers[self.path]}
            start = 0
            wanted = self.headers.get("Range")
            if wanted and (not site.knows_if_range or self.headers.get("If-Range") in (None, headers.get("ETag"))):
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            body = content[start:]
            headers["Content-Length"] = str(len(body))
            self.answer(206 if start else 200, headers, body if fault is None else body[: fault[0]])
            if fault is not None:
                self.close_connection = True
                if fault[1] is not None:
                    site.files[self.path] = fault[1]

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
