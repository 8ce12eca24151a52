"""How gunicorn serves: `gunicorn -c gunicorn.conf.py`, or `python -m ollama_proxy`, which is the same.

The patch comes first: a module that imports ssl, socket or threading before it keeps the blocking ones.
"""

import signal

# Ctrl-C during the start ends it without a word. Once the master is there, it takes the signal over. The command has
# held it back until here: in between, Python's own handler would have printed a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

from gevent import monkey  # noqa: E402

monkey.patch_all()

import atexit  # noqa: E402
import gc  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from math import ceil  # noqa: E402
from pathlib import Path  # noqa: E402
from shutil import rmtree  # noqa: E402

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from ollama_proxy.catalog.filters import FilterError, Filters  # noqa: E402
from ollama_proxy.config import (  # noqa: E402
    SettingsError,
    environment,
    keep_settings,
    kept_settings,
    load_settings,
    missing_key_text,
)
from ollama_proxy.ops.logs import server_level, server_logging  # noqa: E402
from ollama_proxy.server.worker import raise_file_limit  # noqa: E402
from ollama_proxy.storage.database import sqlalchemy_url  # noqa: E402


def _stop(text):
    """End the start with one line. Here it is exit code 1; in a worker it could be an endless respawn."""
    print(text, file=sys.stderr)  # noqa: T201
    raise SystemExit(1)


def _settings():
    """The settings as they are now in the environment and `.env`, looked at so closely that the workers can use them.

    Raises SystemExit, after one line, for settings that cannot be used.
    """
    try:
        loaded = load_settings(environment())
    except SettingsError as error:
        _stop(error)
    if not loaded.openrouter_api_key:
        _stop(missing_key_text())
    # A worker that raises at its start ends the whole server: what it would raise for is found here.
    try:
        Filters.load(loaded.models_filter, Path.cwd())
    except FilterError as error:
        _stop(f"MODELS_FILTER: {error}" if loaded.models_filter else error)
    try:
        sqlalchemy_url(loaded.database_url, ROOT / "instance")
    except ValueError as error:
        _stop(f"DATABASE_URL cannot be used (its value is not shown here): {error}")
    from ollama_proxy.ops import starting

    for line in (starting.unusable_host(loaded.host), starting.unusable_certificates()):
        if line is not None:
            _stop(line)
    return loaded


# gunicorn runs this file at the start, and again on SIGHUP. On SIGHUP `_guard_reload` has just read and kept the new
# settings. The workers take what is kept, and read nothing themselves.
settings = kept_settings() or _settings()
keep_settings(settings)

wsgi_app = "wsgi:app"
pythonpath = str(ROOT)
bind = f"[{settings.host.strip('[]')}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.web_concurrency
worker_class = "ollama_proxy.server.worker.ProxyWorker"
worker_connections = settings.worker_connections
backlog = 2048
preload_app = False
# Where the heartbeat files live: memory, so that neither a slow disk nor a read-only one ends a worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

#: Seconds a connection may idle between requests; longer than nginx keeps its own, so that nginx is the one to close.
keepalive = 75
#: A worker that does not reach its loop for so long hangs.
timeout = 60
#: The workers end their answers after DRAIN_SECONDS, and need a little longer to send the last lines.
graceful_timeout = ceil(settings.drain_seconds) + 5

limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 16380

# Who asks is decided by ollama_proxy.access.policy from the plain headers: gunicorn believes none of them.
forwarded_allow_ips = ""
secure_scheme_headers = {}
forwarder_headers = ""

control_socket_disable = True
accesslog = None
errorlog = "-"
loglevel = server_level(settings).lower()
logconfig_dict = server_logging(settings)

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_OWN_METRICS = "ollama-proxy-metrics-"
#: prometheus-client's files. The folder may be anybody's: nothing else in it is touched.
_COUNTS = re.compile(r"(counter|histogram|summary|gauge_[a-z]+)_\d+\.db")
#: How long a worker may take at its end to write what waits.
_LAST_WRITES_SECONDS = 1.0
#: What OpenRouter said of the key, and when (UTC epoch seconds), for the workers' readiness.
_key_state = None


