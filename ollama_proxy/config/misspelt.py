"""Names that are no setting, but look as if they were meant to be one.

`PROXY_API_KEY=...` in `.env` would otherwise be ignored without a word, and leave the server open. Only names are
looked at and told, never values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path

from ollama_proxy.config.settings import VARIABLES, SettingsError
from ollama_proxy.config.sources import read_env_file

#: How alike two names must be (difflib's ratio, 0 to 1). `.env` is this program's own file, so much in it is meant for
#: this program; the environment is full of names that belong to others.
IN_FILE = 0.75
IN_ENVIRONMENT = 0.92

#: What other programs own, and what may stand in a `.env` that they share: names that begin so, and whole names.
_OTHERS_BEGIN = (
    *("POSTGRES_", "PG", "MYSQL_", "REDIS_", "DB_"),
    *("FLASK_", "GUNICORN_", "PYTHON", "PROMETHEUS_"),
    *("COMPOSE_", "DOCKER_", "KUBERNETES_", "OLLAMA_PROXY_"),
    *("OPENAI_", "ANTHROPIC_", "GROQ_"),
)
_OTHERS = {
    *("DATABASE_USER", "DATABASE_NAME", "DATABASE_HOST", "DATABASE_PORT", "DATABASE_PASSWORD", "TEST_DATABASE_URL"),
    # compose.yaml of this project
    *("BIND_ADDRESS", "PUBLISHED_PORT", "CONTAINER_DATABASE_URL"),
    # requests, and most programs that speak HTTP
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
}

#: What other programs call the same thing, where the nearest name would be another one.
_SAME_THING = {
    "OPENROUTER_API_BASE": "OPENROUTER_BASE_URL",
    "OPENROUTER_SITE_URL": "APP_URL",
    "OPENROUTER_APP_NAME": "APP_TITLE",
}

_NAME = re.compile(r"[A-Z_][A-Z0-9_]{1,63}")
_UNIT = re.compile(r"_(SECONDS?|MINUTES?|MB)$")


def misspelt_names(directory: Path | None = None) -> list[str]:
    """One line for each name in `.env` of `directory`, or in the process's environment, that is nearly a setting's.

    A `.env` that cannot be read gives none: whoever reads the settings says so.
    """
    try:
        in_file = read_env_file(directory)
    except SettingsError:
        return []
    elsewhere = [name for name in os.environ if name not in in_file]
    return [
        f"{place}: {name} is not a setting: did you mean {meant}?"
        for place, names, alike in ((".env", in_file, IN_FILE), ("environment", elsewhere, IN_ENVIRONMENT))
        for name, meant in nearest(names, alike)
    ]


def nearest(names: Iterable[str], alike: float) -> Iterator[tuple[str, str]]:
    """Each of `names` that is no setting but `alike` to one, with that one. Upper and lower case count as the same."""
    known = {_UNIT.sub("", name): name for name in VARIABLES} if alike < IN_ENVIRONMENT else {}
    known |= {name: name for name in VARIABLES}
    for name in names:
        given = name.upper()
        of_others = given in _OTHERS or given.startswith(_OTHERS_BEGIN)
        if name in VARIABLES or of_others or not _NAME.fullmatch(given):
            continue
        if alike < IN_ENVIRONMENT and given in _SAME_THING:
            yield name, _SAME_THING[given]
        elif found := get_close_matches(given, known, n=1, cutoff=alike):
            yield name, known[found[0]]
