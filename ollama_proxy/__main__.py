"""The command `ollama-proxy`; `python -m ollama_proxy` is the same. Without a word, or with options only, it serves.

`serve` only sets the environment and becomes gunicorn. Nothing but click is imported for that: a start stays quick, and
gevent patches the process before `requests` is loaded, which gunicorn.conf.py does first thing. The other commands are
registered in `ollama_proxy.ops.commands`, and import what they need when they are called.
"""

from __future__ import annotations

import signal

# Ctrl-C while this is loaded ends it without a word, where Python's own handler would print a traceback.
_python_handler = signal.signal(signal.SIGINT, signal.SIG_DFL)

import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, NoReturn  # noqa: E402

import click  # noqa: E402

from ollama_proxy.ops.commands import lazy_commands, settings_errors_in_one_line  # noqa: E402
from ollama_proxy.version import __version__  # noqa: E402

signal.signal(signal.SIGINT, _python_handler)

if TYPE_CHECKING:
    from flask import Flask

ROOT = Path(__file__).resolve().parent.parent

_EXAMPLES = """\
\b
Examples:
  ollama-proxy                                       serve; the key comes from .env or the environment
  ollama-proxy --host 127.0.0.1 --port 8080          serve, as `ollama-proxy serve` with these options
  ollama-proxy doctor                                what is wrong?
  ollama-proxy models --json                         for programs
"""

_SERVE_EXAMPLES = """\
\b
Examples:
  ollama-proxy serve
  ollama-proxy serve --host 127.0.0.1 --port 8080
  ollama-proxy serve --models-filter my-models.txt
  ollama-proxy serve --debug
"""


class _DefaultsToServe(click.Group):
    """A group that takes options in the place of a command's name for those of `serve`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        is_option = bool(args) and args[0].startswith("-") and args[0] not in own
        if not ctx.resilient_parsing and (not args or is_option):
            args = ["serve", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order in which they were added: what one needs first comes first."""
        return list(self.commands)


class _Serve(click.Command):
    """A command whose help ends with the settings."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if settings := _settings_help():
            formatter.write(f"\n{settings.rstrip()}\n")


def _settings_help() -> str:
    """All settings for `serve --help`, as lines that are not wrapped; imported here, so that a start does without."""
    from ollama_proxy.config import help_text

    return help_text()


@click.group(
    cls=_DefaultsToServe,
    epilog=_EXAMPLES,
    subcommand_metavar="[COMMAND] [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="ollama-proxy %(version)s")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Ollama's API on port 11434, answered by OpenRouter's models.

    Without a command it serves: the options are then those of `serve`.
    """
    if ctx.invoked_subcommand != "serve":
        from flask.cli import ScriptInfo

        # Where Flask's commands find their application; it is made when the first of them asks.
        ctx.obj = ScriptInfo(create_app=_application)


@command.command("serve", cls=_Serve, epilog=_SERVE_EXAMPLES)
@click.option("--api-key", metavar="KEY", help="The OpenRouter key (OPENROUTER_API_KEY).")
@click.option("--host", metavar="HOST", help="The address to listen on (HOST, default 0.0.0.0).")
@click.option("--port", metavar="PORT", help="The port to listen on (PORT, default 11434).")
@click.option("--models-filter", metavar="FILE", help="The model filter file (MODELS_FILTER).")
@click.option("--debug", is_flag=True, help="Flask's development server, which reloads when code changes.")
def serve(api_key: str | None, host: str | None, port: str | None, models_filter: str | None, debug: bool) -> NoReturn:
    """Serve on HOST and PORT. This is what happens without a command, too.

    Each option overrides the environment variable of its name, and that overrides .env in the working directory.
    Everything else is set by environment variables or .env, see docs/configuration.md.
    """
    for variable, value in (
        ("OPENROUTER_API_KEY", api_key),
        ("HOST", host),
        ("PORT", port),
        ("MODELS_FILTER", models_filter),
    ):
        if value is not None:
            os.environ[variable] = value
            # The variable that names a file would be a second value beside this one.
            os.environ.pop(f"{variable}_FILE", None)
    # The working directory stays the user's: .env and the filter files are read from there.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    server = _development_server() if debug else _gunicorn()
    if not debug:
        # Until gunicorn.conf.py lets it through: Python's own handler would print a traceback from wherever it is.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.execv(sys.executable, [sys.executable, "-m", *server])


def _gunicorn() -> list[str]:
    # Not wsgi:app, which would be the wsgi.py of the working directory, if there is one.
    return ["gunicorn", "--config", str(ROOT / "gunicorn.conf.py"), "ollama_proxy:create_app()"]


def _development_server() -> list[str]:
    """What to become for `serve --debug`. Settings that cannot be used end it here, not in the process that reloads."""
    from ollama_proxy.config import missing_key_text
    from ollama_proxy.ops.starting import migrate_database

    runtime = _application().extensions["ollama_proxy"]
    settings = runtime.settings
    if not settings.openrouter_api_key:
        raise SystemExit(missing_key_text())
    migrate_database(settings, ROOT / "instance")
    # .env is read by ourselves, in the working directory only and anew at each reload.
    os.environ["FLASK_SKIP_DOTENV"] = "1"
    # Without Werkzeug's debugger: its console answers whoever reaches the port, before our access rules are asked.
    flask = ["flask", "--app", str(ROOT / "wsgi.py"), "run", "--debug", "--no-debugger"]
    return [*flask, "--host", settings.host.strip("[]"), "--port", str(settings.port)]


def _application() -> Flask:
    """The application that a command looks into. News in its log are for who serves: here only warnings are said."""
    from dataclasses import replace

    from ollama_proxy import create_app
    from ollama_proxy.config import load_settings

    with settings_errors_in_one_line():
        settings = load_settings()
        return create_app(replace(settings, log_level="WARNING") if settings.log_level == "INFO" else settings)


for _command in lazy_commands():
    command.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line `arguments` (default: the process's own). Does not return."""
    command.main(args=arguments)


if __name__ == "__main__":
    main()
