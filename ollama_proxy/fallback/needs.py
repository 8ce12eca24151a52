"""What a request demands of the model that answers it. Filled in by each API's translator; knows no API itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Needs:
    """Demands of one request (docs/contract.md, "Requests").

    `prompt_tokens` is an estimate: the UTF-8 bytes of texts and tool definitions, divided by four; images never count.
    `output_tokens` is what the client allows at most, 0 if it did not say.
    """

    tools: bool = False
    images: bool = False
    schema: bool = False
    thinking: bool = False
    prompt_tokens: int = 0
    output_tokens: int = 0
