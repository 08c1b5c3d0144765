"""A repository on the Hugging Face hub as a place for policies. Token and address are the library's matter."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from huggingface_hub import CommitOperationAdd, HfApi, RepoFile
from huggingface_hub.errors import RepositoryNotFoundError

from robot_dreamer.policies.places import NoPlace, NotThere, PlaceError

LARGEST_FILE = 4 << 30  # bytes; a download is refused before it begins


class Hub:
    """One repository, made as a private one at the first push.

    Args:
      repository: owner/name.
      endpoint: of another hub than huggingface.co, as HF_ENDPOINT names it.
    """

    def __init__(self, repository: str, endpoint: str | None = None) -> None:
        self._repository = repository
        self._api = HfApi(endpoint=endpoint, library_name="robot_dreamer")

    def __str__(self) -> str:
        return f"hf://{self._repository}"

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """A file of the branch main, downloaded whole into a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="robot_dreamer-") as folder:
            with self._explained(path):
                size = self._sizes([path]).get(path)
                if size is None:
                    raise NotThere(f"{self}: no file {path}")
                if size > LARGEST_FILE:
                    raise PlaceError(f"{self}: {path}: expected at most {LARGEST_FILE} bytes, found {size}")
                found = self._api.hf_hub_download(self._repository, path, local_dir=folder)
            with Path(found).open("rb") as file:
                yield file

    def put(self, new: Mapping[str, Path | bytes], replaced: Mapping[str, bytes]) -> None:
        """All files in one commit."""
        with self._explained(", ".join(new)):
            self._api.create_repo(self._repository, private=True, exist_ok=True)
            taken = ", ".join(self._sizes(list(new)))
            if taken:
                raise PlaceError(f"{self}: {taken} is there already: somebody has pushed at the same time; push again")
            files = [
                CommitOperationAdd(path, str(x) if isinstance(x, Path) else x)
                for path, x in {**new, **replaced}.items()
            ]
            self._api.create_commit(self._repository, files, commit_message=f"Add {next(iter(new))}")

    def _sizes(self, paths: list[str]) -> dict[str, int]:
        """Bytes of those that are there."""
        found = self._api.get_paths_info(self._repository, paths)
        return {entry.path: entry.size for entry in found if isinstance(entry, RepoFile)}

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except RepositoryNotFoundError as error:
            raise NoPlace(f"{self}: there is no such repository, or it is not yours to see (HF_TOKEN)") from error
        except PlaceError:
            raise
        except Exception as error:  # the library's HTTP client has errors of its own, and was another one before
            raise PlaceError(f"{self}: {what}: {error}") from error
