"""Every error the simulator can return, by name: status, headers and body in OpenRouter's shapes.

Pure. Shapes and texts: OpenRouter's public documentation of errors, limits and provider routing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
PRIVACY = "https://openrouter.ai/settings/privacy"
ROUTING_DOCS = "https://openrouter.ai/docs/guides/routing/provider-selection"
INTEGRATIONS = "https://openrouter.ai/settings/integrations"
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The values in the texts. `reset_in`, `retry_after`: seconds; `base`: the epoch seconds from which reset_in
    counts.
    """

    model: str = "some/model"
    base: float = 0.0
    reset_in: float | None = None
    retry_after: int | None = None
    limit: int | None = None
    affordable: int = 100


@dataclass(frozen=True, slots=True)
class HttpError:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def error(self) -> Json:
        """The `error` object, for use inside a 200; made up where the body has none."""
        if isinstance(self.body, dict) and isinstance(self.body.get("error"), dict):
            found: Json = self.body["error"]
            return found if "code" in found else {**found, "code": self.status}
        return {"code": self.status, "message": "Provider returned error"}


def error(status: int, message: str, metadata: Json | None = None, *, user: bool = False) -> HttpError:
    inner: Json = {"message": message, "code": status}
    if metadata is not None:
        inner["metadata"] = metadata
    body: Json = {"error": inner}
    if user:
        body["user_id"] = "user_simulated000000000000000"
    return HttpError(status, body)


def _routing(status: int, message: str, step: str, endpoints: int = 1) -> HttpError:
    funnel = [{"step": "Initial Endpoints", "endpoint_count": endpoints}]
    return error(status, message, {"routing_funnel": funnel, "failed_routing_step": step})


def _provider(status: int, raw: str, code: str, **more: Any) -> HttpError:
    metadata = {"raw": raw, "provider_name": "Simulated", "is_byok": False, "provider_error_code": code, **more}
    return error(status, "Provider returned error", metadata, user=True)


def _pool(c: Circumstances, *, retry: bool) -> HttpError:
    raw = (
        f"{c.model} is temporarily rate-limited upstream. Please retry shortly, or add your own key to accumulate "
        f"your rate limits: {INTEGRATIONS}"
    )
    more: Json = {
        "limit_source": "upstream_provider_shared_pool",
        "remedy_hint": f"Retry shortly, add your own provider key ({INTEGRATIONS}), or route to another model.",
    }
    wait = c.retry_after if c.retry_after is not None else 1 if retry else None
    if wait is None:
        return _provider(429, raw, "429", **more)
    more |= {"headers": {"Retry-After": str(wait)}, "retry_after_seconds": wait, "retry_after_seconds_raw": float(wait)}
    made = _provider(429, raw, "rate_limit_exceeded", **more)
    return HttpError(429, made.body, {"Retry-After": str(wait)})


def _account(c: Circumstances, text: str, limit: int, *, window: int, source: str) -> HttpError:
    now = c.base or time.time()
    reset = now + c.reset_in if c.reset_in is not None else (time.time() // window + 1) * window
    headers = {
        "X-RateLimit-Limit": str(c.limit or limit),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(reset * 1000)),
    }
    metadata = {
        "headers": headers,
        "limit_source": source,
        "remedy_hint": "Wait for the reset (see X-RateLimit-Reset), or purchase credits.",
        "provider_name": None,
    }
    return error(429, f"Rate limit exceeded: {text}", metadata, user=True)


def _daily(c: Circumstances, text: str, limit: int) -> HttpError:
    return _account(c, text, limit, window=DAY, source="openrouter_free_tier_daily")


def _html(status: int, title: str) -> HttpError:
    page = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return HttpError(status, page, {"Content-Type": "text/html; charset=UTF-8"})


def _retry(made: HttpError, seconds: int) -> HttpError:
    return HttpError(made.status, made.body, {"Retry-After": str(seconds)})


def _context(c: Circumstances) -> HttpError:
    text = (
        f"This endpoint's maximum context length is {c.limit or 32768} tokens. However, you requested about 99000 "
        "tokens (98000 of text input, 1000 in the output). Please reduce the length of either one, or use the "
        "context-compression plugin to compress your prompt automatically."
    )
    return error(400, text, {"provider_name": None})


def _guardrail(c: Circumstances) -> HttpError:
    text = (
        "0 endpoints out of 1 requested are available matching your guardrail restrictions and data policy. We "
        "removed them for the following reasons (an endpoint may have matched multiple reasons):\n"
        f"Free model training violation (guardrail): 1 endpoint excluded; configurable at {PRIVACY}"
    )
    reasons = [{"reason": "free-model-training-violation-by-guardrail", "endpoint_count": 1}]
    step = "Filter by Guardrails"
    return error(404, text, {"input_endpoint_count": 1, "ineligibility_reasons": reasons, "failed_routing_step": step})


def _moderation(c: Circumstances) -> HttpError:
    text = (
        f'{c.model} requires moderation on Simulated. Your input was flagged for "violence". No credits were charged.'
    )
    return error(403, text, {"reasons": ["violence"], "flagged_input": "PRIVATE flagged words"})


