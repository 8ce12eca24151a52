"""Names that are nearly a setting's are told, and those of other programs are not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ollama_proxy.config import VARIABLES, misspelt_names
from ollama_proxy.config.misspelt import IN_ENVIRONMENT, IN_FILE, nearest

#: What may stand in a `.env` that several programs share, or in any process's environment.
OF_OTHERS = re.findall(
    r"\w+",
    """
    POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB POSTGRES_HOST POSTGRES_PORT POSTGRES_URL
    PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGDATA
    DATABASE_USER DATABASE_NAME DATABASE_HOST DATABASE_PORT DATABASE_PASSWORD TEST_DATABASE_URL
    DB_HOST DB_PORT DB_NAME DB_URL REDIS_URL REDIS_HOST REDIS_PORT MYSQL_HOST MYSQL_PORT
    FLASK_APP FLASK_DEBUG FLASK_RUN_HOST FLASK_RUN_PORT FLASK_SKIP_DOTENV GUNICORN_CMD_ARGS FORWARDED_ALLOW_IPS
    BIND_ADDRESS PUBLISHED_PORT CONTAINER_DATABASE_URL COMPOSE_PROJECT_NAME COMPOSE_FILE DOCKER_HOST
    HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy no_proxy
    REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR PROMETHEUS_MULTIPROC_DIR
    OLLAMA_HOST OLLAMA_MODELS OLLAMA_API_KEY OLLAMA_DEBUG OLLAMA_KEEP_ALIVE OLLAMA_NUM_PARALLEL OLLAMA_MAX_QUEUE
    OLLAMA_BASE_URL OLLAMA_PROXY_PORT OLLAMA_PROXY_SERVICE_HOST OPEN_WEBUI_PORT WEBUI_SECRET_KEY
    OPENAI_API_KEY OPENAI_BASE_URL ANTHROPIC_API_KEY ANTHROPIC_MODEL GROQ_API_KEY GEMINI_API_KEY MISTRAL_API_KEY
    PATH HOME HOSTNAME HOSTTYPE USER LOGNAME SHELL LANG TZ TMPDIR PWD VIRTUAL_ENV PYTHONPATH PYTHONUNBUFFERED
    APP_NAME APP_ENV APP_KEY APP_PORT APP_HOST WEB_PORT NODE_ENV DEBUG SECRET_KEY PROXY PROXY_URL PROXY_PORT
    KUBERNETES_SERVICE_HOST KUBERNETES_PORT KUBERNETES_PORT_443_TCP DYNO RENDER FLY_APP_NAME
    INVOCATION_ID JOURNAL_STREAM LISTEN_FDS STATE_DIRECTORY MAKEFLAGS LOG_DIR LOG_FILE SSH_CONNECTION
    """,
)


def test_what_belongs_to_others_gives_no_alarm() -> None:
    assert list(nearest(OF_OTHERS, IN_FILE)) == []
    assert list(nearest(OF_OTHERS, IN_ENVIRONMENT)) == []


def test_a_setting_gives_no_alarm() -> None:
    assert list(nearest(VARIABLES, IN_FILE)) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PROXY_API_KEY", "PROXY_API_KEYS"),
        ("proxy_api_keys", "PROXY_API_KEYS"),
        ("PROXY_API_KEY_FILE", "PROXY_API_KEYS_FILE"),
        ("OPENROUTER_APIKEY", "OPENROUTER_API_KEY"),
        ("ALLOWED_NETWORKS", "ALLOW_NETWORKS"),
        ("OLLAMA_ORIGIN", "OLLAMA_ORIGINS"),
        ("RATE_LIMIT_COOLDOWN_MINUTES", "RATELIMIT_COOLDOWN_MINUTES"),
        ("LOGLEVEL", "LOG_LEVEL"),
    ],
)
def test_a_slip_is_told_wherever_it_stands(name: str, meant: str) -> None:
    assert list(nearest([name], IN_ENVIRONMENT)) == [(name, meant)]
    assert list(nearest([name], IN_FILE)) == [(name, meant)]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PROXY_KEYS", "PROXY_API_KEYS"),
        ("OPENROUTER_KEY", "OPENROUTER_API_KEY"),
        ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
        ("FREE_MODELS", "FREE_MODE"),
        ("HEARTBEAT", "HEARTBEAT_SECONDS"),
        ("CATALOG_TTL", "CATALOG_TTL_MINUTES"),
        ("FAILURE_COOLDOWN_SECONDS", "FAILURE_COOLDOWN_MINUTES"),
        ("OPENROUTER_API_BASE", "OPENROUTER_BASE_URL"),
        ("OPENROUTER_SITE_URL", "APP_URL"),
    ],
)
def test_a_name_less_alike_is_told_in_dotenv_only(name: str, meant: str) -> None:
    assert list(nearest([name], IN_FILE)) == [(name, meant)]
    assert list(nearest([name], IN_ENVIRONMENT)) == []


def test_each_name_is_one_line_with_its_place_and_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PROXY_API_KEY=s3cret\nPOSTGRES_PORT=5432\nPORT=1\n")
    monkeypatch.setenv("PROXY_API_KEY", "s3cret")
    monkeypatch.setenv("ALLOW_NETWORK", "s3cret")
    assert misspelt_names(tmp_path) == [
        ".env: PROXY_API_KEY is not a setting: did you mean PROXY_API_KEYS?",
        "environment: ALLOW_NETWORK is not a setting: did you mean ALLOW_NETWORKS?",
    ]


def test_a_dotenv_that_cannot_be_read_gives_no_names(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PROXY_API_KEY=s3cret\nno assignment\n")
    assert misspelt_names(tmp_path) == []
