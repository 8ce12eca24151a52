"""The WSGI entry point: `gunicorn wsgi:app`, `flask --app wsgi run`."""

from ollama_proxy import create_app
from ollama_proxy.ops.commands import settings_errors_in_one_line

with settings_errors_in_one_line():
    app = create_app()
