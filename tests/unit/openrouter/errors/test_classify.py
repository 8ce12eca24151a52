"""Who is to blame, for errors of every kind in own words, and for whatever else may come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ollama_proxy.openrouter.errors.classify import classify
from ollama_proxy.openrouter.errors.failure import Blame, Failure, FailureKind
from tests.unit.openrouter.errors.upstream_errors import (
    CREDITS,
    KEYS,
    NOW,
    PER_DAY,
    PRIVACY,
    error,
    event,
    verdict,
    wrapped,
)

SAME_KINDS: dict[tuple[Blame, int], dict[str, tuple[int, Any]]] = {
    (Blame.MODEL_RATE_LIMIT, 429): {
        "pool 429, raw text": (
            429,
            error(
                "Provider returned error",
                429,
                raw="acme/one:free is temporarily rate-limited upstream.",
                provider_name="Acme",
            ),
        ),
        "pool 429 by limit_source, provider null": (
            429,
            error("x", 429, limit_source="upstream_provider_shared_pool", provider_name=None),
        ),
        "429 without metadata": (429, error("Provider returned error", 429)),
        "429 of any provider": (429, wrapped(429, "Too many requests")),
        "429 by error_type of a provider": (429, error("busy", 429, error_type="provider_overloaded")),
        "429 named in the text": (429, error("Upstream error from Acme: slow down", 429)),
        "429 of one model at OpenRouter": (
            429,
            error("Rate limit exceeded: limit_rpm/acme/one/1. High demand for acme/one on OpenRouter", 429),
        ),
        "capacity exhausted": (
            429,
            {"error": {"code": 429, "message": "x", "availability": {"code": "capacity_exhausted"}}},
        ),
    },
    (Blame.UNKNOWN_LIMIT, 429): {
        "429 unknown": (429, error("Slow down.", 429, provider_name=None)),
        "429 web page": (429, b"<html><title>Error 1015</title></html>"),
        "429 empty body": (429, b""),
    },
    (Blame.ACCOUNT, 502): {
        "401": (401, error("User not found.", 401)),
        "401 without a body": (401, None),
        "402": (402, error("Insufficient credits. Add more using https://openrouter.ai/settings/credits", 402)),
        "402 in flight": (
            402,
            error(
                "This request would exceed your available credits given your current in-flight requests.",
                402,
                limit_source="openrouter_in_flight_budget",
            ),
        ),
        "403 key limit, weekly": (403, error(f"Key limit exceeded (weekly limit). Manage it using {KEYS}", 403)),
        "error is a string": (402, {"error": "Insufficient credits"}),
    },
    (Blame.MODEL_FAILING, 502): {
        "401 of a provider is not ours": (401, wrapped(401, "Invalid credentials")),
        "402 of a provider is not ours": (402, wrapped(402, "Balance too low")),
        "404 Not Found of a provider": (404, error("Not Found", 404, provider_name="Acme")),
        "500 masked": (500, error("Internal Server Error", 500, error_type="server")),
        "500 as a string": (500, error("Internal", "server_error")),
        "502 web page": (502, b"<html>Bad gateway</html>"),
        "520 web page": (520, b"<html>"),
    },
    (Blame.ADDRESS, 502): {
        "404 Not Found": (404, error("Not Found", 404)),
        "404 web page": (404, b"<html>nginx</html>"),
        "404 plain text": (404, b"404 page not found"),
        "404 empty": (404, b""),
        "404 of FastAPI": (404, {"detail": "Not Found"}),
        "404 of OpenAI": (404, {"error": {"message": "Invalid URL (POST /v1/x)", "type": "invalid_request_error"}}),
        "404 of Rails": (404, {"status": 404, "error": "Not Found"}),
        "405": (405, {"detail": "Method Not Allowed"}),
        "405 without a body": (405, b""),
        "501 web page": (501, b"<html>Unsupported method ('POST')</html>"),
        "301": (301, b""),
        "302": (302, b"<html>moved</html>"),
        "308": (308, b""),
    },
    (Blame.CAPABILITY, 502): {
        "403 unknown": (403, error("Forbidden", 403)),
        "403 unknown, said to be OpenRouter's": (403, error("You may not do this", 403, provider_name=None)),
        "403 web page": (403, b"<!DOCTYPE html><html><title>Just a moment...</title></html>"),
        "403 without a body": (403, b""),
    },
    (Blame.MODEL_GONE, 502): {
        "403 harness gate": (
            403,
            error(
                "acme/one:free is only available on agentic harnesses.",
                403,
                failed_routing_step="Gate Free Endpoints by Agentic Harness",
            ),
        ),
        "a provider's region": (403, wrapped(403, "Country, region, or territory not supported")),
        "a provider's location": (400, wrapped(400, "User location is not supported for the API use.")),
        "403 any gate": (403, error("no", 403, failed_routing_step="Gate Endpoints with Something New")),
        "region by availability": (
            404,
            {"error": {"code": 404, "message": "x", "availability": {"code": "region_restricted"}}},
        ),
    },
    (Blame.MODERATION, 400): {
        "403 moderation": (
            403,
            error('acme/one requires moderation on Acme. Your input was flagged for "violence".', 403),
        ),
        "403 moderation by metadata only": (403, error("no", 403, flagged_input="x", reasons=["hate"])),
        "403 terms of service": (
            403,
            error(
                "The request is prohibited due to a violation of provider Terms Of Service.", 403, provider_name=None
            ),
        ),
        "403 page of the firewall": (
            403,
            b"<!DOCTYPE html>\n<html><head><title>Attention Required! | Cloudflare</title></head><body></body></html>",
        ),
        "403 page of the firewall, other words": (403, b"<html><body><h1>Sorry, you have been blocked</h1></html>"),
        "400 moderation of a provider": (400, wrapped(400, "Content Exists Risk")),
    },
    (Blame.REQUEST, 400): {
        "403 injection guardrail": (
            403,
            error("Request blocked: prompt injection patterns detected", 403, patterns=["a"]),
        ),
        "404 output modalities": (
            404,
            error("No endpoints found that support the requested output modalities: image, text", 404),
        ),
        "404 an item of another day": (404, error("Item with id 'rs_0a1b2c3d4e5f' not found.", 404)),
        "404 an item, said by a provider": (404, wrapped(404, "Item with id 'rs_68a1' not found. Items are not kept.")),
        "400 ours": (400, error("'models' array must have 3 items or fewer.", 400)),
        "412 is a 400": (412, error("no", 412)),
        "400 with the vaguest type": (
            400,
            {"type": "error", "error": {"type": "api_error", "message": "messages: at least one"}},
        ),
    },
    (Blame.CAPABILITY, 400): {
        "403 of a provider": (403, wrapped(403, "Not for you")),
        "404 tools by step": (404, error("no", 404, failed_routing_step="Filter by Tool Compatibility")),
        "404 tools, old text": (404, error("No endpoints found that support tool use.", 404)),
        "404 audio input": (404, error("No endpoints found that support audio input", 404)),
        "404 any filter": (404, error("no", 404, failed_routing_step="Filter by Moon Phase")),
        "404 router": (404, error("No models match your request and model restrictions", 404)),
        "constraint filtered": (
            404,
            {"error": {"code": 404, "message": "x", "availability": {"code": "constraint_filtered"}}},
        ),
        "400 context": (
            400,
            error(
                "This endpoint's maximum context length is 10 tokens. However, you requested about 20 tokens"
                " (20 of text input).",
                400,
            ),
        ),
        "400 context of a provider": (400, wrapped(400, "The input token count (5) exceeds the maximum")),
        "context inside a 500": (500, wrapped(500, "prompt is too long: 9 tokens > 5 maximum")),
        "context by error_type only": (400, {"error": {"metadata": {"error_type": "context_length_exceeded"}}}),
        "400 of a provider": (400, wrapped(400, "tools.0.name: bad")),
        "raw as an object": (
            400,
            error("Provider returned error", 400, raw={"message": "prompt is too long"}, provider_name="A"),
        ),
        "402 size of the prompt": (
            402,
            error(
                "Prompt tokens limit exceeded: 64128 > 6964. To increase, visit"
                " https://openrouter.ai/settings/credits and upgrade to a paid account",
                402,
            ),
        ),
        "pinned provider": (
            404,
            error("No allowed providers are available. your request's provider.only preference", 404),
        ),
    },
    (Blame.MODEL_GONE, 404): {
        "404 withdrawn": (404, error("No endpoints found for acme/one:free.", 404)),
        "404 free period over": (
            404,
            error(
                "This model is unavailable for free. The paid version is available now - use this slug instead:"
                " acme/one",
                404,
            ),
        ),
        "404 became paid": (
            404,
            error("One is no longer available as a free model. It has transitioned to a paid model.", 404),
        ),
        "404 other words": (404, error("We know nothing of this one", 404)),
        "404 by label only": (404, {"error": {"code": "model_not_found"}}),
        "free variant ended": (
            404,
            {"error": {"code": 404, "message": "x", "availability": {"code": "free_variant_ended"}}},
        ),
        "400 not a valid id": (400, error("acme/none is not a valid model ID", 400)),
    },
    (Blame.PRIVACY, 502): {
        "404 data policy": (
            404,
            error(f"No endpoints found matching your data policy (Free model training). Configure: {PRIVACY}", 404),
        ),
        "404 guardrail by reasons": (404, error("0 endpoints", 404, ineligibility_reasons=[{"reason": "x"}])),
        "privacy by availability": (
            404,
            {"error": {"code": 404, "message": "x", "availability": {"code": "privacy_restricted"}}},
        ),
    },
    (Blame.MODEL_FAILING, 503): {
        "temporarily unavailable": (
            503,
            {"error": {"code": 503, "message": "x", "availability": {"code": "temporarily_unavailable"}}},
        ),
        "503": (503, error("There is no available model provider that meets your routing requirements", 503)),
        "529": (529, error("Overloaded", 529, error_type="provider_overloaded")),
        "code as a string": (400, error("Slow", "529")),
        "the code goes before the status": (400, error("Overloaded", 503)),
        "a code that is no status": (503, error("Overloaded", 1015)),
        "a named type before a vague code": (400, error("x", 400, error_type="provider_overloaded")),
        "padding before JSON": (200, b"\n      \n   " + json.dumps(error("Overloaded", 503)).encode()),
        "SSE text": (200, b': OPENROUTER PROCESSING\n\ndata: {"choices":[],"error":{"code":503,"message":"Busy"}}\n\n'),
    },
    (Blame.CAPABILITY, 422): {
        "422 of a provider": (422, wrapped(422, "bad field")),
    },
    (Blame.REQUEST, 413): {
        "413": (413, error("Request Entity Too Large", 413)),
    },
    (Blame.REQUEST, 422): {
        "422": (422, error("temperature: too hot", 422)),
    },
    (Blame.MODEL_FAILING, 504): {
        "408": (408, error("Request timed out", 408)),
        "524": (524, error("Provider timed out after 47709ms", 524)),
        "error_type at the top": (200, {"error_type": "timeout", "error": {"message": "x"}}),
    },
    (Blame.ACCOUNT_LIMIT, 429): {
        "cut JSON": (429, b'{"error":{"message":"Rate limit exceeded: free-models-per-day. Add'),
    },
}


@pytest.mark.parametrize(
    ("blame", "client", "status", "body"),
    [pytest.param(*kind, *case, id=name) for kind, cases in SAME_KINDS.items() for name, case in cases.items()],
)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["object", "bytes"])
def test_blame_and_client_status(blame: Blame, client: int, status: int, body: Any, as_bytes: bool) -> None:
    if as_bytes and isinstance(body, dict):
        body = json.dumps(body).encode()
    found = verdict(body, status)
    assert (found.blame, found.status) == (blame, client)
    assert found.reason
    assert found.refresh == (blame is Blame.MODEL_GONE and client == 404)


@pytest.mark.parametrize(
    ("kind", "client", "reason"),
    [
        (FailureKind.EMPTY, 502, "empty answer"),
        (FailureKind.EARLY_CLOSE, 502, "stream ended early"),
        (FailureKind.FIRST_TOKEN_TIMEOUT, 504, "no first token"),
        (FailureKind.READ_TIMEOUT, 504, "read timeout"),
        (FailureKind.TOTAL_TIMEOUT, 504, "answer took too long"),
        (FailureKind.MALFORMED, 502, "malformed answer"),
    ],
)
def test_failures_of_the_wire_blame_the_model(kind: FailureKind, client: int, reason: str) -> None:
    found = verdict(b"<html>secret page</html>", 200, kind)
    assert (found.blame, found.status, found.reason) == (Blame.MODEL_FAILING, client, reason)
    assert "upstream error" in found.message
    assert "page" not in found.message


def test_a_network_without_anything_sent_blames_no_model() -> None:
    found = classify(Failure(FailureKind.NETWORK, detail="ConnectionError", sent=False), now=NOW)
    assert (found.blame, found.status, found.retry_at) == (Blame.NETWORK, 502, None)
    assert found.message == "upstream error: OpenRouter cannot be reached (ConnectionError)"


def test_what_this_machine_lacks_is_said_and_blames_no_model() -> None:
    lacking = "this server is out of file descriptors: raise its limit (ulimit -n)"
    found = classify(Failure(FailureKind.OUT_OF_RESOURCES, detail=lacking, sent=False), now=NOW)
    assert (found.blame, found.status, found.message) == (Blame.NETWORK, 503, f"upstream error: {lacking}")


def test_no_answer_to_what_was_sent_blames_the_model() -> None:
    found = classify(Failure(FailureKind.NETWORK, detail="the connection was reset"), now=NOW)
    assert (found.blame, found.status, found.reason) == (Blame.MODEL_FAILING, 502, "no answer")
    assert found.message == "upstream error: the request was sent, and no answer came (the connection was reset)"


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(Failure(FailureKind.NOT_HTTP), id="not HTTP"),
        pytest.param(
            Failure(FailureKind.MALFORMED, 200, {"content-type": "text/html; charset=utf-8"}), id="a page in a 200"
        ),
    ],
)
def test_what_is_not_the_api_is_a_wrong_address(failure: Failure) -> None:
    found = classify(failure, now=NOW)
    assert (found.blame, found.status, found.refresh) == (Blame.ADDRESS, 502, False)
    assert "OPENROUTER_BASE_URL" in found.message


def test_a_404_inside_a_good_answer_is_no_wrong_address() -> None:
    assert event(error={"code": 404, "message": "Not Found"}).blame is Blame.MODEL_FAILING


def test_a_malformed_error_status_is_judged_by_its_status() -> None:
    assert verdict(b"<html>", 429, FailureKind.MALFORMED).blame is Blame.UNKNOWN_LIMIT


@pytest.mark.parametrize(
    ("chunk", "blame", "client"),
    [
        ({"choices": [], "error": {"code": 502, "message": "Network connection lost."}}, Blame.MODEL_FAILING, 502),
        ({"choices": [], "error": {"code": "server_error", "message": "no"}}, Blame.MODEL_FAILING, 502),
        (
            {"error": {"code": 503, "message": "Upstream error from Acme: Service temporarily overloaded"}},
            Blame.MODEL_FAILING,
            503,
        ),
        ({"error": {"code": 429, "message": "Too many"}, "provider": "Acme"}, Blame.MODEL_RATE_LIMIT, 429),
        ({"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-min. "}}, Blame.ACCOUNT_LIMIT, 429),
        (
            {"choices": [{"index": 0, "error": {"code": 504, "message": "late"}, "finish_reason": "error"}]},
            Blame.MODEL_FAILING,
            504,
        ),
        (
            {"choices": [{"delta": {}, "finish_reason": "error", "native_finish_reason": "SAFETY"}]},
            Blame.MODERATION,
            400,
        ),
        ({"choices": [{"delta": {}, "finish_reason": "error"}]}, Blame.MODEL_FAILING, 502),
        ({"error": {"code": 400, "message": "Bad thing"}}, Blame.CAPABILITY, 400),
        ({"error": {"code": 400, "message": "Input must have at least 1 token."}}, Blame.REQUEST, 400),
        (
            {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "x"}}},
            Blame.MODEL_RATE_LIMIT,
            429,
        ),
        (
            {"error": {"code": 429, "message": "Rate limit exceeded", "metadata": {"provider_name": None}}},
            Blame.UNKNOWN_LIMIT,
            429,
        ),
        (
            {"error": {"code": 429, "message": "Slow", "metadata": {"provider_name": None}}, "provider": "Acme"},
            Blame.UNKNOWN_LIMIT,
            429,
        ),
        ({"error": {"code": 401, "message": "User not found."}, "provider": "Acme"}, Blame.ACCOUNT, 502),
        ({"error": {"code": 401, "message": "Bad token"}, "provider": "Acme"}, Blame.MODEL_FAILING, 502),
        ({"type": "error", "error": {"type": "api_error", "message": CREDITS}}, Blame.ACCOUNT, 502),
        ({"response": {"error": {"code": "server_error", "message": CREDITS}}}, Blame.ACCOUNT, 502),
        ({"error": {"code": "server_error", "message": "image input is not supported"}}, Blame.CAPABILITY, 400),
        ({}, Blame.MODEL_FAILING, 502),
    ],
    ids=[
        "502",
        "code as a word",
        "503 in the text",
        "429 of the chunk's provider",
        "account limit",
        "error on the choice",
        "safety finish",
        "finish reason error",
        "unknown 400 is the model's",
        "our own bad request",
        "failed response",
        "429 of OpenRouter itself",
        "429 of OpenRouter itself in a provider's chunk",
        "401 of OpenRouter itself in a provider's chunk",
        "401 of the chunk's provider",
        "credits, named api_error",
        "credits, named server_error",
        "capability, named server_error",
        "nothing",
    ],
)
def test_error_inside_a_good_answer(chunk: dict[str, Any], blame: Blame, client: int) -> None:
    found = event(**chunk)
    assert (found.blame, found.status) == (blame, client)


@pytest.mark.parametrize(
    ("body", "status", "blame"),
    [
        pytest.param(wrapped(429, PER_DAY, ""), 429, Blame.ACCOUNT_LIMIT, id="wrapped once more"),
        pytest.param(error(PER_DAY, 403), 403, Blame.ACCOUNT_LIMIT, id="under another status"),
        pytest.param(wrapped(429, PER_DAY), 429, Blame.MODEL_RATE_LIMIT, id="said by a provider"),
        pytest.param(
            error("Invalid input: what is free-models-per-day?", 400), 400, Blame.REQUEST, id="quoted by a 400"
        ),
    ],
)
def test_a_free_limit_is_known_wherever_openrouter_itself_names_it(body: Any, status: int, blame: Blame) -> None:
    assert verdict(body, status).blame is blame


def test_an_upstream_error_from_a_provider_is_not_said_twice() -> None:
    found = event(error={"code": 502, "message": "Upstream error from Acme: out of workers"})
    assert found.message == "upstream error from Acme: out of workers"