def on_starting(server):
    """Once, in the master, before it listens."""
    raise_file_limit()
    from ollama_proxy.ops import starting

    # Sockets may also be handed over (systemd, `--bind fd://`, a gunicorn that replaces itself), or others be named.
    is_ours = server.cfg.settings["bind"].get() == [bind] and not {"LISTEN_FDS", "GUNICORN_FD"} & os.environ.keys()
    if is_ours and (line := starting.unusable_port(settings.host, settings.port)) is not None:
        _stop(line)
    _ask_for_key(refused=_stop)
    starting.announce(settings, starting.migrate_database(settings, ROOT / "instance"))
    _guard_reload(server)
    # Ctrl-C is a SIGTERM from the keyboard. A second one, while answers end, has gunicorn send the workers SIGQUIT.
    server.handle_int = server.handle_term


def when_ready(server):
    """In the master, when it listens and before it starts the first worker."""
    server.serving_since = time.time()
    _share_metrics(server)


def pre_fork(server, worker):
    """In the master, before a worker starts: it tells since when the server serves, across reloads."""
    worker.serving_since = server.serving_since


def _guard_reload(server):
    """On SIGHUP, look at the settings before gunicorn does: it would end the server over a typing error."""
    from ollama_proxy.ops import starting

    reload = server.handle_hup

    def handle_hup():
        try:
            loaded = _settings()
        except SystemExit:
            server.log.error("Not reloaded: the settings cannot be used. The server goes on with the earlier ones")
        except Exception:
            server.log.exception("Not reloaded: the settings cannot be read. The server goes on with the earlier ones")
        else:
            keep_settings(starting.at_the_address_of(kept_settings(), loaded, warn=server.log.warning))
            reload()

    server.handle_hup = handle_hup


def on_reload(server):
    """In the master, on SIGHUP, before the new workers: this file has been run again with the new settings."""
    from ollama_proxy.ops import starting

    _ask_for_key(refused=server.log.error)
    starting.announce(settings, starting.migrate_database(settings, ROOT / "instance"))


def _ask_for_key(refused):
    from ollama_proxy.ops import starting

    global _key_state
    # The time before the question. A worker that takes the place of another may begin days later.
    asked_at = time.time()
    _key_state = starting.key_state(settings, refused=refused), asked_at


def _share_metrics(server):
    """Name the folder through which the workers add up their counts, before prometheus_client is imported."""
    given = os.environ.pop(_METRICS, "")
    try:
        # Not fatal: without it, each worker counts for itself.
        folder = Path(given or tempfile.mkdtemp(prefix=_OWN_METRICS))
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.db"):
            if _COUNTS.fullmatch(old.name):  # of an earlier start
                old.unlink()
        (folder / "writable").touch()
        os.environ[_METRICS] = str(folder)
        if not given:
            atexit.register(_remove_in, os.getpid(), folder)
    except OSError as error:
        server.log.warning("Each worker counts its metrics for itself: %s", error)


def _remove_in(pid, folder):
    """At the end of the master, however it ends; a worker inherits the call and leaves the folder alone."""
    if os.getpid() == pid:
        rmtree(folder, ignore_errors=True)


def post_worker_init(worker):
    """In each worker, once the application is loaded."""
    # What is here now stays: without looking at it again, collecting garbage costs long requests half as much, and no
    # request has to wait for a look at everything.
    gc.collect()
    gc.freeze()
    extension = getattr(worker.app.callable, "extensions", {}).get("ollama_proxy")
    if extension is not None:
        if _key_state is not None:
            extension.quota.found_at_start(*_key_state)
        extension.serving_since = worker.serving_since
        extension.start_background()
        if worker.age == 1:
            from ollama_proxy.ops import starting

            starting.tell_models(extension)


def worker_exit(server, worker):  # noqa: ARG001
    """In each worker, at its end: what was learned and waits to be written is written, if the database is there."""
    extension = getattr(worker.app.callable, "extensions", {}).get("ollama_proxy")
    if extension is not None:
        extension.writes.flush(_LAST_WRITES_SECONDS)


def child_exit(server, worker):
    """In the master, when a worker has ended: its gauges end with it, and what it has counted is kept."""
    if _METRICS in os.environ:
        from prometheus_client import multiprocess

        from ollama_proxy.ops.metrics.files import keep_counts_of_ended

        multiprocess.mark_process_dead(worker.pid)
        try:
            keep_counts_of_ended(os.environ[_METRICS], worker.pid)
        except OSError as error:
            server.log.warning("The counts of a worker that has ended stay in files of their own: %s", error)


def on_exit(server):  # noqa: ARG001
    """In the master, when all workers have ended: one more Ctrl-C must not turn the exit code into another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
