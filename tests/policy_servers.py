"""Servers that keep files for a test: one that knows GET and PUT, one that speaks the Hugging Face hub's protocol."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class FileServer(ThreadingHTTPServer):
    """Files by path.

    Attributes:
      files: content by path, without the slash in front.
      authorizations: of all requests.
    """

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.files: dict[str, bytes] = {}
        self.authorizations: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def log_message(self, *_: Any) -> None:
        pass

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            content = b""
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    @property
    def place(self) -> str:
        self.server.authorizations.append(self.headers.get("Authorization"))
        return unquote(urlsplit(self.path).path).lstrip("/")


class Plain(_Handler):
    """GET and PUT."""

    def do_GET(self) -> None:
        found = self.server.files.get(self.place)
        self.answer(404) if found is None else self.answer(200, found)

    def do_PUT(self) -> None:
        path, content = self.place, self.body()
        if self.headers.get("If-None-Match") == "*" and path in self.server.files:
            return self.answer(412)
        self.server.files[path] = content
        return self.answer(201)


class HubLike(_Handler):
    """As much of the hub's protocol as one repository of small files needs; written after what the library asks."""

    def do_POST(self) -> None:
        path, content = self.place, self.body()
        if "/nobody/" in path:
            return self.answer(404, headers={"X-Error-Code": "RepoNotFound"})
        if path == "api/repos/create":
            return self.tell({"url": f"{self.server.url}/a/b"})
        if "/preupload/" in path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(content)["files"]
            ]
            return self.tell({"files": files})
        if "/commit/" in path:
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.tell({"commitUrl": f"{self.server.url}/a/b/commit/{'0' * 40}", "commitOid": "0" * 40})
        if "/paths-info/" in path:
            asked = parse_qs(content.decode())["paths"]
            found = [
                {"type": "file", "path": p, "size": len(self.server.files[p]), "oid": "0" * 40}
                for p in asked
                if p in self.server.files
            ]
            return self.tell(found)
        return self.answer(404)

    def do_GET(self) -> None:
        path = self.place
        if "/resolve/" not in path:
            return self.answer(404)
        name = path.split("/resolve/")[1].split("/", 1)[1]
        found = self.server.files.get(name)
        if found is None:
            return self.answer(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": "0" * 40})
        etag = hashlib.sha256(found).hexdigest()
        return self.answer(200, found, {"ETag": f'"{etag}"', "X-Repo-Commit": "0" * 40})

    do_HEAD = do_GET

    def tell(self, content: Any) -> None:
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})


@contextmanager
def serving(handler: type[_Handler]) -> Iterator[FileServer]:
    """A server on this machine, on a free port."""
    server = FileServer(handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
