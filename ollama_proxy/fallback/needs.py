"""What a request demands of the model that answers it. Filled in by each API's translator; knows no API itself."""

from __future__ import annotations

from dataclasses import dataclass

#: A longer prompt than this is heavy: reading it takes any model many seconds.
HEAVY_PROMPT_TOKENS = 32_000


@dataclass(frozen=True, slots=True)
class Needs:
    """Demands of one request (docs/contract.md, "Requests").

    `prompt_tokens` is an estimate: the UTF-8 bytes of texts and tool definitions, divided by four; images never count.
    `output_tokens` is what the client allows at most, 0 if it did not say. `preferred` are parameters, under
    OpenRouter's names, for which models that list them come first; others may answer all the same.
    """

    tools: bool = False
    images: bool = False
    schema: bool = False
    thinking: bool = False
    prompt_tokens: int = 0
    output_tokens: int = 0
    preferred: frozenset[str] = frozenset()

    @property
    def is_heavy(self) -> bool:
        """The prompt is so long that the time to the first token says more of it than of the model."""
        return self.prompt_tokens > HEAVY_PROMPT_TOKENS


def preferences(*, schema: bool, logprobs: bool, stop: bool) -> frozenset[str]:
    """Return the `preferred` of a request with a JSON schema for its answer, with logprobs, with stop strings."""
    wanted = (("structured_outputs", schema), ("logprobs", logprobs), ("stop", stop))
    return frozenset(name for name, is_wanted in wanted if is_wanted) if schema or logprobs or stop else frozenset()
