"""The documents say what the declarations say: every setting, with its default, and no other."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pytest

from ollama_proxy.config import VARIABLES, Settings, help_text, load_settings
from ollama_proxy.config.settings import Variable

ROOT = Path(__file__).resolve().parents[3]
GROUPS = {name: list(found) for name, found in groupby(VARIABLES.values(), key=lambda variable: str(variable.group))}


def section(document: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    return (ROOT / document).read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[str]:
    """The rows of all tables in `text` that begin with a variable."""
    return [line for line in text.splitlines() if re.match(r"\| `[A-Z_]+`", line)]


def default(variable: Variable) -> str:
    return f"`{variable.default}`" if variable.default_is_value else variable.default


def test_the_readme_has_a_row_for_each_setting() -> None:
    expected = [f"| `{one.name}` | {default(one)} | {one.help} |" for one in VARIABLES.values()]
    assert rows(section("README.md", "Settings")) == expected


@pytest.mark.parametrize("group", GROUPS)
def test_the_configuration_page_has_a_table_for_each_group(group: str) -> None:
    expected = [f"| `{one.name}` | {default(one)} | {one.allowed} | {one.help} |" for one in GROUPS[group]]
    assert rows(section("docs/configuration.md", group)) == expected


def test_the_configuration_page_names_no_setting_that_does_not_exist() -> None:
    """In a table's first column, or at the head of a paragraph."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    named = re.findall(r"^(?:\| )?`([A-Z][A-Z_]+)(?:=\w+)?`", text, re.MULTILINE)
    assert set(named) - VARIABLES.keys() == {"HTTPS_PROXY"}
    assert VARIABLES.keys() - set(named) == set()


def test_the_env_example_has_a_line_for_each_setting() -> None:
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert [name for name, _ in lines] == list(VARIABLES)
    for name, value in lines:
        if VARIABLES[name].default_is_value:
            assert value == VARIABLES[name].default, name
    shown = {name: value.strip('"') for name, value in lines if not name.endswith("_FILE")}
    # Every example can be used, and where the default is no text that can be written down, it stands for itself.
    assert load_settings(shown).allow_networks == Settings().allow_networks


def test_the_help_text_has_a_line_for_each_setting() -> None:
    lines = help_text().splitlines()
    assert [line for line in lines if line.startswith("  ")] == [
        line for line in lines if line and not line.endswith(":")
    ]
    words = [re.split(r" {2,}", line.strip()) for line in lines if line.startswith("  ")]
    assert words == [[one.name, one.default, one.help] for one in VARIABLES.values()]
    assert [line[:-1] for line in lines if line.endswith(":")] == list(GROUPS)
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("variable", VARIABLES.values(), ids=lambda variable: variable.name)
def test_a_default_that_is_shown_is_the_default(variable: Variable) -> None:
    if variable.default_is_value:
        field = variable.name.lower()
        assert getattr(load_settings({variable.name: variable.default}), field) == getattr(Settings(), field)
    else:
        assert variable.default
    assert variable.help
    assert variable.allowed
