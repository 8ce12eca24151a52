"""The questions of docs/monitoring.md, the dashboard and the alerts, asked of a real Prometheus after a real run.

The run has two workers, two keys, all three APIs, a model that is rate limited, requests that fail, and at its end the
account's daily limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from simulator.process import Simulator
from tests.prometheus import Prometheus, promtool
from tests.servers import ROOT, ProxyServer, wait_for

ALICE, BOB = "alice-key-0123456789", "bob-key-0123456789"
BEST, SECOND = "nimbus/cirrus-ultra:free", "orchid/lumen-vl-32b:free"
ALERTS = ROOT / "deploy" / "alerts.yml"

WHOLE, FAILED, BROKEN = 18, 2, 1


class Run:
    """What the questions are asked of."""

    def __init__(self, server: ProxyServer, prometheus: Prometheus) -> None:
        self.prometheus = prometheus
        self.page = server.get("/metrics", headers=bearer(ALICE)).text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def message(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def chat(server: ProxyServer, **fields: Any) -> requests.Response:
    """A chat of Alice's."""
    body = {"model": "free", "messages": message("hi"), "stream": False, **fields}
    return server.post("/api/chat", body, headers=bearer(ALICE))


def make_requests(server: ProxyServer, simulator: Simulator) -> None:
    """18 whole answers (one of them of the second model), a broken one, 2 that fail, a refused one.

    Each of the first six of Alice and eleven of Bob costs a quarter of a dollar.
    """
    simulator.scenario(text="one two three four five six", reasoning=False, token_delay=0.01, usage={"cost": 0.25})
    for _ in range(6):
        assert chat(server).status_code == 200
        body: dict[str, Any] = {"model": "free", "messages": message("hi"), "stream": True}
        assert server.post("/v1/chat/completions", body, headers=bearer(BOB)).status_code == 200
    body = {"model": "free", "max_tokens": 99, "messages": message("hi")}
    for _ in range(5):
        assert server.post("/v1/messages", body, headers=bearer(BOB)).status_code == 200
    simulator.clear("*")
    simulator.queue(BEST, {"error_name": "pool_429"})
    assert chat(server).headers["X-OpenRouter-Model"] == SECOND
    simulator.scenario(tokens=10, reasoning=False, in_stream_error=4, error_name="502", times=1)
    assert b"error" in chat(server, stream=True).content
    simulator.scenario(error_name="400_models_array")
    for _ in range(FAILED):
        assert chat(server).status_code == 400
    simulator.clear("*")
    assert chat(server, model="no model at all!").status_code == 400


