"""pyproject.toml and requirements.txt speak of the same packages."""

from __future__ import annotations

import tomllib

from packaging.requirements import Requirement

from tests.servers import ROOT


def pinned() -> dict[str, Requirement]:
    """The lines of requirements.txt by the package's name with its extras."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return by_name([line for line in lines if line and not line.startswith("#")])


def declared() -> dict[str, Requirement]:
    return by_name(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])


def by_name(lines: list[str]) -> dict[str, Requirement]:
    found = [Requirement(line) for line in lines]
    return {f"{one.name.lower()}{sorted(one.extras)}": one for one in found}


def test_both_name_the_same_packages() -> None:
    assert sorted(pinned()) == sorted(declared())


def test_what_is_pinned_is_what_an_installation_may_take() -> None:
    for name, requirement in declared().items():
        [pin] = pinned()[name].specifier
        assert pin.operator == "=="
        assert [bound.operator for bound in requirement.specifier] == [">="]
        assert pin.version in requirement.specifier
