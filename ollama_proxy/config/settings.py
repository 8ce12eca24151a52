"""The settings. Each is declared once, here: name, type, default, what it may hold, one line of help, its group.

Everything else is made from these declarations: the marshmallow schema (`loading.py`), the help text (`help.py`) and
the warning about a misspelt name (`misspelt.py`). A test compares `.env.example`, the README's table and
docs/configuration.md with them. What the settings are used for is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from typing import Any, NamedTuple, TypeVar

import marshmallow as ma

from ollama_proxy.config.fields import (
    Network,
    aliases,
    line,
    log_level,
    networks,
    number,
    one_of,
    strings,
    switch,
    text,
    web_address,
    whole,
)

T = TypeVar("T")

#: Who may call without a key: loopback, private, unique-local and link-local addresses.
PRIVATE_NETWORKS: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
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


class SettingsError(ValueError):
    """Settings that cannot be used. The text is one line: which variable, its value unless secret, what is allowed."""


class Declaration(NamedTuple):
    """What is declared of a setting besides its name, type and default."""

    #: Reads the variable's text.
    read: ma.fields.Field[Any]
    help: str
    group: str
    #: Words for a default that says little by itself; "" shows the default.
    default_words: str
    #: The value never appears in a message, and may stand in a file that `NAME_FILE` names.
    secret: bool
    #: Why an empty value stops the start; "" if an empty value means the default.
    not_empty: str

    @property
    def allowed(self) -> str:
        """Words for what the variable takes."""
        return str(self.read.metadata["allowed"])


def setting(
    default: T,
    read: ma.fields.Field[Any],
    *,
    help: str,
    group: str,
    default_words: str = "",
    secret: bool = False,
    not_empty: str = "",
) -> T:
    """A field of `Settings`, with its declaration: see `Declaration`. A secret is left out of `repr(settings)`."""
    declaration = Declaration(read, help, group, default_words, secret, not_empty)
    found: T = field(default=default, repr=not secret, metadata={"declaration": declaration})
    return found


OPENROUTER = "OpenRouter"
LISTENING = "Listening"
MODELS = "Models"
FAILURES = "Failures and limits"
ACCESS = "Access"
REST = "Storage, version, logs"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, with their defaults. A field's name is its variable's, in lower case."""

    openrouter_api_key: str = setting(
        "",
        line("a key from https://openrouter.ai/settings/keys"),
        help="the key of your OpenRouter account",
        group=OPENROUTER,
        default_words="required",
        secret=True,
    )
    openrouter_base_url: str = setting(
        "https://openrouter.ai/api/v1",
        web_address(),
        help="where OpenRouter's API is: a gateway, or the simulator",
        group=OPENROUTER,
    )
    app_url: str = setting(
        "",
        line("an address"),
        help="your application's address in OpenRouter's rankings",
        group=OPENROUTER,
        default_words="unset",
    )
    app_title: str = setting(
        "",
        line("one line of visible ASCII"),
        help="your application's name in OpenRouter's rankings",
        group=OPENROUTER,
        default_words="unset",
    )

    host: str = setting(
        "0.0.0.0",
        line("an address to listen on, such as 127.0.0.1 or 0.0.0.0"),
        help="where to listen: 127.0.0.1 is this machine only",
        group=LISTENING,
    )
    port: int = setting(
        11434,
        whole(1, 65535, "a port, 1 to 65535"),
        help="the port to listen on",
        group=LISTENING,
    )
    web_concurrency: int = setting(
        1,
        whole(1, 64, "a number of workers, 1 to 64"),
        help="worker processes",
        group=LISTENING,
    )
    worker_connections: int = setting(
        2000,
        whole(1, 1_000_000, "a number of connections, 1 or more"),
        help="connections a worker serves at once",
        group=LISTENING,
    )
    drain_seconds: float = setting(
        20,
        number("seconds", or_zero=True),
        help="how long running answers may go on at shutdown",
        group=LISTENING,
    )
    max_body_mb: float = setting(
        100,
        number("megabytes", or_zero=False, at_most=100_000),
        help="the largest request body; images in base64 count",
        group=LISTENING,
    )
    max_bodies_mb: float = setting(
        512,
        number("megabytes", or_zero=False, at_most=1_000_000),
        help="all request bodies that a worker holds at once",
        group=LISTENING,
    )
    body_timeout_seconds: float = setting(
        60,
        number("seconds", or_zero=False),
        help="how long a request's body may take to arrive",
        group=LISTENING,
    )

    free_mode: bool = setting(
        True,
        switch(),
        help="only free models, with fallback; false: paid ones too",
        group=MODELS,
    )
    tool_use_only: bool = setting(
        False,
        switch(),
        help="only models that support function calling",
        group=MODELS,
    )
    strict_models: bool = setting(
        False,
        switch(),
        help="free mode: an unknown name is a 404 instead of free",
        group=MODELS,
    )
    models_filter: str | None = setting(
        None,
        text("a file's path"),
        help="the file of whole model names",
        group=MODELS,
        default_words="models-filter.txt if it exists",
    )
    model_aliases: tuple[tuple[str, str], ...] = setting(
        (),
        aliases(),
        help="what names that are not listed mean",
        group=MODELS,
        default_words="none",
    )
    free_order: str = setting(
        "context",
        one_of("context", "balanced", "smart", "fast", "coding"),
        help="the order of free models behind a named one",
        group=MODELS,
    )
    explore: int = setting(
        20,
        whole(0, 10**6, "a number of requests, 0 for never"),
        help="one request in so many tries out a seldom used model",
        group=MODELS,
    )
    sticky_minutes: float = setting(
        30,
        number("minutes", or_zero=True),
        help="how long a conversation stays with its model",
        group=MODELS,
    )
    catalog_ttl_minutes: float = setting(
        15,
        number("minutes", or_zero=False),
        help="how often the model list is refreshed",
        group=MODELS,
    )

    failure_cooldown_minutes: float = setting(
        5,
        number("minutes", or_zero=True),
        help="how long a failed model is left out, for each failure",
        group=FAILURES,
    )
    ratelimit_cooldown_minutes: float = setting(
        1,
        number("minutes", or_zero=True),
        help="how long a rate limited model is left out, at least",
        group=FAILURES,
    )
    max_attempts: int = setting(
        5,
        whole(1, 100, "a number of attempts, 1 to 100"),
        help="attempts for one request",
        group=FAILURES,
    )
    fallback_budget_seconds: float = setting(
        90,
        number("seconds", or_zero=True),
        help="after so long no new attempt begins",
        group=FAILURES,
    )
    free_requests_per_minute: int = setting(
        20,
        whole(0, 10**9, "a number of requests, 0 for no limit"),
        help="at so many free attempts a minute, no second attempts",
        group=FAILURES,
    )
    ratelimit_wait_seconds: float = setting(
        15,
        number("seconds", or_zero=True),
        help="a limit that resets within so long is waited for",
        group=FAILURES,
    )
    first_token_timeout_seconds: float = setting(
        30,
        number("seconds", or_zero=False),
        help="free mode: how long a model may take to begin",
        group=FAILURES,
    )
    slow_first_token_seconds: float = setting(
        10,
        number("seconds", or_zero=False),
        help="a model that usually takes longer to begin goes last",
        group=FAILURES,
    )
    whole_answer_timeout_seconds: float = setting(
        300,
        number("seconds", or_zero=False),
        help="how long an answer that is not streamed may take",
        group=FAILURES,
    )
    upstream_read_timeout_seconds: float = setting(
        120,
        number("seconds", or_zero=False),
        help="how long a running stream may be silent",
        group=FAILURES,
    )
    heartbeat_seconds: float = setting(
        10,
        number("seconds", or_zero=False),
        help="a waiting client hears something at least so often",
        group=FAILURES,
    )

    proxy_api_keys: tuple[str, ...] = setting(
        (),
        strings("keys with commas between them"),
        help="keys that clients must send",
        group=ACCESS,
        default_words="none",
        secret=True,
        not_empty="without a key the server would be open: write a key there, or remove the variable",
    )
    key_in_path: bool = setting(
        False,
        switch(),
        help="a key may stand in the address: http://host:11434/k/KEY",
        group=ACCESS,
    )
    allow_networks: tuple[Network, ...] = setting(
        PRIVATE_NETWORKS,
        networks(),
        help="who may call without a key",
        group=ACCESS,
        default_words="private networks",
    )
    allow_anonymous: bool = setting(
        False,
        switch(),
        help="anybody may call without a key",
        group=ACCESS,
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (),
        networks(),
        help="reverse proxies whose X-Forwarded-For is believed",
        group=ACCESS,
        default_words="none",
    )
    ollama_origins: tuple[str, ...] = setting(
        (),
        strings("origins with commas between them"),
        help="further web pages and browser extensions that may call",
        group=ACCESS,
        default_words="Ollama's own",
    )
    ui: bool = setting(
        True,
        switch(),
        help="the pages under /ui",
        group=ACCESS,
    )

    database_url: str = setting(
        "",
        text("a database URL, such as postgresql://user@host/name"),
        help="the database; several machines share a PostgreSQL",
        group=REST,
        default_words="SQLite in instance/",
        secret=True,
    )
    request_log_days: float = setting(
        7,
        number("days", or_zero=True),
        help="how long requests stay in the log; 0: no log",
        group=REST,
    )
    ollama_version: str = setting(
        "0.32.7",
        line("a version, such as 0.32.7"),
        help="what /api/version says",
        group=REST,
    )
    log_level: str = setting(
        "INFO",
        log_level(),
        help="how much is logged",
        group=REST,
    )
    log_format: str = setting(
        "text",
        one_of("text", "json"),
        help="how log lines look",
        group=REST,
    )


