"""/api/proxy/*, and the commands that ask a running server for it: what it knows, and what it is asked to forget."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

from ollama_proxy.__main__ import command
from ollama_proxy.ops.status.report import PARTS
from ollama_proxy.version import __version__
from simulator.process import Simulator
from tests.neighbours import LOGIN_PAGE, OLD_PROXY, OTHER_JSON, REAL_OLLAMA, REVERSE_PROXY, Pages, serving
from tests.servers import PATIENCE, ROOT, ProxyServer, free_port, wait_for

BEST, SECOND = "nimbus/cirrus-ultra:free", "orchid/lumen-vl-32b:free"

Start = Callable[..., ProxyServer]


def delete(server: ProxyServer, path: str, **headers: str) -> requests.Response:
    return requests.delete(f"{server.url}/api/proxy{path}", headers=headers, timeout=PATIENCE)


def logged(server: ProxyServer, count: int, query: str = "") -> list[dict[str, Any]]:
    """The log, once it has `count` requests: they are written behind, within two seconds."""

    def look() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = server.get(f"/api/proxy/log{query}").json()["requests"]
        return found if len(found) == count else None

    found: list[dict[str, Any]] = wait_for(look, what=f"{count} requests in the log")
    return found


@pytest.fixture(scope="module")
def shared_keyed(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    folder, keys = tmp_path_factory.mktemp("keyed"), "first-key,s3cret-key"
    with ProxyServer(folder, shared_simulator.url, ready=False, proxy_api_keys=keys) as server:
        yield server


@pytest.fixture
def keyed(shared_keyed: ProxyServer, simulator: Simulator) -> ProxyServer:
    """A server that wants a key, for tests that leave nothing behind in it."""
    return shared_keyed


@pytest.fixture(scope="module")
def shared_open(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyServer]:
    folder, host = tmp_path_factory.mktemp("open"), "0.0.0.0"
    with ProxyServer(folder, shared_simulator.url, ready=False, ollama_origins="*", host=host) as server:
        yield server


@pytest.fixture
def open_to_pages(shared_open: ProxyServer, simulator: Simulator) -> ProxyServer:
    """A server that every web page may read, for tests that leave nothing behind in it."""
    return shared_open


# The report


def test_the_report_has_every_part_and_parts_can_be_asked_for(proxy: ProxyServer) -> None:
    answer = proxy.get("/api/proxy/status")
    report = answer.json()
    assert list(report) == list(PARTS)
    assert None not in report.values()
    assert answer.headers["Cache-Control"] == "no-store"
    assert report["server"]["version"] == __version__
    assert report["server"]["mode"] == "free"
    assert report["server"]["access"].startswith(f"Listening on 127.0.0.1:{proxy.port}")
    assert report["catalog"]["free"] == len(report["models"]) > 0
    assert report["models"][0]["id"] == BEST
    assert list(proxy.get("/api/proxy/status?parts=key,%20server").json()) == ["key", "server"]
    wrong = proxy.get("/api/proxy/status?parts=server,nothing")
    assert wrong.status_code == 400
    assert wrong.json()["error"].startswith("there is no part 'nothing': server, key, ")


def test_only_the_routes_of_the_table_are_there(proxy: ProxyServer) -> None:
    assert proxy.get("/api/proxy/nothing").status_code == 404
    assert proxy.post("/api/proxy/status").headers["Allow"] == "GET"
    assert proxy.post("/api/proxy/failures").headers["Allow"] == "GET, DELETE"


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("DELETE", "/failures/", (405,)),
        ("DELETE", "/log/", (405,)),
        ("DELETE", "/failures//", (308, 404, 405)),
        ("DELETE", "/log?caller=", (400,)),
        ("DELETE", "/log?caller=&usage=1", (400,)),
        ("DELETE", "/log?Caller=x", (400,)),
        ("GET", "/log?caller=", (400,)),
        ("GET", "/log?model=", (400,)),
        ("GET", "/log/", (200,)),
        ("GET", "/failures/", (200,)),
    ],
)
def test_a_name_that_is_empty_does_not_mean_all(
    proxy: ProxyServer, method: str, path: str, statuses: tuple[int, ...]
) -> None:
    url = f"{proxy.url}/api/proxy{path}"
    answer = requests.request(method, url, timeout=PATIENCE, allow_redirects=False)
    assert answer.status_code in statuses, answer.text
    if method == "DELETE":
        assert requests.request(method, url, timeout=PATIENCE).status_code in (400, 404, 405), "nor where it leads to"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/log?caller=%00"),
        ("GET", "/log?model=a%00b"),
        ("GET", "/log/%00"),
        ("DELETE", "/log?caller=%00"),
        ("DELETE", "/failures/%00"),
    ],
)
def test_a_nul_is_refused(proxy: ProxyServer, method: str, path: str) -> None:
    """PostgreSQL refuses it, which must not look like an outage."""
    answer = requests.request(method, f"{proxy.url}/api/proxy{path}", timeout=PATIENCE)
    assert (answer.status_code, answer.json()["error"].partition(" must")[2]) == (400, " not hold a NUL character")


def test_it_follows_the_rules_of_access(keyed: ProxyServer) -> None:
    server = keyed
    for path in ("/status", "/models", "/failures", "/log", "/doctor"):
        assert server.get(f"/api/proxy{path}").status_code == 401
        answer = server.get(f"/api/proxy{path}", headers={"Authorization": "Bearer s3cret-key"})
        assert answer.status_code == 200
        assert "s3cret" not in answer.text
    assert delete(server, "/failures").status_code == 401


def test_in_paid_mode_models_have_prices(start_proxy: Start) -> None:
    server = start_proxy(free_mode=False)
    models = {model["id"]: model for model in server.get("/api/proxy/models").json()["models"]}
    assert models[BEST]["price"] == {"prompt": 0, "completion": 0}
    assert max(model["price"]["prompt"] or 0 for model in models.values()) > 0


def test_what_is_forgotten_is_forgotten_at_once(start_proxy: Start, simulator: Simulator) -> None:
    server = start_proxy()
    simulator.scenario(BEST, error_name="pool_429", times=2)
    assert server.chat("any-name").headers["X-OpenRouter-Model"] == SECOND
    [failure] = server.get("/api/proxy/failures").json()["failures"]
    assert (failure["id"], failure["name"], failure["state"]) == (BEST, "cirrus-ultra:free", "cooling")
    assert delete(server, "/failures/no-such-model").status_code == 404
    assert delete(server, f"/failures/{SECOND}").json()["forgotten"] == 0
    assert delete(server, "/failures/Cirrus-Ultra").json()["forgotten"] == 1
    assert server.get("/api/proxy/failures").json() == {"failures": [], "limits": []}
    simulator.control("reset", {})
    assert server.chat("any-name").headers["X-OpenRouter-Model"] == BEST


def test_all_failures_and_limits_are_forgotten_in_all_processes(start_proxy: Start, simulator: Simulator) -> None:
    server = start_proxy(web_concurrency=2)
    simulator.scenario("*", error_name="free_per_day", reset_in=7200, times=1)
    assert server.chat().status_code == 429

    def scopes() -> set[str]:
        answers = [server.get("/api/proxy/failures").json()["limits"] for _ in range(8)]
        return {",".join(limit["scope"] for limit in limits) for limits in answers}

    wait_for(lambda: scopes() == {"free"}, what="every worker knows the limit")
    assert delete(server, "/failures").json()["forgotten"] == 1
    wait_for(
        lambda: all(server.chat().status_code == 200 for _ in range(8)), what="every worker has forgotten the limit"
    )


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        pytest.param("https://evil.example", 403, id="a foreign page"),
        pytest.param("http://localhost:3000", 403, id="another program's page on this machine"),
        pytest.param("null", 403, id="a page without an origin"),
        pytest.param("http://127.0.0.1:{port}", 200, id="this server's own page"),
        pytest.param(None, 200, id="no page at all"),
    ],
)
def test_only_pages_of_this_server_may_change_anything(
    open_to_pages: ProxyServer, origin: str | None, status: int
) -> None:
    """Even where OLLAMA_ORIGINS lets every page read."""
    server = open_to_pages
    headers = {} if origin is None else {"Origin": origin.format(port=server.port)}
    assert server.get("/api/proxy/status?parts=server", headers=headers).status_code == 200
    for path in ("/failures", "/failures/x", "/log"):
        assert delete(server, path, **headers).status_code in (status, 404 if status == 200 else 403)


def test_a_page_under_a_rebound_name_may_change_nothing(open_to_pages: ProxyServer) -> None:
    rebound = {"Host": "evil.example:1", "Origin": "http://evil.example:1"}
    assert delete(open_to_pages, "/log", **rebound).status_code == 403


# The log


def test_the_log_is_paged_and_filtered(start_proxy: Start, simulator: Simulator) -> None:
    server = start_proxy(failure_cooldown_minutes=0, ratelimit_cooldown_minutes=0)
    simulator.scenario(BEST, error_name="pool_429", times=1)
    assert server.chat().ok
    simulator.control("reset", {})
    assert server.chat("no-such-family").ok
    simulator.scenario("*", error_name="free_per_day", reset_in=7200, times=1)
    assert server.chat("schema-12b:free").status_code == 429
    newest, middle, oldest = logged(server, 3)
    assert [step["model"] for step in oldest["chain"]] == [BEST, SECOND]
    assert oldest["chain"][0]["reason"]
    assert oldest["chain"][1]["reason"] is None
    assert (oldest["model"], oldest["outcome"], oldest["caller"]) == (SECOND, "whole", "127.0.0.1")
    assert middle["asked"] == "no-such-family"
    assert newest["outcome"] == "failed"

    first = server.get("/api/proxy/log?limit=2").json()
    assert [one["id"] for one in first["requests"]] == [newest["id"], middle["id"]]
    rest = server.get(f"/api/proxy/log?limit=2&before={first['next']!r}").json()
    assert [one["id"] for one in rest["requests"]] == [oldest["id"]]
    assert rest["next"] is None
    for query, expected in (
        ("failed=1", [newest]),
        ("model=lumen-vl-32b:free", [oldest]),
        (f"model={BEST}", [middle]),
        ("model=schema-12b:free", [newest]),
        ("caller=127.0.0.1", [newest, middle, oldest]),
        ("caller=somebody", []),
    ):
        assert server.get(f"/api/proxy/log?{query}").json()["requests"] == expected, query
    assert server.get(f"/api/proxy/log/{middle['id'][:8]}").json()["request"] == middle
    assert server.get("/api/proxy/log/none").status_code == 404
    assert delete(server, "/log?caller=somebody").json() == {"removed": 0}
    assert delete(server, "/log").json() == {"removed": 3}
    assert server.get("/api/proxy/log").json()["requests"] == []
    assert server.get("/api/proxy/status?parts=usage").json()["usage"]["requests"] == 3
    assert delete(server, "/log?usage=1").json() == {"removed": 0}
    assert server.get("/api/proxy/status?parts=usage").json()["usage"]["requests"] == 0


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=0.1", "limit=-1", "limit=501", "limit=x", "before=x", "before=nan"]
)
def test_a_number_that_is_none_is_refused(proxy: ProxyServer, query: str) -> None:
    status = 200 if query == "limit=0.1" else 400
    assert proxy.get(f"/api/proxy/log?{query}").status_code == status


def test_requests_in_flight_are_told(proxy: ProxyServer, simulator: Simulator) -> None:
    simulator.scenario(tokens=4, reasoning=False, hold="gate", hold_at=2)
    answer = proxy.chat(stream=True)

    def flying() -> list[dict[str, Any]]:
        told = proxy.get("/api/proxy/status?parts=in_flight").json()["in_flight"]
        return [one for one in told if answer.headers["X-Request-Id"] == one["id"]]

    [one] = flying()
    answering = answer.headers["X-OpenRouter-Model"]
    assert (one["asked"], one["model"], one["streamed"]) == ("free", answering, True)
    simulator.release("gate")
    answer.close()
    wait_for(lambda: not flying(), what="it has ended")


def test_requests_in_flight_are_told_by_every_process(start_proxy: Start, simulator: Simulator) -> None:
    server = start_proxy(web_concurrency=2)
    simulator.scenario(tokens=4, reasoning=False, hold="gate", hold_at=2)
    answers = [server.chat(stream=True) for _ in range(4)]

    def counts() -> set[int]:
        return {len(server.get("/api/proxy/status?parts=in_flight").json()["in_flight"]) for _ in range(8)}

    wait_for(lambda: counts() == {4}, what="each process knows of those of the other")
    simulator.release("gate")
    for answer in answers:
        answer.close()


def test_nothing_of_a_prompt_an_answer_or_a_key_is_told(start_proxy: Start, simulator: Simulator) -> None:
    server = start_proxy()
    pasted = "sk-or-v1-" + "ab12" * 16
    assert server.chat(text="sesame").ok
    server.chat(pasted)
    simulator.scenario(text="sesame", hold="gate", hold_at=1)
    flying = server.chat(text="sesame", stream=True)
    logged(server, 2)
    told = "".join(server.get(f"/api/proxy{path}").text for path in ("/status", "/log", "/doctor", "/failures"))
    simulator.release("gate")
    flying.close()
    for secret in ("sesame", pasted, "test-key"):
        assert secret not in told


# The commands


@pytest.fixture
def run(tmp_path: Path, simulator: Simulator) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in a folder and with a database that are not the server's."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    environment = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "OPENROUTER_BASE_URL": simulator.url, "TZ": "UTC"}

    def run(*words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [sys.executable, "-m", "ollama_proxy", *words],
            cwd=folder,
            env=environment
            | {"DATABASE_URL": f"sqlite:///{folder / 'other.db'}", "PORT": str(free_port())}
            | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended

    return run


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command that a server answers, in this process: a new one takes a second to start."""
    monkeypatch.chdir(tmp_path)

    def asked(*words: str, code: int = 0, **variables: str) -> Result:
        ended = CliRunner().invoke(command, words, env=variables)
        assert ended.exit_code == code, ended.output
        return ended

    return asked


