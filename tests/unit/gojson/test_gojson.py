from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.errors import BadRequest
from ollama_proxy.gojson.codec import decode_object, encode_body, encode_part, parse_body
from ollama_proxy.gojson.syntax import syntax_error
from ollama_proxy.gojson.text import quote
from ollama_proxy.limits import CONTAINERS, VALUES


@pytest.mark.parametrize(
    ("body", "value"),
    [
        pytest.param(b'{"model":"x"}', {"model": "x"}, id="plain"),
        pytest.param(b"null", {}, id="null body is an empty object"),
        pytest.param(b' \n{"a":1} ', {"a": 1}, id="white space around"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', {"a": 1}, id="byte order mark"),
        pytest.param(b'{"a":1}{"b":2}', {"a": 1}, id="a second value is ignored"),
        pytest.param(b'{"a":1} trailing', {"a": 1}, id="trailing bytes are ignored"),
        pytest.param(b'{"a":"\xff"}', {"a": "\ufffd"}, id="bad UTF-8"),
        pytest.param(b'{"a":"\\ud83d"}', {"a": "\ufffd"}, id="lone surrogate"),
        pytest.param(b'{"a":["\\uD83D\\uDE00 \\ude00"]}', {"a": ["\U0001f600 \ufffd"]}, id="pair kept, lone replaced"),
        pytest.param(b'{"a":"\\\\ud800 \\\\\\ud800"}', {"a": "\\ud800 \\\ufffd"}, id="escaped backslash before a u"),
        pytest.param(b'{"a":"\\ud800\\ud800\\udc00\\udc00"}', {"a": "\ufffd\U00010000\ufffd"}, id="lone, pair, lone"),
        pytest.param(b'{"\\ud800":1,"b":2}', {"\ufffd": 1, "b": 2}, id="lone surrogate in a key"),
        pytest.param(b'{"a":1,"a":2}', {"a": 2}, id="later duplicate wins"),
        pytest.param(b'{"MODEL":"x"}', {"model": "x"}, id="names without case"),
        pytest.param(b'{"model":"x","Model":"y"}', {"model": "y"}, id="later spelling wins"),
        pytest.param(b'{"model":"x","Model":null}', {"model": "x"}, id="null is absent"),
        pytest.param(b'{"a":123456789012345678901234567890}', {"a": 123456789012345678901234567890.0}, id="huge int"),
        pytest.param(b'{"a":-123456789012345678901234567890}x', {"a": -1.2345678901234568e29}, id="huge, slow path"),
        pytest.param(b'{"a":1234567890123456789}x', {"a": 1234567890123456789}, id="64 bits stay exact"),
    ],
)
def test_accepts(body: bytes, value: dict) -> None:
    assert decode_object(body, struct="ChatRequest") == value


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b" \r\n\t", "missing request body"),
        (b"\xef\xbb\xbf", "missing request body"),
        (b"{", "unexpected EOF"),
        (b'{"model', "unexpected EOF"),
        (b'{"model"', "unexpected EOF"),
        (b'{"model":', "unexpected EOF"),
        (b'{"model":"x"', "unexpected EOF"),
        (b"[1,", "unexpected EOF"),
        (b"nul", "unexpected EOF"),
        (b"-", "unexpected EOF"),
        (b'"\\', "unexpected EOF"),
        (b'"\\u12', "unexpected EOF"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"[tRue]", "invalid character 'R' in literal true (expecting 'r')"),
        (b'{"model":"x",}', "invalid character '}' looking for beginning of object key string"),
        (b"{,}", "invalid character ',' looking for beginning of object key string"),
        (b"x...", "invalid character 'x' looking for beginning of value"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"model=x&stream=1", "invalid character 'm' looking for beginning of value"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"[1}", "invalid character '}' after array element"),
        (b"[01]", "invalid character '1' after array element"),
        (b"00", "invalid character '0' after top-level value"),
        (b"[-x]", "invalid character 'x' in numeric literal"),
        (b"[1.]", "invalid character ']' after decimal point in numeric literal"),
        (b"[1e]", "invalid character ']' in exponent of numeric literal"),
        (b"[1e+]", "invalid character ']' in exponent of numeric literal"),
        (b'"a\nb"', "invalid character '\\n' in string literal"),
        (b'"\x01"', "invalid character '\\x01' in string literal"),
        (b'"\\x"', "invalid character 'x' in string escape code"),
        (b'"\\u00g0"', "invalid character 'g' in \\u hexadecimal character escape"),
        (b"'x'", "invalid character '\\'' looking for beginning of value"),
        (b'{"a":NaN}', "invalid character 'N' looking for beginning of value"),
        (b'{"a":-Infinity}', "invalid character 'I' in numeric literal"),
        ("{é:1}".encode(), "invalid character 'Ã' looking for beginning of object key string"),
        (b'{"a":1e999}', "json: cannot unmarshal number 1e999 into Go value of type float64"),
        (b"[" * 5000, "exceeded max depth"),
        (b'{"a":' * 100_000, "exceeded max depth"),
        (b"[" * 2000 + b"]" * 2000, "exceeded max depth"),
        (b"\xef\xbb\xbf" + b"[" * 200_000, "exceeded max depth"),
        (b"[]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        (b'"x"', "json: cannot unmarshal string into Go value of type api.ChatRequest"),
        (b"5", "json: cannot unmarshal number into Go value of type api.ChatRequest"),
        (b"true", "json: cannot unmarshal bool into Go value of type api.ChatRequest"),
    ],
)
def test_refuses_in_gos_words(body: bytes, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_object(body, struct="ChatRequest")
    assert caught.value.message == text
    assert caught.value.status == 400


def test_a_mistake_at_the_end_of_a_long_body_is_found_without_scanning_it_all() -> None:
    text = "[" + "1," * 3_000_000 + "x"
    start = time.process_time()
    assert syntax_error(text) == "invalid JSON"
    assert time.process_time() - start < 1


def test_a_mistake_behind_a_long_run_of_escapes_is_not_looked_for() -> None:
    text = '["' + '\\"' * 5_000_000
    start = time.process_time()
    assert syntax_error(text) == "invalid JSON"
    assert time.process_time() - start < 0.1


FEW = CONTAINERS - 2
MANY = {
    "lists": b"[" + b"[]," * VALUES * 2 + b"[]]",
    "objects": b'{"messages":[' + b"{}," * VALUES * 2 + b"{}]}",
    "texts": b"[" + b'"",' * VALUES * 3 + b'""]',
    "texts with escapes": b"[" + rb'"\\",' * VALUES * 2 + b'""]',
    "numbers": b"[" + b"0," * VALUES * 30 + b"0]",
    "no JSON": b'"' * VALUES * 30 + b"," * VALUES * 2,
}


@pytest.mark.parametrize("body", MANY.values(), ids=MANY)
def test_more_values_than_any_request_needs_are_refused_unread(body: bytes) -> None:
    start = time.process_time()
    with pytest.raises(BadRequest, match=f"^the request body holds more than {VALUES} values$"):
        parse_body(body)
    assert time.process_time() - start < 0.5


NOT_SO_MANY = {
    "as many as are taken": b"[" + b'{"a":0},' * FEW + b"{}]",
    "commas in a text": b'{"a":"' + b"a," * VALUES * 2 + b'"}',
    "commas in a text with quotes in it": b'{"a":"' + rb"\"," * VALUES * 2 + b'"}',
    "commas in a text that ends in a backslash": b'{"a":"' + b"," * VALUES * 2 + rb'\\"}',
}


@pytest.mark.parametrize("body", NOT_SO_MANY.values(), ids=NOT_SO_MANY)
def test_texts_may_hold_as_many_commas_as_a_window_has_tokens(body: bytes) -> None:
    assert parse_body(body) == json.loads(body)


def test_what_is_too_deep_to_be_written_is_refused() -> None:
    deep: list = []
    for _ in range(260):
        deep = [deep]
    with pytest.raises(BadRequest, match="exceeded max depth"):
        encode_body(deep)
    assert encode_body({"a": [1]}) == encode_part({"a": [1]}) == b'{"a":[1]}'


def test_a_long_value_is_not_echoed_whole() -> None:
    assert len(quote("x" * 10_000)) < 300


@given(st.binary(max_size=40) | st.text('{}[]",:\\u0dD8eE-+.1 ntf\n\ufeffa', max_size=30).map(str.encode))
def test_any_bytes_are_a_value_or_a_refusal(body: bytes) -> None:
    try:
        told = encode_body(parse_body(body)).decode()
    except BadRequest as refusal:
        told = refusal.message
    assert told
    assert told != "invalid JSON", "the scanner found nothing where the parser did"
    assert "\n" not in told
