from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.ollama.request.messages import Message, ToolCall
from ollama_proxy.ollama.request.tool_history import repair

USER = Message("user", "go on")


def calling(*calls: tuple[str, str], text: str = "") -> Message:
    return Message("assistant", text, calls=tuple(ToolCall(call_id, name, "{}") for call_id, name in calls))


def result(text: str, call_id: str = "", name: str = "") -> Message:
    return Message("tool", text, tool_name=name, tool_call_id=call_id)


def seen(messages: list[Message]) -> list[str]:
    """`> id name` for a call, `< id text` for a result, `role text` for the rest."""
    lines = []
    for message in messages:
        if message.role == "tool":
            lines.append(f"< {message.tool_call_id} {message.text}")
            continue
        if message.text or not message.calls:
            lines.append(f"{message.role} {message.text}")
        lines += [f"> {call.id} {call.name}" for call in message.calls]
    return lines


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param(
            [calling(("a1", "f"), ("b2", "g")), result("B", "b2"), result("A", "a1")],
            ["> a1 f", "> b2 g", "< a1 A", "< b2 B"],
            id="paired by id, in the order of the calls",
        ),
        pytest.param(
            [calling(("", "f"), ("", "g")), result("G", name="g"), result("F", name="f")],
            ["> call00001 f", "> call00002 g", "< call00001 F", "< call00002 G"],
            id="no ids: paired by name",
        ),
        pytest.param(
            [calling(("", "f"), ("", "f")), result("1", name="f"), result("2", name="f")],
            ["> call00001 f", "> call00002 f", "< call00001 1", "< call00002 2"],
            id="the same tool twice: by order",
        ),
        pytest.param(
            [calling(("", "f"), ("", "g")), result("1"), result("2")],
            ["> call00001 f", "> call00002 g", "< call00001 1", "< call00002 2"],
            id="neither ids nor names: by order",
        ),
        pytest.param(
            [calling(("", "f"), ("", "g")), result("1", "id1"), result("2", "id2")],
            ["> id1 f", "> id2 g", "< id1 1", "< id2 2"],
            id="calls without ids adopt those of their results",
        ),
        pytest.param(
            [calling(("x", "f"), ("y", "g")), result("1"), result("2", "x")],
            ["> x f", "> y g", "< x 2", "< y 1"],
            id="id first, then what is left",
        ),
        pytest.param(
            [calling(("call_0", "f")), result("1", "call_0"), calling(("call_0", "f")), result("2", "call_0")],
            ["> call_0 f", "< call_0 1", "> call00001 f", "< call00001 2"],
            id="an id used twice is replaced",
        ),
        pytest.param(
            [calling(("functions.f:0", "f")), result("1", "functions.f:0")],
            ["> call00001 f", "< call00001 1"],
            id="an id that providers refuse is replaced",
        ),
        pytest.param(
            [calling(("x" * 65, "f")), result("1", "x" * 65)], ["> call00001 f", "< call00001 1"], id="a long id too"
        ),
        pytest.param(
            [calling(("", "f")), Message("user", "the result"), Message("assistant", "ok")],
            [
                "> call00001 f",
                "< call00001 (the result is in the next message)",
                "user the result",
                "assistant ok",
            ],
            id="results as user text (Roo)",
        ),
        pytest.param(
            [calling(("", "f"))], ["> call00001 f", "< call00001 (no result was recorded)"], id="a call at the end"
        ),
        pytest.param(
            [calling(("", "f")), Message("assistant", "sorry")],
            ["> call00001 f", "< call00001 (no result was recorded)", "assistant sorry"],
            id="a call never answered",
        ),
        pytest.param(
            [USER, result("R", name="f"), USER],
            ["user go on", "user Tool result of f:\nR", "user go on"],
            id="a result without a call becomes user text",
        ),
        pytest.param(
            [calling(("", "f")), result("1"), result("2")],
            ["> call00001 f", "< call00001 1", "user Tool result:\n2"],
            id="one result too many",
        ),
        pytest.param(
            [calling(("", "f")), USER, result("1")],
            ["> call00001 f", "< call00001 1", "user go on"],
            id="a late result is moved to its call",
        ),
        pytest.param(
            [calling(("", "f"), text="first"), calling(("", "g")), result("1", name="f"), result("2", name="g")],
            ["assistant first", "> call00001 f", "> call00002 g", "< call00001 1", "< call00002 2"],
            id="parallel calls sent as messages of their own",
        ),
    ],
)
def test_repair(history: list[Message], expected: list[str]) -> None:
    assert seen(repair(history)) == expected


def test_a_history_without_tools_is_left_alone() -> None:
    history = [USER, Message("assistant", "hi"), Message("assistant", "again"), USER]
    assert repair(history) is history


def test_made_up_ids_depend_on_the_place_only() -> None:
    history = [calling(("", "f")), result("1")]
    assert repair([*history, USER, *history])[:2] == repair(history)


IDS = st.sampled_from(["", "a", "b", "call00001", "bad id", "x" * 70])
NAMES = st.sampled_from(["", "f", "g"])
MESSAGES = st.one_of(
    st.just(USER),
    st.just(Message("system", "s")),
    st.just(Message("assistant", "a")),
    st.lists(st.tuples(IDS, NAMES), min_size=1, max_size=3).map(lambda calls: calling(*calls)),
    st.builds(result, st.sampled_from(["r1", "r2", "r3"]), IDS, NAMES),
)


@given(st.lists(MESSAGES, max_size=12))
def test_every_call_is_answered_once_right_behind_it_and_nothing_is_lost(history: list[Message]) -> None:
    repaired = repair(history)
    open_ids: list[str] = []
    used: set[str] = set()
    for message in repaired:
        if message.role == "tool":
            assert open_ids, "a result without a call"
            assert message.tool_call_id == open_ids.pop(0)
            continue
        assert not open_ids, "a call without a result"
        open_ids = [call.id for call in message.calls]
        assert used.isdisjoint(open_ids)
        assert len(set(open_ids)) == len(open_ids)
        used.update(open_ids)
    assert not open_ids
    assert all(
        0 < len(call_id) <= 64 and set(call_id) <= set(string.ascii_letters + string.digits + "_-") for call_id in used
    )
    told = "".join(message.text for message in repaired)
    for text in ("r1", "r2", "r3"):
        assert told.count(text) == sum(message.text == text for message in history)
