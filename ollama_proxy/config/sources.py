"""Where values come from: the process's environment, `.env`, and the files that `NAME_FILE` variables name.

Nothing here copies `.env` into the process's environment. So a later reading finds exactly what `.env` says then, and a
line that was removed from it is gone. No message here holds a line of `.env` or a secret.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

from dotenv.main import resolve_variables
from dotenv.parser import parse_stream

from ollama_proxy.config.fields import SEPARATORS
from ollama_proxy.config.settings import SECRETS, SettingsError, file_variable

#: The two variables of each secret: itself, and the one that names its file.
_FORMS = [(name, file_variable(name)) for name in SECRETS]


def environment(directory: Path | None = None) -> dict[str, str]:
    """The variables as they count: the process's environment over `.env` of `directory` (the working directory).

    Only that one file is read: a `.env` of a parent folder belongs to something else. A secret that the environment
    gives in either form, `NAME` or `NAME_FILE`, replaces both forms in `.env`. Raises SettingsError if `.env` cannot
    be read.
    """
    in_file, found = read_env_file(directory), dict(os.environ)
    for forms in _FORMS:
        # The `flask` command copies `.env` into the environment: a value that is the same in both counts as the file's.
        if any(found.get(form, "").strip() and found[form] != in_file.get(form) for form in forms):
            for form in forms:
                if found.get(form) == in_file.pop(form, None):
                    found.pop(form, None)
    return {**in_file, **found}


def read_env_file(directory: Path | None = None) -> dict[str, str]:
    """The variables of `.env` in `directory` (default: the working directory); none if there is no such file.

    A name without `=` has an empty value. `${OTHER}` in a value is replaced as python-dotenv does it. Raises
    SettingsError for a file that cannot be read, and for a line that cannot: it might have been one that closes the
    server, such as `PROXY_API_KEYS="abc` with its second quote forgotten.
    """
    try:
        content = (directory or Path.cwd()).joinpath(".env").read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError(f".env cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(".env cannot be read: it is not UTF-8 text") from None
    pairs = []
    for binding in parse_stream(io.StringIO(content)):
        if binding.error:
            number = binding.original.line
            raise SettingsError(f".env, line {number}, cannot be read: a line is NAME=value, or a comment behind #")
        if binding.key is not None:
            pairs.append((binding.key, binding.value or ""))
    # The expansion costs more than all the rest, and hardly any file uses it.
    found = resolve_variables(pairs, override=True) if "${" in content else dict(pairs)
    return {name: value or "" for name, value in found.items()}


def with_secret_files(variables: Mapping[str, str]) -> Mapping[str, str]:
    """`variables`, with each secret that a `NAME_FILE` names read from its file, without the line ends behind it.

    Raises SettingsError, which names the variable and the path, if a secret is given in both forms, or if its file
    cannot be read or holds nothing.
    """
    secrets = {}
    for name, of_file in _FORMS:
        if path := variables.get(of_file, "").strip():
            if variables.get(name, "").strip():
                raise SettingsError(f"{name} and {of_file}={shown_path(path)} are both set: keep one of them")
            secrets[name] = _read_secret(of_file, path)
    return {**variables, **secrets} if secrets else variables


def _read_secret(variable: str, path: str) -> str:
    try:
        content = Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{variable}={shown_path(path)} cannot be read: {error.strerror}") from None
    except ValueError:  # not UTF-8, or a path with a null byte in it
        raise SettingsError(f"{variable}={shown_path(path)} cannot be read: not a file of UTF-8 text") from None
    if not content.strip(SEPARATORS):
        raise SettingsError(f"{variable}={shown_path(path)} cannot be used: the file holds nothing")
    return content


def shown_path(path: str) -> str:
    """A path, for a message. Not shown if it looks like the secret itself, written in the place of a path."""
    return "a value that is not shown" if path.startswith("sk-") or "://" in path else repr(path)
