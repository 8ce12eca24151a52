"""Codex CLI with `--oss` (Rust, 0.169): the version must be semver and new enough, the list must hold the name."""

from __future__ import annotations

import re
from typing import Any

_SEMVER = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?P<pre>-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


def version(body: dict[str, Any]) -> None:
    found = _SEMVER.fullmatch(body["version"])
    assert found, "not semver"
    assert found["pre"] is None, "a pre-release is older than its release"
    assert tuple(map(int, found.groups()[:3])) >= (0, 13, 4)


def tags(body: dict[str, Any]) -> None:
    for model in body["models"]:
        assert isinstance(model["name"], str)


def pull(line: dict[str, Any]) -> None:
    assert isinstance(line["status"], str)
