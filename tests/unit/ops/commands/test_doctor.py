"""ops.commands.doctor: how findings are printed, and what counts as wrong."""

from __future__ import annotations

from ollama_proxy.ops.commands.doctor import print_findings
from ollama_proxy.ops.findings import Finding, Grade, findings_as_json, findings_from_json

FINDINGS = [Finding(Grade.FINE, "a", "x"), Finding(Grade.NOTE, "b", "y"), Finding(Grade.WRONG, "c", "z")]


def test_only_what_is_wrong_counts() -> None:
    said: list[str] = []
    assert print_findings(iter(FINDINGS), said.append) == 1
    assert [line.split()[0] for line in said] == ["ok", "note", "WRONG", "1"]
    assert print_findings(iter(FINDINGS[:2]), said.append) == 0
    assert said[-1] == "everything is fine"


def test_json_has_the_findings_in_their_order_and_how_many_are_wrong() -> None:
    told = findings_as_json(iter(FINDINGS))
    assert list(findings_from_json(told)) == FINDINGS
    assert told == {
        "findings": [
            {"grade": "ok", "subject": "a", "text": "x"},
            {"grade": "note", "subject": "b", "text": "y"},
            {"grade": "wrong", "subject": "c", "text": "z"},
        ],
        "wrong": 1,
    }
