"""The errors of OpenRouter and its providers that are known by what they say, whatever status they came with.

A table, searched from the top: the first entry that fits decides. The kinds and their consequences are those of
docs/contract.md, "Failures". What fits no entry is judged by its status (`classify`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ollama_proxy.openrouter.errors.error_body import ErrorBody
from ollama_proxy.openrouter.errors.failure import Blame

PRIVACY_PAGE = "https://openrouter.ai/settings/privacy"
KEYS_PAGE = "https://openrouter.ai/settings/keys"
CREDITS_PAGE = "https://openrouter.ai/settings/credits"


@dataclass(frozen=True, slots=True)
class KnownError:
    """One kind of error and the signs it is known by; any one sign is enough.

    Signs: `availability` codes, `steps` (how `failed_routing_step` begins), non-empty metadata `keys`, `limit_source`
    beginnings, `labels` (`error_type` and the like), `text` (a pattern over the lower-case message and raw text).
    `text` counts only below status 500, where the request is spoken of, unless `any_status`. `says` opens the client's
    message; upstream's own text follows it if `quote`; `page` is the settings page that helps. `counts_tokens`: the
    text may say how many tokens the prompt has and how many fit.
    """

    blame: Blame
    reason: str
    status: int
    says: str = ""
    page: str = ""
    availability: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    limit_sources: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    text: re.Pattern[str] | None = None
    any_status: bool = False
    quote: bool = True
    refresh: bool = False
    without: frozenset[str] = frozenset()
    counts_tokens: bool = False

    def fits(self, body: ErrorBody, status: int | None) -> bool:
        return (
            body.availability_code in self.availability
            or _begins(body.routing_step, self.steps)
            or any(body.metadata.get(key) for key in self.keys)
            or _begins(body.limit_source, self.limit_sources)
            or any(label in self.labels for label in body.labels)
            or (
                self.text is not None
                and (self.any_status or status is None or status < 500)
                and self.text.search(body.words) is not None
            )
        )


def _begins(value: str, beginnings: tuple[str, ...]) -> bool:
    return bool(value) and value.startswith(beginnings)


def find(body: ErrorBody, status: int | None) -> KnownError | None:
    """The first known error that fits; None if there is none."""
    return next((known for known in KNOWN_ERRORS if known.fits(body, status)), None)


LIMITS = (
    KnownError(
        Blame.MODEL_RATE_LIMIT,
        "rate limited upstream",
        429,
        says="the model is rate limited upstream",
        availability=("capacity_exhausted",),
        limit_sources=("upstream",),
        text=re.compile(r"rate[- ]limited upstream|\blimit_rp[md]/|high demand for "),
        quote=False,
    ),
)

MODEL_STATE = (
    KnownError(
        Blame.MODEL_FAILING,
        "temporarily unavailable",
        503,
        says="the model is temporarily unavailable",
        availability=("temporarily_unavailable",),
    ),
    KnownError(
        Blame.REQUEST,
        "blocked by guardrail",
        400,
        says="OpenRouter's prompt injection guardrail of this account blocked the request",
        keys=("patterns",),
        text=re.compile(r"prompt injection"),
        quote=False,
    ),
    KnownError(
        Blame.MODERATION,
        "moderation",
        400,
        says="the input was flagged by moderation",
        keys=("flagged_input",),
        labels=("content_policy_violation", "content_policy", "refusal", "content_filter"),
        text=re.compile(
            r"requires moderation|(?:input|prompt|content|request) (?:was|were|has been|is) (?:flagged|blocked)"
            r"|content (?:\w+ )?policy|usage guidelines|content[ _]filter|content (?:may )?violate|content exists risk"
            r"|inappropriate content|considered high risk|safety (?:system|policy|filter)"
            r"|violation of (?:\S+ ){0,3}terms of (?:service|use)"
        ),
        quote=False,
    ),
    KnownError(
        Blame.MODERATION,
        "blocked by the firewall",
        400,
        says="the firewall in front of OpenRouter blocked the request, most likely for something in the prompt",
        text=re.compile(r"attention required!|sorry, you have been blocked"),
        quote=False,
    ),
    KnownError(
        Blame.MODEL_GONE,
        "gated for this account",
        502,
        says="OpenRouter does not serve this model to this account",
        availability=("region_restricted",),
        steps=("gate ",),
        keys=("missing_attestation_types",),
        text=re.compile(
            r"agentic harness|(?:available|supported|offered) in your (?:region|country|location)"
            r"|(?:region|territory|country|location)(?: is)? not supported|unsupported_country|age confirmation"
            r"|complete the following before use"
        ),
    ),
)

SETTINGS = (
    KnownError(
        Blame.CAPABILITY,
        "provider pinned by the request",
        400,
        keys=("requested_providers",),
        text=re.compile(r"your request's provider\."),
    ),
    KnownError(
        Blame.PRIVACY,
        "privacy settings",
        502,
        says="the privacy or provider settings of the OpenRouter account rule this model out",
        page=PRIVACY_PAGE,
        availability=("privacy_restricted",),
        steps=("filter by data policy", "filter by guardrails", "filter by ignored", "filter by allowed"),
        keys=("ineligibility_reasons",),
        text=re.compile(
            r"matching your (?:data policy|guardrail)|guardrail restrictions|providers have been ignored"
            r"|no allowed providers|\(?zero data retention\)?.{0,40}configure"
        ),
    ),
)

CAPABILITIES = (
    KnownError(
        Blame.CAPABILITY,
        "context too small",
        400,
        labels=(
            "context_length_exceeded",
            "max_tokens_exceeded",
            "token_limit_exceeded",
            "string_too_long",
            "string_above_max_length",
        ),
        text=re.compile(
            r"(?:maximum|max|model's) context (?:length|window|size)|context[ _](?:length|window|limit|size)"
            r".{0,30}(?:exceed|too (?:long|large|small))|exceed\w* (?:\S+ ){0,3}(?:context|number of tokens allowed)"
            r"|input token count|maximum input (?:length|size)"
            r"|(?:prompt|input) (?:is )?too long|too many (?:input )?tokens|max_tokens: \d+ >"
            r"|max(?:imum)?[_ ](?:completion[_ ]|output[_ ])?tokens.{0,40}(?:too large|exceed|at most)"
            r"|token limit (?:reached|exceeded)|prompt tokens limit exceeded|larger than the (?:\S+ ){0,2}context"
            r"|longer than the (?:\S+ ){0,2}context|must have less than \d+ tokens|input length \S{0,12} ?exceed"
        ),
        any_status=True,
        counts_tokens=True,
    ),
    KnownError(
        Blame.CAPABILITY,
        "reasoning cannot be switched off",
        400,
        text=re.compile(
            r"(?:reasoning|thinking) (?:is mandatory|is required|cannot be (?:disabled|turned off))"
            r"|only works in thinking mode|(?:not|n't) support (?:reasoning|thinking)"
            r"|(?:reasoning|thinking)\w*(?: \w+)? (?:is|are) not supported"
        ),
        without=frozenset({"reasoning"}),
    ),
    KnownError(
        Blame.CAPABILITY,
        "tool_choice refused",
        400,
        text=re.compile(r"tool[_ ]choice"),
        without=frozenset({"tool_choice"}),
    ),
    KnownError(
        Blame.CAPABILITY,
        "tool type refused",
        400,
        text=re.compile(
            r"\b(?:custom|namespace|local_shell)\W? tools? (?:is|are) not supported"
            r"|\btools? of type \W?\w{1,40}\W? (?:is|are) not"
            r"|(?:unknown|unsupported|invalid) tool type"
            r"|tool type \S{1,40} (?:is )?(?:not supported|unsupported|unknown)"
            r"|(?:not|n't) support \W?(?:custom|namespace|local_shell)\W? tools?"
        ),
        without=frozenset({"tool_types"}),
    ),
    KnownError(
        Blame.REQUEST,
        "not a Responses request",
        400,
        text=re.compile(r"invalid responses api request"),
        without=frozenset({"tool_types"}),
    ),
    KnownError(
        Blame.CAPABILITY,
        "no tools",
        400,
        says="the model does not support tools",
        steps=("filter by tool",),
        text=re.compile(
            r"support tool use|(?:not|n't) support (?:tool|function)"
            r"|(?:tools?|function)(?: use| call(?:s|ing)?)? (?:is|are) not supported"
        ),
    ),
    KnownError(
        Blame.CAPABILITY,
        "no image input",
        400,
        says="the model does not support image input",
        steps=("filter by image",),
        text=re.compile(
            r"endpoints found .{0,120}support (?:image|audio|video|file)|not a (?:multimodal|vision) model"
            r"|(?:not|n't) support (?:image|vision|multimodal)"
            r"|(?:image|vision)(?: \w+)? (?:is|are) not supported"
        ),
    ),
    KnownError(
        Blame.REQUEST,
        "no such item",
        400,
        text=re.compile(r"\bitem with id \S{1,80} not found|previous response \S{0,80} ?(?:was )?not found"),
    ),
    KnownError(Blame.REQUEST, "output modality refused", 400, text=re.compile(r"support the requested output modalit")),
    KnownError(
        Blame.CAPABILITY,
        "parameters refused",
        400,
        availability=("constraint_filtered",),
        steps=("filter by",),
        text=re.compile(r"endpoints found .{0,120}(?:can handle|support)|no models match your request"),
    ),
    KnownError(
        Blame.CAPABILITY,
        "wrong endpoint for the model",
        400,
        availability=("wrong_endpoint",),
        text=re.compile(r"cannot be used with the \S+ endpoint"),
    ),
)

GONE = (
    KnownError(
        Blame.MODEL_GONE,
        "no such model",
        404,
        says="OpenRouter no longer offers this model",
        availability=(
            "model_not_found",
            "no_endpoints",
            "free_variant_ended",
            "model_deprecated",
            "model_unavailable_upstream",
        ),
        labels=("model_not_found",),
        text=re.compile(
            r"is not a valid model|no endpoints found for |unavailable for free|no longer available"
            r"|transitioned to a paid|\bmodel\b.{0,120}(?:does not exist|not found"
            r"|has been (?:deprecated|removed|retired|decommissioned|discontinued))"
        ),
        refresh=True,
    ),
)

# A 402 that is about the size of the prompt: "Prompt tokens limit exceeded: 64128 > 6964".
PROMPT_LIMIT = re.compile(r"prompt tokens limit exceeded")

# Said by OpenRouter of the account, so only believed if no provider is named.
ACCOUNT_TEXTS = re.compile(
    r"key limit exceeded|insufficient credits|requires? more credits|exceed your available credits"
    r"|at least \$[\d.]+ in balance"
    r"|auth(?:entication)? (?:credentials|header)|(?:invalid|disabled) api key"
)

KNOWN_ERRORS = MODEL_STATE + SETTINGS + CAPABILITIES + GONE
