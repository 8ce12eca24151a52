"""Reading and writing Modelfiles: Ollama's grammar and texts, and that what is written is read as it was."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.modelfile.modelfile import ROLES, Modelfile, ModelfileError
from ollama_proxy.modelfile.parameters import FLOATS, INTEGERS, parameter_texts, shown
from ollama_proxy.modelfile.parser import parse
from ollama_proxy.modelfile.writer import write

MARIO = '''\ufeff# A persona
FROM glm-5.2:free

system """
You are "Mario".
"""
PARAMETER temperature 0.6
parameter   num_ctx 8192
PARAMETER stop "USER:"
PARAMETER stop two words
PARAMETER use_mmap false
PARAMETER mirostat 1
# comments may stand between
TEMPLATE {{ .Prompt }}
LICENSE MIT
LICENSE "first
second"
MESSAGE user hello there
MESSAGE assistant """It's
me"""
RENDERER r
PARSER p
REQUIRES 0.14.0'''


def test_every_command() -> None:
    assert parse(MARIO) == Modelfile(
        base="glm-5.2:free",
        system='\nYou are "Mario".\n',
        template="{{ .Prompt }}",
        licenses=("MIT", "first\nsecond"),
        parameters={"temperature": 0.6, "num_ctx": 8192, "stop": ["USER:", "two words"], "use_mmap": False},
        messages=(("user", "hello there"), ("assistant", "It's\nme")),
        renderer="r",
        parser="p",
        requires="0.14.0",
        warnings=("warning: parameter mirostat is deprecated",),
    )


READ: dict[str, tuple[str, dict[str, Any]]] = {
    "the last FROM counts": ("FROM a\nFROM b", {"base": "b"}),
    "the last SYSTEM counts": ("FROM a\nSYSTEM x\nSYSTEM y", {"system": "y"}),
    "CR and LF": ("FROM a\r\nSYSTEM x y\r\n", {"base": "a", "system": "x y"}),
    "blanks around a value": ("FROM  \t a \nSYSTEM\tx", {"base": "a", "system": "x"}),
    "nothing behind a command": ("FROM a\nSYSTEM \nLICENSE x", {"system": "", "licenses": ("x",)}),
    "empty marks": ('FROM a\nSYSTEM ""\nLICENSE """"""', {"system": "", "licenses": ("",)}),
    "marks inside": ('FROM a\nSYSTEM say "hi"', {"system": 'say "hi"'}),
    "one mark more": ('FROM a\nSYSTEM """"x""""', {"system": '"x"'}),
    "a hash is no comment in a value": ("FROM a\nSYSTEM x # y", {"system": "x # y"}),
    "files": ("FROM a\nADAPTER ./x.gguf\nDRAFT y", {"files": (("adapter", "./x.gguf"), ("draft", "y"))}),
    "a float that is whole": ("FROM a\nPARAMETER top_p 1.0", {"parameters": {"top_p": 1}}),
    "a float with an exponent": ("FROM a\nPARAMETER top_p 1e-3", {"parameters": {"top_p": 0.001}}),
}


@pytest.mark.parametrize("case", READ.values(), ids=READ)
def test_read(case: tuple[str, dict[str, Any]]) -> None:
    found = parse(case[0])
    assert {name: getattr(found, name) for name in case[1]} == case[1]


COMMANDS = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
    '"parameter", "message", or "requires"'
)
REFUSED = {
    "nothing": ("", "no FROM line"),
    "no FROM": ("SYSTEM x", "no FROM line"),
    "an unknown command": ("FROM a\nBAD x\n", f"(line 2): {COMMANDS}"),
    "a command that is none": ('"FROM" a', f"(line 1): {COMMANDS}"),
    "a command alone": ("FROM a\nSYSTEM", "unexpected EOF"),
    "a role": ("FROM a\n\nMESSAGE tool x", '(line 3): message role must be one of "system", "user", or "assistant"'),
    "a role alone": ("FROM a\nMESSAGE user", "unexpected EOF"),
    "marks that never close": ('FROM a\nSYSTEM """x\n\n"', "unexpected EOF"),
    "a mark that never closes": ('FROM a\nSYSTEM "x', "unexpected EOF"),
    "an unknown parameter": ("FROM a\nPARAMETER x 1", "unknown parameter 'x'"),
    "a float": ("FROM a\nPARAMETER temperature hot", "invalid float value [hot]"),
    "not a number": ("FROM a\nPARAMETER temperature nan", "invalid float value [nan]"),
    "no end of a number": ("FROM a\nPARAMETER temperature 1e999", "invalid float value [1e999]"),
    "an integer": ("FROM a\nPARAMETER num_ctx 1.5", "invalid int value [1.5]"),
    "too large an integer": ("FROM a\nPARAMETER seed 9223372036854775808", "invalid int value [9223372036854775808]"),
    "a boolean": ("FROM a\nPARAMETER use_mmap yes", "invalid bool value [yes]"),
    "a version": ("FROM a\nREQUIRES new", "requires must be a valid semver (e.g. 0.14.0)"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused_in_ollamas_words(case: tuple[str, str]) -> None:
    with pytest.raises(ModelfileError) as caught:
        parse(case[0])
    assert str(caught.value) == case[1]


def test_what_is_written_has_ollamas_order_and_quoting() -> None:
    given = Modelfile(
        base="glm-5.2:free",
        system="You are Mario.",
        template="a\nb",
        licenses=('c\n"d"', " e"),
        parameters={"temperature": 0.6, "stop": ["USER:", "x "], "num_ctx": 1000000, "unknown": 1, "seed": "no"},
        messages=(("user", "hello"), ("assistant", "")),
    )
    assert write(given, "mario:latest") == (
        '# Modelfile generated by "ollama show"\n'
        "# To build a new Modelfile based on this, replace FROM with:\n"
        "# FROM mario:latest\n"
        "\n"
        "FROM glm-5.2:free\n"
        'TEMPLATE "a\nb"\n'
        "SYSTEM You are Mario.\n"
        "PARAMETER num_ctx 1000000\n"
        "PARAMETER stop USER:\n"
        'PARAMETER stop "x "\n'
        "PARAMETER temperature 0.6\n"
        'LICENSE """c\n"d""""\n'
        'LICENSE " e"\n'
        "MESSAGE user hello\n"
        'MESSAGE assistant ""\n'
    )


def test_the_field_parameters_is_as_go_prints_it() -> None:
    given = {
        "temperature": 0.6,
        "stop": ["USER:", 'a"\n'],
        "top_p": 1000000.0,
        "num_ctx": 1000000,
        "x": None,
        "y": 1e-7,
    }
    assert shown(given).splitlines() == [
        "num_ctx                        1000000",
        'stop                           "USER:"',
        'stop                           "a\\"\\n"',
        "temperature                    0.6",
        "top_p                          1e+06",
        "x                              <nil>",
        "y                              1e-07",
    ]


def test_a_line_that_ends_with_three_marks_cannot_end_the_text() -> None:
    written = write(Modelfile(base="a", system='x """ \nFROM evil\n"""'), "b")
    assert parse(written).base == "a"
    assert parse(written).system == "x ''' \nFROM evil\n\"\"\""


TEXTS = st.text(alphabet='ab" \t\n\r#\u00a0\u2028\x1c🍄', max_size=30) | st.text(max_size=30)
NO_MARKS = TEXTS.map(lambda text: text.replace('"""', "'").replace("\0", ""))
MODELFILES = st.builds(
    Modelfile,
    base=st.sampled_from(["free:latest", "z-ai/glm-5.2:free"]),
    system=NO_MARKS,
    template=NO_MARKS,
    licenses=st.lists(NO_MARKS, max_size=3).map(tuple),
    parameters=st.dictionaries(st.sampled_from(sorted(INTEGERS)), st.integers(-(2**63), 2**63 - 1), max_size=3)
    | st.dictionaries(st.sampled_from(sorted(FLOATS)), st.floats(allow_nan=False, allow_infinity=False), max_size=3)
    | st.fixed_dictionaries({"stop": st.lists(NO_MARKS, min_size=1, max_size=3)}),
    messages=st.lists(st.tuples(st.sampled_from(ROLES), NO_MARKS), max_size=3).map(tuple),
    requires=st.sampled_from(["", "0.14.0"]),
)


@given(MODELFILES)
def test_what_is_written_is_read_as_it_was(modelfile: Modelfile) -> None:
    found = parse(write(modelfile, "x:latest"))
    assert found == modelfile


@given(st.text(alphabet='FROMfromPARAMETER "\n\r#x1', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ModelfileError):
        parse(text)


@given(
    st.dictionaries(
        st.sampled_from(["stop", "seed", "top_p", "use_mmap", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=2),
        ),
    )
)
def test_any_parameters_can_be_shown(parameters: dict[str, Any]) -> None:
    shown(parameters)
    list(parameter_texts(parameters))


@pytest.mark.parametrize(
    "text",
    ['FROM a\nSYSTEM """' + "\n" * 500_000, 'FROM a\nSYSTEM "' + " \n" * 300_000, "#" * 600_000, "\n" * 600_000,
     "FROM a\n" * 90_000, 'FROM a\nSYSTEM """' + '"\n' * 300_000],
)  # fmt: skip
def test_a_long_text_takes_time_in_proportion(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(ModelfileError):
        parse(text)
    assert time.process_time() - began < 3
