"""Where policies lie: a folder, or whatever answers GET and PUT. What is there is trusted by nobody."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from robot_dreamer.durable import replace_file

TIMEOUT = 30.0  # seconds without a byte
TOKEN = (
    "ROBOT_DREAMER_TOKEN"  # environment variable: sent as bearer token to an HTTP place, never to where it redirects
)
_HUB = "hf://"


class PlaceError(ValueError):
    """A place cannot be reached, or refuses; the message names it, what was asked and what it said."""


class NotThere(PlaceError):
    """A place has no such file."""


class NoPlace(NotThere):
    """There is no such place, as far as this asker may see; the first push may make it."""


class Place(Protocol):
    """Files by relative path, slashes between names."""

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file to read from its beginning. Raises NoPlace, NotThere, PlaceError."""

    def put(self, new: Mapping[str, Path | bytes], replaced: Mapping[str, bytes]) -> None:
        """Write files in this order; those of `new` must not be there yet. Raises PlaceError."""


def place_of(address: str) -> Place:
    """hf://owner/name, http(s)://…, or a folder. Raises PlaceError for another scheme."""
    if address.startswith(_HUB):
        from robot_dreamer.policies.hub import Hub

        return Hub(address.removeprefix(_HUB))
    scheme, separator, _ = address.partition("://")
    if scheme in ("http", "https"):
        return Http(address)
    if separator:
        raise PlaceError(f"{address}: expected a folder, http://…, https://… or hf://owner/name")
    return Folder(Path(address).expanduser())


class Folder:
    """A folder, which may be a mounted one."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """A file there."""
        try:
            file = (self._root / path).open("rb")
        except FileNotFoundError as error:
            if not self._root.is_dir():
                raise NoPlace(f"{self._root}: there is no such folder") from error
            raise NotThere(f"{self._root / path} is not there") from error
        with file:
            yield file

    def put(self, new: Mapping[str, Path | bytes], replaced: Mapping[str, bytes]) -> None:
        """Each file all or nothing; a new one is linked to its name, which fails where the name is taken."""
        for path, content in {**new, **replaced}.items():
            file = self._root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            data = content.read_bytes() if isinstance(content, Path) else content
            if path in replaced:
                replace_file(file, data)
                continue
            whole = file.with_name(f".{file.name}.{os.getpid()}.new")
            try:
                replace_file(whole, data)
                _name(whole, file)
            except FileExistsError as error:
                raise PlaceError(
                    f"{file} is there already: somebody has pushed at the same time; push again"
                ) from error
            finally:
                whole.unlink(missing_ok=True)


def _name(whole: Path, file: Path) -> None:
    """Give a file its name. Raises FileExistsError where that is taken."""
    try:
        os.link(whole, file)
    except FileExistsError:
        raise
    except OSError:  # of a folder without hard links: the name is taken first, then the file moved to it
        file.open("xb").close()
        whole.replace(file)


class Http:
    """A server that answers GET and PUT below an address, as WebDAV servers and object stores do."""

    def __init__(self, address: str) -> None:
        self._root = address.rstrip("/")

    def __str__(self) -> str:
        return self._root

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """The answer to a GET."""
        with self._ask("GET", path) as response:
            yield response

    def put(self, new: Mapping[str, Path | bytes], replaced: Mapping[str, bytes]) -> None:
        """One PUT after the other; If-None-Match lets a server that knows it refuse to replace a new one."""
        for path, content in {**new, **replaced}.items():
            extra = {} if path in replaced else {"If-None-Match": "*"}
            if isinstance(content, Path):
                extra["Content-Length"] = str(content.stat().st_size)
                with content.open("rb") as file, self._ask("PUT", path, file, extra):
                    pass
            else:
                with self._ask("PUT", path, content, extra):
                    pass

    @contextmanager
    def _ask(
        self, method: str, path: str, data: BinaryIO | bytes | None = None, extra: Mapping[str, str] | None = None
    ) -> Iterator[BinaryIO]:
        url = f"{self._root}/{urllib.parse.quote(path)}"
        headers = {"Content-Type": "application/octet-stream"} if data is not None else {}
        request = urllib.request.Request(url, data, {**headers, **(extra or {})}, method=method)
        if os.environ.get(TOKEN):
            request.add_unredirected_header("Authorization", f"Bearer {os.environ[TOKEN]}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                yield response
        except urllib.error.HTTPError as error:
            kind = NotThere if error.code in (404, 410) else PlaceError
            taken = " (it is there already: somebody has pushed at the same time; push again)"
            raise kind(f"{method} {url}: {error.code} {error.reason}{taken if error.code == 412 else ''}") from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise PlaceError(
                f"{method} {url}: {getattr(error, 'reason', '') or error or type(error).__name__}"
            ) from error
