"""`make dev`: Flask's development server with this project's HOST, PORT and `.env`. It reloads when code changes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ollama_proxy.config import SettingsError, load_settings, missing_key_text  # noqa: E402
from ollama_proxy.storage import migrate  # noqa: E402
from ollama_proxy.storage.database import sqlalchemy_url  # noqa: E402


def main() -> None:
    try:
        settings = load_settings()
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    if not settings.openrouter_api_key:
        raise SystemExit(missing_key_text())
    migrate.upgrade(sqlalchemy_url(settings.database_url, ROOT / "instance"))
    flask = [sys.executable, "-m", "flask", "--app", "wsgi", "run", "--debug"]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    os.execv(sys.executable, [*flask, "--host", settings.host, "--port", str(settings.port)])


if __name__ == "__main__":
    main()
