"""docs/contract.md, "Failures": the tokens that a refusal names."""

from __future__ import annotations

import pytest

from ollama_proxy.openrouter.errors.failure import Overflow
from ollama_proxy.openrouter.errors.token_budget import overflow
from tests.unit.openrouter.errors.upstream_errors import error, verdict, wrapped

TEXTS: dict[str, Overflow | None] = {
    "This endpoint's maximum context length is 131072 tokens. However, you requested about 212745 tokens (122163 of "
    "text input, 58582 of tool input, 32000 in the output).": Overflow(212745, 131072),
    "Requested token count exceeds the model's maximum context length of 32768 tokens. You requested a total of 32930 "
    "tokens: 21133 tokens from the input messages and 11797 tokens for the completion.": Overflow(32930, 32768),
    "prompt is too long: 212745 tokens > 200000 maximum": Overflow(212745, 200000),
    "Prompt tokens limit exceeded: 64128 > 6964": Overflow(64128, 6964),
    "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).": Overflow(
        1048577, 1048576
    ),
    "The input token count exceeds the maximum number of tokens allowed 1048576.": Overflow(None, 1048576),
    "This model's maximum context length is 8,192 tokens, however you requested 8,204 tokens (8204 in your prompt; 0 "
    "for the completion).": Overflow(8204, 8192),
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.": Overflow(
        9000, 8192
    ),
    "This model's maximum context length is 32768 tokens. However, you requested 0 output tokens and your prompt "
    "contains at least 32769 input tokens, for a total of at least 32769 tokens.": Overflow(32769, 32768),
    "Input length 32769 exceeds the maximum allowed input length of 32768 tokens": Overflow(32769, 32768),
    "The input (600 tokens) is longer than the model's context length (512 tokens).": Overflow(600, 512),
    "`inputs` must have less than 512 tokens. Given: 700": Overflow(700, 512),
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length": Overflow(
        40000, 32768
    ),
    "The request exceeds the available context size, try increasing it": Overflow(),
    "max_tokens: 9000 > 8192, which is the maximum allowed number of output tokens": None,
    "This model supports at most 8192 completion tokens": None,
    "This model's maximum context length is 9000 tokens. However, you requested about 800 tokens": None,
    "tools.0.name: only letters": None,
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_a_text_says_of_the_prompt(text: str) -> None:
    assert overflow(text) == TEXTS[text]


def test_a_verdict_has_the_numbers() -> None:
    said = (
        "This endpoint's maximum context length is 131072 tokens. However, you requested about 212745 tokens (9 of x)."
    )
    assert verdict(error(said, 400), 400).overflow == Overflow(212745, 131072)
    raw = "The input (600 tokens) is longer than the model's context length (512 tokens)."
    assert verdict(wrapped(400, raw), 400).overflow == Overflow(600, 512)
    assert verdict(error("no", 400, error_type="context_length_exceeded"), 400).overflow == Overflow()
    assert verdict(error("No endpoints found that support tool use.", 404), 404).overflow is None


@pytest.mark.parametrize(
    "text", ["length 1 " * 2_000, "token count 1 " * 1_000, "context length " * 1_000 + "1" * 9_000]
)
def test_a_text_made_to_keep_it_busy_does_not(text: str) -> None:
    overflow(text[:8_000])
