"""A hook of mkdocs: pages of the repository's root, and files outside of docs/ that pages link to, join the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", **{name: name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}}
SOURCES = "repository"  # folder of the site with files that are no pages
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add pages and linked files."""
    for name, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text(encoding="utf-8")))
    pages = [
        (path, path.read_text(encoding="utf-8")) for path in [*(ROOT / "docs").glob("*.md"), *map(ROOT.joinpath, PAGES)]
    ]
    for path, text in pages:
        for link in _LINK.findall(text):
            target = _target(path, link)
            place = f"{SOURCES}/{target}"
            if target not in PAGES and not target.startswith("docs/") and files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as the site has them."""
    source = next((name for name, place in PAGES.items() if place == page.file.src_uri), f"docs/{page.file.src_uri}")
    return _LINK.sub(lambda found: _on_site(_target(ROOT / source, found[1])), markdown)


def _on_site(target: str) -> str:
    """A file of the repository, from the site's top, where all pages are."""
    if target in PAGES:
        return PAGES[target]
    return target.removeprefix("docs/") if target.startswith("docs/") else f"{SOURCES}/{target}"


def _target(page: Path, link: str) -> str:
    """A link's file, from the root."""
    return posixpath.normpath(posixpath.join(page.parent.relative_to(ROOT).as_posix(), link))