def test_the_commands_ask_the_running_server(
    start_proxy: Start, simulator: Simulator, run: Run, asked: Callable[..., Result]
) -> None:
    server = start_proxy()
    port = {"PORT": str(server.port)}
    simulator.scenario(BEST, error_name="pool_429", times=1)
    assert server.chat().ok
    [one] = logged(server, 1)

    status = run("status", **port)
    assert status.stderr == ""
    for words in (f"ollama-proxy {__version__}, up ", "of 50 free requests used today", "OpenRouter accepts the key",
                  "1 request, 0.0 % failed; 2 attempts", "cooling down: 1", "free -> lumen-vl-32b:free"):  # fmt: skip
        assert words in status.stdout
    report = json.loads(asked("status", "--json", **port).stdout)
    assert list(report) == list(PARTS)
    assert report["requests"] == [one]

    models = json.loads(asked("models", "--json", "--url", server.url).stdout)["models"]
    assert [(model["id"], model["state"]) for model in models[:2]] == [(BEST, "cooling"), (SECOND, "ready")]
    log = asked("log", "--model", "lumen-vl-32b:free", **port).stdout.splitlines()
    assert log[0].split()[:4] == ["ID", "TIME", "CALLER", "API"]
    assert log[1].endswith("> lumen-vl-32b:free")
    assert f"attempt 2    {SECOND}: answered" in asked("log", "show", one["id"][:6], **port).stdout
    assert asked("log", "--failed", **port).stdout == "no requests\n"

    assert asked("failures", "clear", "typo", code=1, **port).stderr.startswith("Error: no model is called 'typo'")
    assert asked("failures", "clear", "cirrus-ultra:free", **port).stdout.startswith("forgotten: 1")
    assert server.chat("any-name").headers["X-OpenRouter-Model"] == BEST
    assert asked("failures", "list", **port).stdout == "nothing is remembered\n"
    assert asked("log", "clear", "--caller", "nobody", **port).stdout == "removed: 0\n"


