"""tests.coverage_table: files' figures added up by package."""

from __future__ import annotations

from tests.coverage_table import package_of, table


def figures(statements: int, missing: int, branches: int, partial: int) -> dict[str, dict[str, float]]:
    return {
        "summary": {
            "num_statements": statements,
            "missing_lines": missing,
            "covered_lines": statements - missing,
            "num_branches": branches,
            "missing_branches": partial,
            "covered_branches": branches - partial,
            "percent_covered": 12.5,
        }
    }


def test_a_file_counts_for_its_room() -> None:
    assert package_of("ollama_proxy/ollama/views/chat.py") == "ollama"
    assert package_of("ollama_proxy/config.py") == "(top)"


def test_files_are_added_up_and_lines_and_branches_count_alike() -> None:
    files = {
        "ollama_proxy/web/front.py": figures(60, 10, 20, 10),
        "ollama_proxy/web/a/b.py": figures(20, 0, 0, 0),
        "ollama_proxy/__init__.py": figures(0, 0, 0, 0),
    }
    rows = [line.split() for line in table(files)[1:]]
    assert rows == [
        ["(top)", "0", "0", "0", "0", "100.0%"],
        ["web", "80", "10", "20", "10", "80.0%"],
        ["all", "80", "10", "20", "10", "80.0%"],
    ]
