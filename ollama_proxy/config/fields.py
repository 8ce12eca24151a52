"""What a variable may hold: marshmallow fields that read one text each.

Every function here returns a field that carries, in `metadata["allowed"]`, the words for what it takes. Those words
stand in error messages and in the documentation. What the settings are is in `settings.py`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

import marshmallow as ma
from marshmallow import validate

Network = IPv4Network | IPv6Network

_SEPARATOR = re.compile(r"[,\r\n]")

#: What may stand between the items of a list.
SEPARATORS = ", \t\r\n"


class _Text(ma.fields.String):
    """One line of visible ASCII: these values travel in HTTP headers and log lines."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs).strip()
        if not (text.isascii() and text.isprintable()):
            raise ma.ValidationError("not visible ASCII")
        return text


class _WebAddress(_Text):
    """An `http://` or `https://` address that an HTTP client can use: RFC 3986 section 3.2."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError as error:  # brackets that do not close, or a port that is not a number below 65536
            raise ma.ValidationError(str(error)) from error
        if not usable or " " in text:
            raise ma.ValidationError("not an address")
        return text


class _List(ma.fields.Field[tuple[str, ...]]):
    """Texts with commas or line ends between them. Empty items are left out."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        return tuple(item for part in _SEPARATOR.split(str(value)) if (item := part.strip()))


#: What a pattern for names may hold: what names hold, and stars.
_NAME = re.compile(r"[A-Za-z0-9_~][A-Za-z0-9_.:/~-]*")
_PATTERN = re.compile(r"[A-Za-z0-9_.:/~*-]+")


class _Aliases(_List):
    """A list of `pattern=name`, as pairs. No pattern twice: the second would never be looked at."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        pairs = {}
        for item in super()._deserialize(value, attr, data, **kwargs):
            pattern, name = (part.strip() for part in item.partition("=")[::2])
            if not (_PATTERN.fullmatch(pattern) and _NAME.fullmatch(name)):
                raise ma.ValidationError("no pattern=name")
            if pattern.lower() in pairs:
                raise ma.ValidationError("a pattern is there twice")
            pairs[pattern.lower()] = pattern, name
        return tuple(pairs.values())


class _Networks(_List):
    """A list of networks or addresses. Host bits may be set: 192.168.1.5/24 means its network, 192.168.1.0/24."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            return tuple(ip_network(item, strict=False) for item in super()._deserialize(value, attr, data, **kwargs))
        except ValueError as error:
            raise ma.ValidationError(str(error)) from error


class _Level(_Text):
    """A log level in upper or lower case. WARN means WARNING."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        level = super()._deserialize(value, attr, data, **kwargs).upper()
        return {"WARN": "WARNING"}.get(level, level)


def line(allowed: str) -> ma.fields.Field[str]:
    """One line of visible ASCII."""
    return _Text(metadata={"allowed": allowed})


def text(allowed: str) -> ma.fields.Field[str]:
    """Any text, as it is: a path, for example, may hold more than ASCII."""
    return ma.fields.String(metadata={"allowed": allowed})


def web_address() -> ma.fields.Field[str]:
    """The address of an HTTP server."""
    return _WebAddress(metadata={"allowed": "an http:// or https:// address"})


def switch() -> ma.fields.Field[bool]:
    """True or false; marshmallow also takes 1, 0, yes, no, on and off."""
    return ma.fields.Boolean(metadata={"allowed": "true or false"})


def whole(at_least: int, at_most: int, allowed: str) -> ma.fields.Field[int]:
    """A whole number between two others, which it may equal."""
    return ma.fields.Integer(validate=validate.Range(min=at_least, max=at_most), metadata={"allowed": allowed})


def number(unit: str, *, or_zero: bool, at_most: float = 1e9) -> ma.fields.Field[float]:
    """A number of `unit`, with or without a fraction: more than 0, or 0 as well with `or_zero`."""
    check = validate.Range(min=0, max=at_most, min_inclusive=or_zero)
    allowed = f"{unit}, {'0 or more' if or_zero else 'more than 0'}, fractions allowed"
    return ma.fields.Float(validate=check, metadata={"allowed": allowed})


def strings(allowed: str) -> ma.fields.Field[tuple[str, ...]]:
    """A list of texts."""
    return _List(metadata={"allowed": allowed})


def aliases() -> ma.fields.Field[Any]:
    """A tuple of (pattern, name)."""
    allowed = "pattern=name with commas between them, each pattern once, such as claude-*=free:coding"
    return _Aliases(metadata={"allowed": allowed})


def networks() -> ma.fields.Field[Any]:
    """A tuple of `Network`, from networks in CIDR notation (RFC 4632) or single addresses."""
    return _Networks(metadata={"allowed": "networks with commas between them, such as 192.168.1.0/24, 100.64.0.0/10"})


def one_of(*values: str) -> ma.fields.Field[str]:
    """One of these words."""
    return _Text(validate=validate.OneOf(values), metadata={"allowed": ", ".join(values)})


def log_level() -> ma.fields.Field[str]:
    """One of the standard library's log levels."""
    levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    return _Level(validate=validate.OneOf(levels), metadata={"allowed": ", ".join(levels)})