def test_the_commands_send_a_key(keyed: ProxyServer, asked: Callable[..., Result]) -> None:
    server = keyed
    port = {"PORT": str(server.port)}
    for words, variables, said in (
        ([], {}, "needs a key"),
        (["--key", "wrong"], {}, "does not accept this key"),
        ([], {"OLLAMA_API_KEY": "wrong"}, "does not accept this key"),
    ):
        [line] = asked("failures", "list", *words, code=1, **port, **variables).stderr.splitlines()
        assert line == f"Error: {server.url} {said}: give one with --key or OLLAMA_API_KEY"
    for words, variables in (
        (["--key", "s3cret-key"], {}),
        ([], {"OLLAMA_API_KEY": "s3cret-key"}),
        ([], {"PROXY_API_KEYS": "first-key"}),
    ):
        assert asked("failures", "list", *words, **port, **variables).stdout == "nothing is remembered\n"


def test_ollama_host_names_the_server_too(proxy: ProxyServer, run: Run) -> None:
    ended = run("failures", "list", PORT="", OLLAMA_HOST=f"127.0.0.1:{proxy.port}/")
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        pytest.param(REAL_OLLAMA, "a real Ollama answers at URL, not ollama-proxy", id="a real Ollama"),
        pytest.param(OLD_PROXY, "ollama-proxy 1.0.0 at URL is too old to be asked (status 404)", id="version 1.0.0"),
        pytest.param(
            REVERSE_PROXY,
            "no ollama-proxy answers at URL, but something else (status 502, text/html)",
            id="a reverse proxy without a server behind it",
        ),
        pytest.param(
            LOGIN_PAGE, "no ollama-proxy answers at URL, but something else (status 200, text/html)", id="a page"
        ),
        pytest.param(
            OTHER_JSON,
            "no ollama-proxy answers at URL, but something else (status 200, application/json)",
            id="another program's JSON",
        ),
        pytest.param(None, "no server answers at URL", id="nobody"),
    ],
)
def test_who_answers_in_its_place_is_one_line(run: Run, pages: Pages | None, said: str) -> None:
    """With --url it is an error. Without, the database next to the command is the best that there is."""
    with nullcontext(free_port()) if pages is None else serving(pages) as port:
        named = CliRunner().invoke(command, ["failures", "list", "--url", f":{port}"])
        own = run("failures", "list", PORT=str(port))
    said = said.replace("URL", f"http://127.0.0.1:{port}")
    assert (named.exit_code, named.output) == (1, f"Error: {said}\n")
    assert own.stderr.startswith(f"{said}: this is about the database sqlite:")
    # Nothing was ever migrated there, which is nobody's mistake.
    assert own.stdout == "nothing is remembered\n"
    assert len(own.stderr.splitlines()) == 1