def _in_flight(c: Circumstances) -> HttpError:
    text = "This request would exceed your available credits given your current in-flight requests. Please retry later."
    made = error(402, text, {"limit_source": "openrouter_in_flight_budget", "provider_name": None})
    return _retry(made, 120)


def _fewer(c: Circumstances) -> HttpError:
    text = (
        "This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only "
        f"afford {c.affordable}. To increase, visit https://openrouter.ai/settings/credits and add more credits"
    )
    return error(402, text, {"limit_source": "openrouter_credits", "provider_name": None}, user=True)


def _zod(_: Circumstances) -> HttpError:
    problem = (
        '[\n  {\n    "expected": "string",\n    "code": "invalid_type",\n    "path": [\n      "input"\n    ]\n  }\n]'
    )
    return HttpError(400, {"success": False, "error": {"name": "ZodError", "message": problem}})


_LIMITS: dict[str, Callable[[Circumstances], HttpError]] = {
    "pool_429": lambda c: _pool(c, retry=False),
    "pool_429_retry_after": lambda c: _pool(c, retry=True),
    "free_per_min": lambda c: _account(
        c, "free-models-per-min. ", 20, window=60, source="openrouter_free_tier_per_minute"
    ),
    "free_per_day": lambda c: _daily(
        c, "free-models-per-day. Add 10 credits to unlock 1000 free model requests per day", 50
    ),
    "free_per_day_high_balance": lambda c: _daily(c, "free-models-per-day-high-balance. ", 1000),
    "stealth_per_day": lambda c: _daily(c, "free-models-per-day-stealth. ", 1000),
    "unknown_429": lambda c: error(429, "Too many requests, slow down.", {"provider_name": None}),
    "429_html": lambda c: _html(429, "Error 1015: You are being rate limited"),
}

_KEY_AND_CREDITS: dict[str, Callable[[Circumstances], HttpError]] = {
    "401_missing": lambda c: error(401, "Missing Authentication header"),
    "401_no_cookie": lambda c: error(401, "No cookie auth credentials found"),
    "401_bad_key": lambda c: error(401, "User not found."),
    "402_credits": lambda c: error(
        402, "Insufficient credits. Add more using https://openrouter.ai/settings/credits", user=True
    ),
    "402_fewer_tokens": _fewer,
    "402_in_flight": _in_flight,
    "403_key_limit": lambda c: error(
        403, "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys", user=True
    ),
    "403_gate": lambda c: _routing(
        403,
        f"{c.model} is only available on agentic harnesses. Try plugging it into a coding agent or productivity app "
        "listed on https://openrouter.ai/apps",
        "Gate Free Endpoints by Agentic Harness",
    ),
    "403_attestation": lambda c: error(
        403,
        "This model requires you to complete the following before use: 18+ age confirmation. Confirm at "
        "https://openrouter.ai/settings/preferences.",
        {"missing_attestation_types": ["age_18plus"], "failed_routing_step": "Gate Endpoints with Attestations"},
    ),
    "403_region": lambda c: _routing(
        403, "This model is not available in your region.", "Gate Endpoints with Geo Restrictions", 5
    ),
    "403_moderation": _moderation,
    "403_patterns": lambda c: error(
        403, "Request blocked: prompt injection patterns detected", {"patterns": ["PRIVATE pattern"]}
    ),
    "403_unknown": lambda c: error(403, "Forbidden"),
}

_ROUTING: dict[str, Callable[[Circumstances], HttpError]] = {
    "404_no_endpoints": lambda c: error(404, f"No endpoints found for {c.model}.", user=True),
    "404_free_ended": lambda c: error(
        404,
        "This model is unavailable for free. The paid version is available now - use this slug instead: "
        + c.model.removesuffix(":free"),
    ),
    "404_transitioned": lambda c: error(
        404,
        f"{c.model} is no longer available as a free model. It has transitioned to a paid model. Continue using it "
        "here: https://openrouter.ai/" + c.model.removesuffix(":free"),
    ),
    "404_tools": lambda c: _routing(
        404,
        'No endpoints found that support tool use. Try disabling "get_weather". To learn more about provider '
        f"routing, visit: {ROUTING_DOCS}",
        "Filter by Tool Compatibility",
    ),
    "404_tool_choice": lambda c: error(
        404, f"No endpoints found that support the provided 'tool_choice' value. To learn more, visit: {ROUTING_DOCS}"
    ),
    "404_image": lambda c: _routing(404, "No endpoints found that support image input", "Filter by Image Support"),
    "404_modalities": lambda c: error(
        404, "No endpoints found that support the requested output modalities: image, text"
    ),
    "404_params": lambda c: _routing(
        404, "No endpoints found that can handle the requested parameters.", "Filter by Parameters", 7
    ),
    "404_privacy": lambda c: _routing(
        404,
        f"No endpoints found matching your data policy (Free model training). Configure: {PRIVACY}",
        "Filter by Data Policy",
    ),
    "404_guardrail": _guardrail,
    "404_guardrail_old": lambda c: error(
        404, f"No endpoints available matching your guardrail restrictions and data policy. Configure: {PRIVACY}"
    ),
    "404_allowed_providers": lambda c: error(
        404,
        "No allowed providers are available for the selected model.",
        {
            "available_providers": ["simulated"],
            "requested_providers": ["other"],
            "failed_routing_step": "Filter by Allowed Providers",
        },
    ),
    "404_ignored_providers": lambda c: error(
        404,
        f"All providers have been ignored. To change your default ignored providers, visit: {PRIVACY}",
        {"failed_routing_step": "Filter by Ignored Providers"},
    ),
    "404_router": lambda c: error(404, "No models match your request and model restrictions"),
    "404_not_found": lambda c: error(404, "Not Found"),
}

