"""ops.commands: what holds for every command, those to come too."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from ollama_proxy.__main__ import command
from ollama_proxy.ops.commands import COMMANDS, LazyCommand, asking


def all_commands(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below `group`, groups too, with the words that call it."""
    for name, found in group.commands.items():
        words = (*above, name)
        real = found.load() if isinstance(found, LazyCommand) else found
        yield words, real
        if isinstance(real, click.Group):
            yield from all_commands(real, *words)


ALL = dict(all_commands(command))


def test_every_registered_command_is_there_under_its_name() -> None:
    assert set(COMMANDS) | {"serve"} == {words[0] for words in ALL if len(words) == 1}
    assert all(words[-1] == found.name for words, found in ALL.items())


@pytest.mark.parametrize("words", [(), *ALL], ids=lambda words: " ".join(words) or "ollama-proxy")
def test_help_shows_examples_and_needs_no_settings(words: tuple[str, ...]) -> None:
    ended = CliRunner().invoke(command, [*words, "--help"], prog_name="ollama-proxy", env={"PORT": "eleven"})
    assert ended.exit_code == 0, ended.output
    assert ended.output.startswith(" ".join(("Usage: ollama-proxy", *words)))
    assert "Examples:\n" in ended.output
    assert ended.output.partition("Examples:\n")[2].strip()


@pytest.mark.parametrize("words", [("models",), ("doctor",), ("failures", "list"), ("db", "current")], ids=" ".join)
def test_what_prints_data_can_print_json(words: tuple[str, ...]) -> None:
    assert "--json" in {option for parameter in ALL[words].params for option in parameter.opts}


@pytest.mark.parametrize("words", [(), ("db",), ("failures",)], ids=lambda words: " ".join(words) or "ollama-proxy")
def test_the_list_of_commands_has_one_whole_line_for_each(words: tuple[str, ...]) -> None:
    output = CliRunner().invoke(command, [*words, "--help"], terminal_width=80).output
    listed = output.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    below = {found[-1] for found in ALL if found[:-1] == words}
    assert sorted(line.split()[0] for line in listed) == sorted(below)
    assert not [line for line in listed if line.endswith("...")]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("failures", "clear", ""), id="no model"),
        pytest.param(("failures", "clear", "."), id="an address ends before it"),
        pytest.param(("failures", "clear", "../log"), id="another address"),
        pytest.param(("failures", "clear", "nimbus/"), id="half a model"),
        pytest.param(("log", "clear", "--caller", ""), id="no caller"),
        pytest.param(("log", "--caller", ""), id="nobody's log"),
        pytest.param(("log", "--model", ""), id="no model's log"),
    ],
)
def test_an_empty_name_does_not_mean_all(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """A script whose variable is empty must not remove everything."""

    def ask(*_: object) -> None:
        raise AssertionError("a server is asked")

    monkeypatch.setattr(asking, "ask", ask)
    ended = CliRunner().invoke(command, [*words, "--url", "http://127.0.0.1:1"])
    assert ended.exit_code == 2, ended.output
    assert "is no name: leave it out to mean all" in ended.output