def test_a_database_of_an_earlier_version_says_what_to_do(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    run("db", "upgrade", DATABASE_URL=url)
    with closing(sqlite3.connect(tmp_path / "old.db")) as database:
        database.executescript("DROP TABLE request_log; UPDATE alembic_version SET version_num = '0002'")
    assert run("failures", "list", DATABASE_URL=url).stdout == "nothing is remembered\n"
    *_, line = run("log", code=1, DATABASE_URL=url).stderr.splitlines()
    assert line.startswith("Error: sqlite:")
    assert line.endswith("run `ollama-proxy db upgrade`")


@pytest.mark.parametrize(
    ("name", "scenario", "finding"),
    [
        pytest.param("401_bad_key", {}, "OPENROUTER_API_KEY is refused", id="a key that requests saw refused"),
        pytest.param(
            "free_per_day", {"reset_in": 7200}, "free models answer again", id="a day whose requests are used up"
        ),
    ],
)
def test_the_doctor_believes_what_requests_met(
    start_proxy: Start, simulator: Simulator, run: Run, name: str, scenario: dict[str, Any], finding: str
) -> None:
    server = start_proxy()
    port = {"PORT": str(server.port), "OPENROUTER_API_KEY": "sk-or-s3cret"}
    assert "everything is fine" in run("doctor", **port).stdout
    simulator.scenario("*", error_name=name, times=1, **scenario)
    assert not server.chat().ok
    said = run("doctor", code=1, **port).stdout
    assert finding in said
    assert "everything is fine" not in said
    assert "s3cret" not in said
    assert f"held by ollama-proxy {__version__}" in said


def test_watching_writes_on_until_ctrl_c(start_proxy: Start, tmp_path: Path) -> None:
    """All of them at once: a program starts in a second, and looks every two."""
    server = start_proxy()
    assert server.chat().ok
    logged(server, 1)
    watched = [("status",), ("log",), ("status", "--json"), ("log", "--json")]
    started = [_watching(server, tmp_path, words) for words in watched]
    try:
        read = [[_line(watching)] for watching in started]
        assert server.chat("schema-12b:free").ok
        for words, watching, lines in zip(watched, started, read, strict=True):
            while "schema-12b" not in lines[-1]:
                lines.append(_line(watching))
                assert lines[-1], (words, lines)
            watching.send_signal(signal.SIGINT)
            rest, _ = watching.communicate(timeout=PATIENCE)
            assert watching.returncode == 0, (words, rest)
            assert "Traceback" not in rest
            assert "\x1b" not in "".join(lines)
            if words[0] == "log":
                assert len(lines) == 2, "each request once"
    finally:
        for watching in started:
            watching.kill()
            watching.wait(PATIENCE)


def _watching(server: ProxyServer, folder: Path, words: tuple[str, ...]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "ollama_proxy", *words, "--watch", "--url", server.url],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _line(watching: subprocess.Popen[str]) -> str:
    assert watching.stdout is not None
    return watching.stdout.readline()
