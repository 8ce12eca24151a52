"""Checks the bodies that come in against OpenRouter's published OpenAPI document, where one is at hand.

`OPENROUTER_OPENAPI` names the file (https://openrouter.ai/openapi.json), else `openapi.json` in the folder that
`OPENROUTER_RECORDINGS` names. Without either nothing is checked; `shapes.py` has what matters in our own words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Characters of a complaint: a union says what all its members want.
_LONGEST = 300


def document_path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return where the document lies, None if there is none. A file that is named must be there."""
    if named := environ.get("OPENROUTER_OPENAPI"):
        return Path(named)
    folder = environ.get("OPENROUTER_RECORDINGS")
    beside = Path(folder) / "openapi.json" if folder else None
    return beside if beside is not None and beside.is_file() else None


class Document:
    """The document's schemas of request bodies, compiled when a path is asked for the first time."""

    def __init__(self, path: Path) -> None:
        """Raises OSError and ValueError if the document cannot be read."""
        self._document: dict[str, Any] = json.loads(path.read_bytes())
        self._validators: dict[str, Any] = {}

    def complaint(self, path: str, body: Any) -> str:
        """Return where and why `body` is no request body of `path` (such as "/messages"); "" if nothing is wrong.

        A path that the document does not have (/completions is not in it) has nothing wrong.
        """
        if path not in self._validators:
            self._validators[path] = self._compiled(path)
        validator = self._validators[path]
        error = next(validator.iter_errors(body), None) if validator is not None else None
        if error is None:
            return ""
        return f"{path}: {'/'.join(map(str, error.instance_path)) or 'the body'}: {error.message[:_LONGEST]}"

    def _compiled(self, path: str) -> Any:
        import jsonschema_rs

        operation = self._document["paths"].get(path, {}).get("post")
        if operation is None:
            return None
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        # References point to /components of the document: it becomes a part of the schema.
        return jsonschema_rs.Draft202012Validator({**schema, "components": self._document["components"]})


def open_document() -> Document | None:
    """Return the document that the environment names, or None."""
    path = document_path()
    return Document(path) if path is not None else None
