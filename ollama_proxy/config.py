"""The settings, read once from the environment and `.env`.

This module knows the variables, their defaults and what each may hold; it does not know what the settings are used for.
docs/configuration.md is the same table for users.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dotenv
import marshmallow as ma
from marshmallow import validate

Network = IPv4Network | IPv6Network

#: Who may call without a key: loopback, private, unique-local and link-local addresses.
PRIVATE_NETWORKS: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "127.0.0.0/8",
        "::1/128",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "169.254.0.0/16",
        "fe80::/10",
    )
)

#: Values that never appear in a message, because they hold (or may hold) a secret.
SECRET = frozenset({"OPENROUTER_API_KEY", "PROXY_API_KEYS", "DATABASE_URL"})


class SettingsError(ValueError):
    """A variable that cannot be read. The text is one line: the variable, its value and what is allowed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, with the defaults. Field names are the variables in lower case."""

    openrouter_api_key: str = ""
    openrouter_base_url: str = "https://openrouter.ai/api/v1"
    host: str = "0.0.0.0"
    port: int = 11434
    free_mode: bool = True
    tool_use_only: bool = False
    strict_models: bool = False
    models_filter: str | None = None
    failure_cooldown_minutes: float = 5
    ratelimit_cooldown_minutes: float = 1
    first_token_timeout_seconds: float = 30
    whole_answer_timeout_seconds: float = 300
    upstream_read_timeout_seconds: float = 120
    max_attempts: int = 5
    fallback_budget_seconds: float = 90
    free_requests_per_minute: int = 20
    ratelimit_wait_seconds: float = 15
    catalog_ttl_minutes: float = 15
    heartbeat_seconds: float = 10
    database_url: str = ""
    web_concurrency: int = 1
    worker_connections: int = 2000
    drain_seconds: float = 20
    proxy_api_keys: tuple[str, ...] = ()
    allow_networks: tuple[Network, ...] = PRIVATE_NETWORKS
    allow_anonymous: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    ollama_origins: tuple[str, ...] = ()
    max_body_mb: float = 100
    max_bodies_mb: float = 512
    body_timeout_seconds: float = 60
    ollama_version: str = "0.31.0"
    log_level: str = "INFO"
    log_format: str = "text"
    app_url: str = ""
    app_title: str = ""


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
        except ValueError as error:  # brackets that do not close, a port that is none
            raise ma.ValidationError(str(error)) from error
        if not usable or " " in text:
            raise ma.ValidationError("not an address")
        return text


class _Words(ma.fields.Field[tuple[str, ...]]):
    """A comma-separated list."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:
        return tuple(word for part in str(value).split(",") if (word := part.strip()))


class _Networks(_Words):
    """A comma-separated list of networks or addresses. Host bits may be set: 192.168.1.5/24 is its network."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            return tuple(ip_network(word, strict=False) for word in super()._deserialize(value, attr, data, **kwargs))
        except ValueError as error:
            raise ma.ValidationError(str(error)) from error


class _Level(_Text):
    """A log level in any case; WARN is WARNING."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        level = super()._deserialize(value, attr, data, **kwargs).upper()
        return {"WARN": "WARNING"}.get(level, level)


def _number(allowed: str, *, at_least: float = 0, at_most: float = 1e9, above: bool = False) -> ma.fields.Float:
    check = validate.Range(min=at_least, max=at_most, min_inclusive=not above)
    return ma.fields.Float(validate=check, metadata={"allowed": allowed})


def _whole(allowed: str, *, at_least: int, at_most: int = 10**9) -> ma.fields.Integer:
    return ma.fields.Integer(validate=validate.Range(min=at_least, max=at_most), metadata={"allowed": allowed})


def _switch() -> ma.fields.Boolean:
    return ma.fields.Boolean(metadata={"allowed": "true or false"})


def _choice(kind: type[_Text], *values: str) -> _Text:
    return kind(validate=validate.OneOf(values), metadata={"allowed": ", ".join(values)})


_SECONDS = "seconds, 0 or more, fractions allowed"
_SOME_SECONDS = "seconds, more than 0, fractions allowed"
_MINUTES = "minutes, 0 or more, fractions allowed"
_NETWORKS = "networks with commas between them, such as 192.168.1.0/24, 100.64.0.0/10"