@pytest.fixture(scope="module")
def run(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("prometheus")
    shared_simulator.reset()
    settings = {"web_concurrency": 2, "proxy_api_keys": f"{ALICE},{BOB}", "free_requests_per_minute": 100}
    with ProxyServer(folder, shared_simulator.url, ready=False, **settings) as server:
        wait_for(lambda: server.get("/api/tags", headers=bearer(ALICE)).json()["models"], what="a catalogue")
        with Prometheus(folder / "prometheus", server.port, key=ALICE) as prometheus:
            ready = f'ollama_proxy_answers_total{{model="{BEST}"}} and on () ollama_proxy_free_requests_limit'
            wait_for(lambda: prometheus.ask(ready), what="the series are there before anything has happened")
            assert prometheus.values("sum(ollama_proxy_answers_total)") == {(): 0}
            make_requests(server, shared_simulator)
            shared_simulator.scenario(error_name="free_per_day", reset_in=7200)
            assert chat(server).status_code == 429
            shared_simulator.clear("*")
            wait_for(
                lambda: prometheus.values("sum(ollama_proxy_answers_total)") == {(): WHOLE + BROKEN + FAILED + 2},
                what="all requests are counted",
            )
            limit, cooldown = "account_limit_until_timestamp_seconds", "model_cooldown_until_timestamp_seconds"
            known = f"max(ollama_proxy_{cooldown}) > time() < max(ollama_proxy_{limit})"
            wait_for(lambda: prometheus.ask(known), what="whichever worker is asked knows what holds")
            yield Run(server, prometheus)


def questions() -> dict[int, str]:
    """The expressions of the table in docs/monitoring.md, by their numbers."""
    text = (ROOT / "docs" / "monitoring.md").read_text()
    rows = re.findall(r"(?m)^\| (\d+) \| .+? \| `(.+)` \|$", text)
    return {int(number): expression.replace("\\|", "|") for number, expression in rows}


#: For each question the labels by which its answer is looked at, and what the run must have as an answer.
ANSWERS: dict[int, tuple[tuple[str, ...], Any]] = {
    1: (
        ("route", "status"),
        lambda a: (
            {("/api/chat", "200"), ("/api/chat", "400"), ("/v1/messages", "200"), ("/metrics", "200")} <= a.keys()
        ),
    ),
    # Two requests that failed, one that the daily limit refused, a broken one; those that were refused do not count.
    2: ((), lambda a: a[()] == pytest.approx((FAILED + 1 + BROKEN) / (WHOLE + FAILED + 1 + BROKEN), rel=0.05)),
    3: (("model",), lambda a: 0 < a[BEST] < 0.5 and 0 < a[SECOND] < 0.5),
    4: ((), lambda a: 0 < a[()] < 0.2),
    5: ((), lambda a: a[()] == 0),
    6: (("caller",), lambda a: a["key 1"] > 30 and a["key 2"] > 50 and a["none"] == 0),
    7: (
        ("caller",),
        lambda a: a["key 1"] == pytest.approx(1.5, rel=0.2) and a["key 2"] == pytest.approx(2.75, rel=0.2),
    ),
    8: ((), lambda a: 1 < a[()] < 1.5),
    9: (("model",), lambda a: set(a) == {BEST} and 0 < a[BEST] <= 60),
    10: (("scope",), lambda a: set(a) == {"free"} and 7000 < a["free"] <= 7200),
    11: (("api",), lambda a: 0 < a["ollama"] <= 3 and 0 < a["openai"] <= 3 and 0 < a["anthropic"] <= 3),
    12: (("model",), lambda a: 10 < a[BEST] < 1000),
    13: ((), lambda a: 0 < a[()] < 4),
    14: ((), lambda a: 100e6 < a[()] < 1e9),
    15: ((), lambda a: a[()] == 1),
    16: (("queue",), lambda a: "failures" in a and not any(a.values())),
    17: ((), lambda a: a[()] == 0),
}


def test_each_question_has_an_answer_that_is_checked() -> None:
    assert questions().keys() == ANSWERS.keys()


@pytest.mark.parametrize("number", ANSWERS)
def test_a_question_is_answered(run: Run, number: int) -> None:
    labels, is_right = ANSWERS[number]
    answer = run.prometheus.values(questions()[number], *labels)
    print(number, questions()[number], answer)
    assert is_right(answer), answer


def test_the_first_failures_are_seen_by_increase(run: Run) -> None:
    """A counter that is born at 1 does not increase: ten failures would be none."""
    for expression, least in (
        ('sum(increase(ollama_proxy_answers_total{outcome="failed"}[5m]))', FAILED + 1),
        ('sum(increase(ollama_proxy_upstream_errors_total{blame="model rate limit"}[5m]))', 1),
        ('sum(increase(ollama_proxy_requests_total{route="/api/chat",status="400"}[5m]))', FAILED),
        (f'sum(increase(ollama_proxy_model_failures_total{{model="{BEST}"}}[5m]))', 1),
        ("sum(increase(ollama_proxy_fallbacks_total[5m]))", 1),
    ):
        [found] = run.prometheus.values(expression).values()
        assert found >= 0.9 * least, expression


def test_the_page_follows_prometheus_conventions(run: Run) -> None:
    said = promtool("check", "metrics", given=run.page.encode())
    assert not said.strip()
    assert ALICE not in run.page
    assert BOB not in run.page


def test_both_workers_are_in_the_sums_of_the_processes(run: Run) -> None:
    assert run.prometheus.values("ollama_proxy_workers") == {(): 2}
    [start] = run.prometheus.values("time() - process_start_time_seconds").values()
    assert 0 < start < 600
    [descriptors] = run.prometheus.values("process_open_fds").values()
    assert descriptors > 20
    # A counter never falls: Prometheus would take that for a restart.
    [resets] = run.prometheus.values("resets(process_cpu_seconds_total[5m])").values()
    assert resets == 0


def dashboard_expressions() -> list[str]:
    panels = json.loads((ROOT / "deploy" / "grafana.json").read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    for variable, value in (("$job", ".+"), ("$__rate_interval", "5m"), ("$__range", "1h")):
        found = [expression.replace(variable, value) for expression in found]
    return found


def alert_expressions() -> list[str]:
    """The expressions of the alerts: what stands behind `expr:`, in one line or indented below."""
    found = re.findall(r"(?m)^ +expr: (?:\|\n((?: {10}.*\n)+)|(.+)$)", ALERTS.read_text())
    return [block or line for block, line in found]


def metric_names(page: str) -> set[str]:
    return {re.split(r"[{ ]", line)[0] for line in page.splitlines() if not line.startswith("#")}


def unknown_names(expression: str, known: set[str]) -> set[str]:
    return set(re.findall(r"\b(?:ollama_proxy|process)_\w+\b", expression)) - known


def test_every_expression_of_dashboard_and_alerts_is_read_and_asks_for_what_is_there(run: Run) -> None:
    known = metric_names(run.page)
    expressions = dashboard_expressions() + alert_expressions()
    assert len(dashboard_expressions()) > 30
    assert len(alert_expressions()) == ALERTS.read_text().count("- alert:")
    for expression in expressions:
        assert "$" not in expression, expression
        assert not unknown_names(expression, known), expression
        run.prometheus.ask(expression)


def test_every_panel_of_the_dashboard_shows_something(run: Run) -> None:
    empty = [expression for expression in dashboard_expressions() if not run.prometheus.ask(expression)]
    assert empty == []


def test_every_metric_is_in_the_docs_and_the_docs_name_no_other(run: Run) -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text()
    tables = text[text.index("## All metrics") : text.index("## The log")]
    rows = re.findall(r"(?m)^\| (`.+?`) \|", tables)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    there = set(re.findall(r"(?m)^# TYPE ollama_proxy_(\w+) ", run.page))
    # Of what is unknown there is no sample: this key has no limit of its own.
    assert named - there == {"credits_left_dollars"}
    assert there <= named


def key_state(state: str, values: str) -> dict[str, str]:
    return {f'ollama_proxy_key_state{{state="{state}"}}': values}


class TestAlerts:
    """`promtool test rules` says which series make an alert fire."""

    def test_the_rules_are_read(self) -> None:
        assert f"{ALERTS.read_text().count('- alert:')} rules found" in promtool("check", "rules", ALERTS)

    @pytest.mark.parametrize(
        ("series", "alert", "fires"),
        [
            pytest.param({"up": "1x20"}, "OllamaProxyDown", False, id="up"),
            pytest.param({"up": "0x20"}, "OllamaProxyDown", True, id="down"),
            pytest.param(key_state("refused", "0x20"), "OllamaProxyKeyRefused", False, id="key accepted"),
            pytest.param(key_state("refused", "1x20"), "OllamaProxyKeyRefused", True, id="key refused"),
            pytest.param(
                key_state("out of credits", "1x20") | {"ollama_proxy_key_accepted": "0x20"},
                "OllamaProxyKeyRefused",
                False,
                id="no credits, but the key is accepted",
            ),
            pytest.param(key_state("out of credits", "1x20"), "OllamaProxyNoCredits", True, id="no credits"),
            pytest.param(
                key_state("key limit", "0x8 1 0x9"), "OllamaProxyNoCredits", True, id="free models answer in between"
            ),
            pytest.param(key_state("key limit", "1 0x19"), "OllamaProxyNoCredits", False, id="credits again"),
            pytest.param(key_state("refused", "1x20"), "OllamaProxyNoCredits", False, id="refused is something else"),
            pytest.param(
                {"ollama_proxy_free_requests_left": "9x20", "ollama_proxy_free_requests_limit": "50x20"},
                "OllamaProxyQuotaNearlyGone",
                False,
                id="some requests left",
            ),
            pytest.param(
                {"ollama_proxy_free_requests_left": "4x20", "ollama_proxy_free_requests_limit": "50x20"},
                "OllamaProxyQuotaNearlyGone",
                True,
                id="few requests left",
            ),
            pytest.param(
                {"ollama_proxy_free_requests_used": "4x20"},
                "OllamaProxyQuotaNearlyGone",
                False,
                id="nobody knows how many are left",
            ),
            pytest.param(
                {
                    'ollama_proxy_answers_total{outcome="whole"}': "0+9x20",
                    'ollama_proxy_answers_total{outcome="failed"}': "0+2x20",
                },
                "OllamaProxyFailing",
                True,
                id="many fail",
            ),
            pytest.param(
                {
                    'ollama_proxy_answers_total{outcome="whole"}': "0+99x20",
                    'ollama_proxy_answers_total{outcome="failed"}': "0+2x20",
                },
                "OllamaProxyFailing",
                False,
                id="a few of many fail",
            ),
            pytest.param(
                {
                    'ollama_proxy_answers_total{outcome="whole"}': "0x20",
                    'ollama_proxy_answers_total{outcome="failed"}': "0 1x19",
                },
                "OllamaProxyFailing",
                False,
                id="the only request failed",
            ),
            pytest.param(
                {
                    'ollama_proxy_answers_total{outcome="whole"}': "0+9x20",
                    'ollama_proxy_answers_total{outcome="left"}': "0+9x20",
                },
                "OllamaProxyFailing",
                False,
                id="clients leave",
            ),
            pytest.param(
                {"ollama_proxy_database_degraded": "1x20"}, "OllamaProxyDatabaseDegraded", True, id="degraded"
            ),
            pytest.param(
                {"ollama_proxy_database_degraded": "0x20"}, "OllamaProxyDatabaseDegraded", False, id="not degraded"
            ),
            pytest.param({"ollama_proxy_catalog_models": "0x20"}, "OllamaProxyNoCatalogue", True, id="no models"),
            pytest.param({"ollama_proxy_catalog_models": "9x20"}, "OllamaProxyNoCatalogue", False, id="models"),
        ],
    )
    def test_an_alert_fires_when_it_should(
        self, tmp_path: Path, series: dict[str, str], alert: str, fires: bool
    ) -> None:
        given = []
        for name, values in series.items():
            base, _, rest = name.partition("{")
            inside = ",".join(filter(None, ['job="ollama-proxy"', 'instance="a:1"', rest.rstrip("}")]))
            given.append({"series": f"{base}{{{inside}}}", "values": values})
        # JSON is YAML. What an alert's texts say is not compared.
        rules = tmp_path / "rules.yml"
        rules.write_text(re.sub(r"(?m)^ {8}annotations:\n(?: {10}.*\n)+", "", ALERTS.read_text() + "\n"))
        severity = re.search(rf"alert: {alert}\n(?:.*\n)*?.*severity: (\w+)", ALERTS.read_text())
        assert severity is not None
        found = {"severity": severity[1], "job": "ollama-proxy", "instance": "a:1"}
        if state := re.search(r'state="([^"]+)"', "".join(series)):
            found["state"] = state[1]
        expected = [{"exp_labels": found}] if fires else []
        test = {
            "rule_files": [str(rules)],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": given,
                    "alert_rule_test": [{"eval_time": "18m", "alertname": alert, "exp_alerts": expected}],
                }
            ],
        }
        (tmp_path / "test.yml").write_text(json.dumps(test))
        promtool("test", "rules", tmp_path / "test.yml")
