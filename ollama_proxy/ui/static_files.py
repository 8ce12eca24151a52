"""The files that pages load: in memory, gzipped, under names that hold a hash of the content. Pure but for reading.

Nothing is built and nothing is looked up by a path: the folder is listed once, and a request is answered from a
dictionary, so that no name that a client sends ever opens a file.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HASH_LENGTH = 12


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file: `name` is what it is asked by, `content` its bytes, `gzipped` the same, compressed."""

    name: str
    content_type: str
    content: bytes
    gzipped: bytes


@cache
def static_files() -> Mapping[str, StaticFile]:
    """Return all files by the names under which they are served: `page.css` is `page.0123456789ab.css`."""
    return {one.name: one for one in _by_path().values()}


def static_name(path: str) -> str:
    """Return the name under which a file of the folder is served ("vendor/htmx.min.js"). Raises KeyError."""
    return _by_path()[path].name


@cache
def _by_path() -> Mapping[str, StaticFile]:
    paths = sorted(path for path in _FOLDER.rglob("*") if path.suffix in _TYPES)
    return {path.relative_to(_FOLDER).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:_HASH_LENGTH]
    # Without a time in it, the result is the same in all processes.
    return StaticFile(
        f"{path.stem}.{digest}{path.suffix}", _TYPES[path.suffix], content, gzip.compress(content, 9, mtime=0)
    )