class _SettingsSchema(ma.Schema):
    class Meta:
        unknown = ma.EXCLUDE

    openrouter_api_key = _Text(metadata={"allowed": "a key from https://openrouter.ai/settings/keys"})
    openrouter_base_url = _WebAddress(metadata={"allowed": "an http:// or https:// address"})
    host = _Text(metadata={"allowed": "an address to listen on, such as 127.0.0.1 or 0.0.0.0"})
    port = _whole("a port, 1 to 65535", at_least=1, at_most=65535)
    free_mode = _switch()
    tool_use_only = _switch()
    strict_models = _switch()
    models_filter = ma.fields.String(metadata={"allowed": "a file's path"})
    failure_cooldown_minutes = _number(_MINUTES)
    ratelimit_cooldown_minutes = _number(_MINUTES)
    first_token_timeout_seconds = _number(_SOME_SECONDS, above=True)
    whole_answer_timeout_seconds = _number(_SOME_SECONDS, above=True)
    upstream_read_timeout_seconds = _number(_SOME_SECONDS, above=True)
    max_attempts = _whole("a number of attempts, 1 to 100", at_least=1, at_most=100)
    fallback_budget_seconds = _number(_SECONDS)
    free_requests_per_minute = _whole("a number of requests, 0 for no limit", at_least=0)
    ratelimit_wait_seconds = _number(_SECONDS)
    catalog_ttl_minutes = _number("minutes, more than 0, fractions allowed", above=True)
    heartbeat_seconds = _number(_SOME_SECONDS, above=True)
    database_url = ma.fields.String(metadata={"allowed": "a database URL, such as postgresql://user@host/name"})
    web_concurrency = _whole("a number of workers, 1 to 64", at_least=1, at_most=64)
    worker_connections = _whole("a number of connections, 1 or more", at_least=1, at_most=1_000_000)
    drain_seconds = _number(_SECONDS)
    # A list of nothing is a slip that would leave the server open.
    proxy_api_keys = _Words(validate=validate.Length(min=1), metadata={"allowed": "keys with commas between them"})
    allow_networks = _Networks(metadata={"allowed": _NETWORKS})
    allow_anonymous = _switch()
    trusted_proxies = _Networks(metadata={"allowed": _NETWORKS})
    ollama_origins = _Words(metadata={"allowed": "origins with commas between them"})
    max_body_mb = _number("megabytes, more than 0", above=True, at_most=100_000)
    max_bodies_mb = _number("megabytes, more than 0", above=True, at_most=1_000_000)
    body_timeout_seconds = _number(_SOME_SECONDS, above=True)
    ollama_version = _Text(validate=validate.Length(min=1), metadata={"allowed": "a version, such as 0.31.0"})
    log_level = _choice(_Level, "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    log_format = _choice(_Text, "text", "json")
    app_url = _Text(metadata={"allowed": "an address"})
    app_title = _Text(metadata={"allowed": "one line of visible ASCII"})


_SCHEMA = _SettingsSchema()


def environment(directory: Path | None = None) -> dict[str, str]:
    """The variables as they count: the process's environment over `.env` of `directory` (the working directory).

    Only that one file is read: a `.env` of a parent folder belongs to something else.
    """
    file = (directory or Path.cwd()) / ".env"
    values = dotenv.dotenv_values(file) if file.is_file() else {}
    return {**{name: value for name, value in values.items() if value is not None}, **os.environ}


def load_settings(variables: Mapping[str, str] | None = None) -> Settings:
    """Settings from `variables` (default: `environment()`). An empty value counts as unset.

    Raises SettingsError with one line for the first variable that cannot be read.
    """
    found = environment() if variables is None else variables
    given = {f.name: found[f.name.upper()] for f in fields(Settings) if found.get(f.name.upper(), "").strip()}
    try:
        return Settings(**_SCHEMA.load(given))
    except ma.ValidationError as error:
        name = next(iter(error.messages_dict))
        variable, allowed = name.upper(), _SCHEMA.fields[name].metadata["allowed"]
        value = "a value that is not shown" if variable in SECRET else repr(given[name])
        raise SettingsError(f"{variable}={value} cannot be used: it takes {allowed}") from None


def missing_key_text() -> str:
    """The line for a start without a key."""
    return (
        "OPENROUTER_API_KEY is not set: get a key at https://openrouter.ai/settings/keys and put it into .env or the "
        "environment, or try `make demo`, which needs none"
    )
