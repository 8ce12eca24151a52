"""Fetches what the page takes from npm, pinned, into `ollama_proxy/ui/static/vendor`: `make vendor`.

Needs `npm` and a network; nobody who runs or tests the program does. A new version is a new line in PACKAGES: version
and integrity as `npm view NAME@VERSION version dist.integrity` prints them. A test compares the files with `sums.txt`,
which this writes.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent.parent / "ollama_proxy" / "ui" / "static" / "vendor"
SUMS = FOLDER / "sums.txt"


class Package(NamedTuple):
    """A package of npm; `files` are those that are taken, by their names in FOLDER."""

    name: str
    version: str
    integrity: str
    files: dict[str, str]


PACKAGES = (
    Package(
        "htmx.org",
        "2.0.11",
        "sha512-Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==",
        {"htmx.min.js": "dist/htmx.min.js", "htmx.LICENSE.txt": "LICENSE"},
    ),
    Package(
        "@picocss/pico",
        "2.1.1",
        "sha512-kIDugA7Ps4U+2BHxiNHmvgPIQDWPDU4IeU6TNRdvXQM1uZX+FibqDQT2xUOnnO2yq/LUHcwnGlu1hvf4KfXnMg==",
        {"pico.min.css": "css/pico.min.css", "pico.LICENSE.txt": "LICENSE.md"},
    ),
)


def main() -> None:
    """Fetch all packages, and write their files and the sums of these."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        fetch(package)
    files = sorted(path for path in FOLDER.iterdir() if path != SUMS)
    SUMS.write_text("".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files))


def fetch(package: Package) -> None:
    """Write the files of one package. Ends the program if what npm hands out is not what was pinned."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"{package.name}@{package.version}"], cwd=folder, check=True)
        [archive] = Path(folder).iterdir()
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if f"sha512-{digest}" != package.integrity:
            sys.exit(f"{package.name} {package.version} is not what was pinned: sha512-{digest}")
        with tarfile.open(archive) as members:
            for name, member in package.files.items():
                content = members.extractfile(f"package/{member}")
                assert content is not None
                (FOLDER / name).write_bytes(content.read())


if __name__ == "__main__":
    main()
