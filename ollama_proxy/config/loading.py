"""From texts to settings: each variable is read as its declaration says."""

from __future__ import annotations

from collections.abc import Mapping

import marshmallow as ma

from ollama_proxy.config.fields import SEPARATORS
from ollama_proxy.config.settings import DECLARATIONS, Settings, SettingsError, file_variable
from ollama_proxy.config.sources import environment, shown_path, with_secret_files

_SCHEMA = ma.Schema.from_dict({name.lower(): declared.read for name, declared in DECLARATIONS.items()})()

#: The variables that may not be empty, each with the reason.
_NOT_EMPTY = [
    (variable, declared.not_empty)
    for name, declared in DECLARATIONS.items()
    if declared.not_empty
    for variable in (name, file_variable(name))
]

#: What `keep_settings` was given.
_kept: Settings | None = None


def load_settings(variables: Mapping[str, str] | None = None) -> Settings:
    """Settings from `variables`; without any: those of this process.

    Those of this process are what `keep_settings` was given in it or in the process it was forked from, else they are
    read from `environment()`.

    An empty value counts as unset. Only PROXY_API_KEYS and PROXY_API_KEYS_FILE may not be empty: whoever sets them
    wants a closed server, and no keys means an open one. Raises SettingsError with one line for the first variable
    that cannot be used, or for a `.env` that cannot be read.
    """
    if variables is None:
        return _kept if _kept is not None else load_settings(environment())
    _refuse_empty(variables)
    found = with_secret_files(variables)
    given = {name.lower(): found[name] for name in DECLARATIONS.keys() & found.keys() if found[name].strip()}
    try:
        return Settings(**_SCHEMA.load(given))
    except ma.ValidationError as error:
        name = next(iter(error.messages_dict))
        raise SettingsError(_why_unusable(name.upper(), given[name], variables)) from None


def keep_settings(settings: Settings) -> None:
    """Make these the settings of this process and of those it forks, whatever `.env` says from now on.

    The server's main process does so. All its workers then have the same settings, also one that is started in the
    place of another after `.env` has changed, and a mistake in `.env` cannot end a running server.
    """
    global _kept
    _kept = settings


def kept_settings() -> Settings | None:
    """What `keep_settings` was given last; None if it was never called."""
    return _kept


def missing_key_text() -> str:
    """The line for a start without a key."""
    return (
        "OPENROUTER_API_KEY is not set: get a key at https://openrouter.ai/settings/keys and put it into .env or the "
        "environment, or try `make demo`, which needs none"
    )


def _refuse_empty(variables: Mapping[str, str]) -> None:
    for variable, why in _NOT_EMPTY:
        if variable in variables and not variables[variable].strip(SEPARATORS):
            raise SettingsError(f"{variable} is set but empty: {why}")


def _why_unusable(name: str, text: str, variables: Mapping[str, str]) -> str:
    declared, of_file = DECLARATIONS[name], file_variable(name)
    if declared.secret and (path := variables.get(of_file, "").strip()):
        return f"{of_file}={shown_path(path)} cannot be used: the file must hold {declared.allowed}"
    value = "a value that is not shown" if declared.secret else repr(text)
    return f"{name}={value} cannot be used: it takes {declared.allowed}"
