"""The WSGI entry point: `gunicorn wsgi:app`, `flask --app wsgi run`."""

from ollama_proxy import create_app

app = create_app()
