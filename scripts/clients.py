"""Copy what is said of each client into docs/clients.md: its one source is in the package (`make clients`)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE, DOCUMENT = ROOT / "ollama_proxy/clients/clients.md", ROOT / "docs/clients.md"

#: What stands in the document around the copy: its first heading, and the first one behind it.
_COPY = re.compile(r"^## Command line$.*?(?=^## When it does not work$)", re.MULTILINE | re.DOTALL)


def with_copy(document: str, source: str) -> str:
    """Return the document with the copy in it. Raises ValueError if it has no place for one."""
    made, count = _COPY.subn(lambda _: source.rstrip() + "\n\n", document)
    if count != 1:
        raise ValueError(f"{DOCUMENT} has no place for the clients")
    return made


if __name__ == "__main__":
    DOCUMENT.write_text(with_copy(DOCUMENT.read_text(), SOURCE.read_text()))
    sys.stdout.write(f"{DOCUMENT.relative_to(ROOT)} is as {SOURCE.relative_to(ROOT)} says\n")
