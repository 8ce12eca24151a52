"""Ollama's API on port 11434, answered by OpenRouter's models.

`create_app` is the only place where the parts are joined. It imports them inside, because importing this package must
not import `requests`: gevent has to patch the process first (see gunicorn.conf.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from ollama_proxy.config import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Return the WSGI application for `settings` (default: from the environment and `.env`).

    Starts no thread and opens no connection. Raises SettingsError or FilterError for settings and files that cannot be
    used. A missing OpenRouter key raises nothing, so that the command line works without one.
    """
    from flask import Flask

    from ollama_proxy.anthropic import error_form as anthropic_errors
    from ollama_proxy.anthropic.routes import blueprint as anthropic
    from ollama_proxy.config import load_settings
    from ollama_proxy.observation import Observers
    from ollama_proxy.ollama import error_form as ollama_errors
    from ollama_proxy.ollama.routes import blueprint as ollama
    from ollama_proxy.openai import error_form as openai_errors
    from ollama_proxy.openai import response_error_form as response_errors
    from ollama_proxy.openai.routes import blueprint as openai
    from ollama_proxy.ops import commands, health, logs, request_log
    from ollama_proxy.ops.metrics import page as metrics
    from ollama_proxy.ops.metrics.counting import Metrics
    from ollama_proxy.ops.status.routes import proxy_blueprint
    from ollama_proxy.runtime import Observing, build_runtime
    from ollama_proxy.ui import error_form as page_errors
    from ollama_proxy.ui.routes import ui_blueprint
    from ollama_proxy.ui.views.playground import ASKED_BY_SCRIPT
    from ollama_proxy.web.error_rendering import ErrorForms
    from ollama_proxy.web.front import Front
    from ollama_proxy.web.key_in_path import KeyInPath
    from ollama_proxy.web.routing import ExactRule, MergedSlashes, router_errors

    settings = settings or load_settings()
    logs.configure(settings)
    app = Flask("ollama_proxy", static_folder=None, template_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_rule_class = ExactRule  # type: ignore[assignment]
    app.url_map.strict_slashes = False
    counts = Metrics()
    log = request_log.RequestLog()
    observers = Observers(log, counts, on_error=request_log.observer_failed)
    observing = Observing(
        failure=observers.safely(counts.failed),
        slow=observers.safely(log.slow),
        writes_lost=observers.safely(counts.writes_lost),
        records_lost=observers.safely(counts.records_lost),
        explainer=request_log.explanations(settings.log_level),
    )
    runtime = build_runtime(settings, instance_path=app.instance_path, observing=observing)
    observers.add(runtime.ledger)
    log.safe = runtime.kept_name
    app.extensions["ollama_proxy"] = runtime
    app.register_blueprint(ollama)
    app.register_blueprint(openai)
    app.register_blueprint(anthropic)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(proxy_blueprint(ollama_errors))
    if settings.ui:
        app.register_blueprint(ui_blueprint())
    metrics.register(app, counts)
    router_errors(app, page_errors if settings.ui else None)
    commands.register(app)
    front = Front(
        app.wsgi_app,
        runtime.access,
        observers,
        error_forms=ErrorForms(
            ("/v1/messages", anthropic_errors),
            ("/v1/responses", response_errors),
            ("/v1/", openai_errors),
            *((ASKED_BY_SCRIPT, ("/ui", page_errors)) if settings.ui else ()),
            ("", ollama_errors),
        ),
        first_request=runtime.start_background,
    )
    app.wsgi_app = MergedSlashes(KeyInPath(front, is_on=settings.key_in_path))  # type: ignore[method-assign]
    return app
