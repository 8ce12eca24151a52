"""What the doctor finds: one line each. Pure; who looks is in `checks.py` and `machine_checks.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Grade(StrEnum):
    """How a finding is printed. Only WRONG changes the exit code."""

    FINE = "ok"
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: how it is, what was looked at, and the words."""

    grade: Grade
    subject: str
    text: str


def findings_as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """What `doctor --json` prints: the findings in their order, and how many of them are wrong."""
    found = [{"grade": finding.grade.lower(), "subject": finding.subject, "text": finding.text} for finding in findings]
    return {"findings": found, "wrong": sum(one["grade"] == Grade.WRONG.lower() for one in found)}


def findings_from_json(report: Mapping[str, Any]) -> Iterator[Finding]:
    """The findings that `findings_as_json` made JSON of. Raises KeyError for what it did not make."""
    grades = {grade.lower(): grade for grade in Grade}
    for one in report["findings"]:
        yield Finding(grades.get(one["grade"], Grade.NOTE), str(one["subject"]), str(one["text"]))