_REQUEST: dict[str, Callable[[Circumstances], HttpError]] = {
    "400_not_valid_id": lambda c: error(400, f"{c.model} is not a valid model ID", user=True),
    "400_context": _context,
    "400_context_provider": lambda c: _provider(
        400,
        '{"error":{"message":"Requested token count exceeds the model\'s maximum context length of 32768 tokens.",'
        '"type":"invalid_request_error"}}',
        "400",
    ),
    "400_reasoning_mandatory": lambda c: error(
        400, "Reasoning is mandatory for this endpoint and cannot be disabled.", {"provider_name": None}
    ),
    "400_models_array": lambda c: error(400, "'models' array must have 3 items or fewer."),
    "400_input_required": lambda c: error(400, 'Input required: specify "prompt" or "messages"', user=True),
    "400_empty_input": lambda c: error(400, "Input must have at least 1 token.", {"provider_name": None}),
    "400_embedding_model": lambda c: error(
        400,
        f"{c.model} is an embedding model and cannot be used with the chat/completions endpoint. Use the /embeddings "
        "endpoint instead.",
    ),
    "400_embedding_missing": lambda c: error(400, f"Model {c.model} does not exist"),
    "400_provider": lambda c: _provider(
        400,
        '{"error":{"message":"tools[0].parameters: schema is not supported","type":"invalid_request_error"}}',
        "400",
    ),
    "400_tool_name": lambda c: _provider(
        400, '{"error":{"message":"tools[0].function.name does not match ^[a-zA-Z0-9_-]{1,64}$"}}', "400"
    ),
    "400_tool_arguments": lambda c: _provider(
        400, '{"error":{"message":"tool_calls[0].function.arguments: expected a string"}}', "400"
    ),
    "400_tool_type": lambda c: _provider(
        400, '{"error":{"message":"`namespace` tools are not supported on this endpoint","param":"tools"}}', "400"
    ),
    "400_not_responses": lambda c: error(400, "Invalid Responses API request", {"error_type": "invalid_prompt"}),
    "400_tool_id": lambda c: _provider(
        400,
        '{"error":{"message":"messages with role \\"tool\\" must follow an assistant message with that tool_call_id"}}',
        "400",
    ),
    "413": lambda c: error(413, "Request body too large", {"error_type": "payload_too_large"}),
    "413_html": lambda c: _html(413, "413 Request Entity Too Large"),
    "422": lambda c: error(422, "The request could not be processed", {"error_type": "unprocessable"}),
    "422_provider": lambda c: _provider(422, '{"detail":"seed: value is out of range"}', "422"),
    "zod": _zod,
}

_SERVER: dict[str, Callable[[Circumstances], HttpError]] = {
    "408": lambda c: error(408, "Request timed out", {"error_type": "timeout"}),
    "500": lambda c: error(500, "Internal Server Error", {"error_type": "server"}),
    "502": lambda c: error(
        502, "Provider returned error", {"provider_name": "Simulated", "error_type": "provider_unavailable"}
    ),
    "502_network": lambda c: error(502, "Network connection lost.", {"error_type": "provider_unavailable"}),
    "502_html": lambda c: _html(502, "502 Bad Gateway"),
    "502_empty": lambda c: HttpError(502, ""),
    "503": lambda c: error(
        503, "Upstream error from Simulated: Service temporarily overloaded", {"error_type": "provider_overloaded"}
    ),
    "503_retry_after": lambda c: _retry(
        error(503, "No provider is available right now", {"error_type": "provider_overloaded"}), c.retry_after or 2
    ),
    "504": lambda c: error(504, "Upstream idle timeout exceeded", {"error_type": "timeout"}),
    "520_html": lambda c: _html(520, "520: Web server is returning an unknown error"),
    "524": lambda c: error(524, "Provider timed out after 47000ms", {"error_type": "timeout"}),
    "524_html": lambda c: _html(524, "524: A timeout occurred"),
    "529": lambda c: error(529, "Provider overloaded", {"error_type": "provider_overloaded"}),
    "token_limit_reached": lambda c: error(400, "Token limit reached"),
}

ERRORS = {**_LIMITS, **_KEY_AND_CREDITS, **_ROUTING, **_REQUEST, **_SERVER}


def named(name: str, circumstances: Circumstances) -> HttpError:
    """Return the error `name`. Raises KeyError if there is none."""
    return ERRORS[name](circumstances)
