"""The text with which Go refuses a field of a wrong type."""

from __future__ import annotations


def go(path: str, shown: str, go_type: str) -> str:
    return f"json: cannot unmarshal {shown} into Go struct field {path} of type {go_type}"
