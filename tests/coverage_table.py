"""`python -m tests.coverage_table FILE`: coverage's JSON report as a table with a line for each package.

What `make coverage` prints; the lines of each file are in htmlcov/index.html.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

HEAD = f"{'package':<12} {'lines':>7} {'missed':>7} {'branches':>9} {'missed':>7} {'covered':>8}"


def package_of(file: str) -> str:
    """The room that `ollama_proxy/room/.../file.py` is in; modules that are in none are "(top)"."""
    parts = PurePath(file).parts
    return parts[1] if len(parts) > 2 else "(top)"


def table(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of the table, from the `files` of the report; the last one is the total."""
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for file, report in files.items():
        numbers = {name: value for name, value in report["summary"].items() if isinstance(value, int)}
        sums[package_of(file)].update(numbers)
    total: Counter[str] = Counter()
    for package in sums.values():
        total.update(package)
    return [HEAD, *(_line(name, sums[name]) for name in sorted(sums)), _line("all", total)]


def _line(name: str, of: Mapping[str, int]) -> str:
    whole = of["num_statements"] + of["num_branches"]
    covered = 100 * (of["covered_lines"] + of["covered_branches"]) / whole if whole else 100
    return (
        f"{name:<12} {of['num_statements']:>7} {of['missing_lines']:>7} {of['num_branches']:>9} "
        f"{of['missing_branches']:>7} {covered:>7.1f}%"
    )


if __name__ == "__main__":
    print(*table(json.loads(Path(sys.argv[1]).read_text())["files"]), sep="\n")
