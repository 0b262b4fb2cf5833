"""A model hub on loopback with one data set, `owner/name`: what huggingface_hub asks of the real one, over HTTP."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

DATA_SET = "owner/name"
PAGE = 2  # entries of a page of a listing
ROUTE = re.compile(
    r"/(?:api/)?datasets/(?P<name>[^/]+/[^/]+)"
    r"(?:/(?P<what>revision|tree|paths-info|resolve)/(?P<revision>[^/]+)(?:/(?P<path>.*))?)?"
)


class Hub(ThreadingHTTPServer):
    """`commits` by their ids, each the files by path; `refs` are the names of some of them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits: dict[str, dict[str, bytes]] = {}
        self.refs: dict[str, str] = {}
        self.failures: list[int] = []  # statuses of the next replies
        self.is_gated = False
        self.knows_ranges = True
        self.requests: list[str] = []
        self.sent_bytes = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def push(self, files: dict[str, bytes], ref: str = "main") -> str:
        commit = hashlib.sha1(json.dumps({path: data.hex() for path, data in files.items()}).encode()).hexdigest()
        self.commits[commit], self.refs[ref] = files, commit
        return commit


@contextmanager
def running_hub() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, form: dict[str, list[str]]) -> None:
        hub, url = self.server, urlsplit(self.path)
        hub.requests.append(url.path)
        route = ROUTE.fullmatch(url.path)
        if hub.failures:
            return self._send(hub.failures.pop(0))
        if route is None or route["name"] != DATA_SET:
            return self._send(401, code="RepoNotFound")
        revision = unquote(route["revision"] or "main")
        commit = hub.refs.get(revision, revision)
        if commit not in hub.commits:
            return self._send(404, code="RevisionNotFound")
        files, path = hub.commits[commit], unquote(route["path"] or "")
        match route["what"]:
            case "tree":
                self._send_tree(files, path, url.query)
            case "paths-info":
                self._send_json(
                    [entry for wanted in form["paths"] for entry in _entries(files) if entry["path"] == wanted]
                )
            case "resolve":
                self._send_file(files, path)
            case _:
                self._send_json({"id": DATA_SET, "sha": commit})

    def _send_tree(self, files: dict[str, bytes], path: str, query: str) -> None:
        below = [entry for entry in _entries(files) if not path or entry["path"].startswith(f"{path}/")]
        if not below:
            return self._send(404, code="EntryNotFound")
        options = parse_qs(query)
        at = int(options.get("cursor", ["0"])[0])
        more = {}
        if at + PAGE < len(below):
            more["Link"] = (
                f'<{self.server.endpoint}{urlsplit(self.path).path}?recursive=true&cursor={at + PAGE}>; rel="next"'
            )
        self._send_json(below[at : at + PAGE], **more)

    def _send_file(self, files: dict[str, bytes], path: str) -> None:
        if self.server.is_gated:
            return self._send(403, code="GatedRepo")
        if path not in files:
            return self._send(404, code="EntryNotFound")
        data, wanted = files[path], re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted and self.server.knows_ranges:
            return self._send(206, data[int(wanted[1]) : int(wanted[2]) + 1])
        self._send(200, data)

    def _send_json(self, value: Any, **headers: str) -> None:
        self._send(200, json.dumps(value).encode(), **headers)

    def _send(self, status: int, data: bytes = b"", code: str = "", **headers: str) -> None:
        self.send_response(status)
        self.server.sent_bytes += len(data)
        for name, value in {"Content-Length": str(len(data)), "X-Error-Code": code, **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _entries(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """Files and folders, as the hub tells of them; a blob's id is git's."""
    folders = {path.rpartition("/")[0] for path in files} - {""}
    entries = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders]
    for path, data in files.items():
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entries.append({"type": "file", "path": path, "oid": blob, "size": len(data)})
    return sorted(entries, key=lambda entry: str(entry["path"]))