#: Each setting's declaration by the name of its variable.
DECLARATIONS: dict[str, Declaration] = {one.name.upper(): one.metadata["declaration"] for one in fields(Settings)}


class Variable(NamedTuple):
    """An environment variable, as the documentation shows it."""

    name: str
    #: Either the value that counts when the variable is unset, or words for it.
    default: str
    default_is_value: bool
    allowed: str
    help: str
    group: str


def file_variable(name: str) -> str:
    """The variable that names the file in which the secret `name` stands."""
    return f"{name}_FILE"


def _variables() -> dict[str, Variable]:
    found = []
    for name, declared in DECLARATIONS.items():
        default = declared.default_words or _value_text(getattr(Settings(), name.lower()))
        found.append(
            Variable(name, default, not declared.default_words, declared.allowed, declared.help, declared.group)
        )
        if declared.secret:
            of_file = f"a file that holds {name}"
            found.append(Variable(file_variable(name), "unset", False, "a file's path", of_file, declared.group))
    return {variable.name: variable for variable in found}


def _value_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


#: All variables by name, grouped, in the order of the documentation.
VARIABLES: dict[str, Variable] = _variables()

#: The variables whose values are never shown.
SECRETS: tuple[str, ...] = tuple(name for name, declared in DECLARATIONS.items() if declared.secret)
