"""Writes replies as OpenRouter does on /responses (events without names) and /messages (named events). Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from simulator.answers import DONE, Envelope, Frame, encode, frame
from simulator.replies import Reply, ToolCall

Json = dict[str, Any]
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def _response(envelope: Envelope, status: str, output: list[Json], usage: Json | None) -> Json:
    return {
        "id": envelope.id,
        "object": "response",
        "created_at": envelope.created,
        "model": envelope.model,
        "status": status,
        "output": output,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": usage,
    }


def _response_usage(envelope: Envelope, reply: Reply) -> Json:
    made = reply.completion_tokens
    return {
        "input_tokens": reply.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": len(reply.reasoning)},
        "total_tokens": reply.prompt_tokens + made,
        "cost": envelope.cost,
    }


def _reasoning_item(envelope: Envelope, text: str) -> Json:
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return {"id": f"rs_tmp_{envelope.id[-8:]}", "type": "reasoning", "summary": [], "content": content}


def _message_item(envelope: Envelope, text: str | None, status: str = "completed") -> Json:
    content = [] if text is None else [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    name = f"msg_tmp_{envelope.id[-8:]}"
    return {"id": name, "type": "message", "role": "assistant", "status": status, "content": content}


def _call_item(call: ToolCall, arguments: str, status: str = "completed") -> Json:
    names = {"id": f"fc_{call.id}", "call_id": call.id, "name": call.name}
    if call.namespace:
        names["namespace"] = call.namespace
    if call.is_custom:
        return {**names, "type": "custom_tool_call", "input": arguments, "status": status}
    return {**names, "type": "function_call", "arguments": arguments, "status": status}


def _output(envelope: Envelope, reply: Reply) -> list[Json]:
    made = [_reasoning_item(envelope, "".join(reply.reasoning))] if reply.reasoning else []
    if reply.content or not reply.tool_calls:
        made.append(_message_item(envelope, "".join(reply.content)))
    return made + [_call_item(call, call.arguments) for call in reply.tool_calls]


def response_body(envelope: Envelope, reply: Reply) -> Json:
    """Return a whole answer of /responses."""
    status = "incomplete" if reply.finish_reason == "length" else "completed"
    return _response(envelope, status, _output(envelope, reply), _response_usage(envelope, reply))


def _response_events(envelope: Envelope, reply: Reply) -> Iterator[Json]:
    yield {"type": "response.created", "response": _response(envelope, "in_progress", [], None)}
    yield {"type": "response.in_progress", "response": _response(envelope, "in_progress", [], None)}
    for index, item in enumerate(_output(envelope, reply)):
        place = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "reasoning":
            yield _added(index, _reasoning_item(envelope, ""))
            for text in reply.reasoning:
                yield {"type": "response.reasoning_text.delta", **place, "content_index": 0, "delta": text}
            whole = "".join(reply.reasoning)
            yield {"type": "response.reasoning_text.done", **place, "content_index": 0, "text": whole}
        elif item["type"] == "message":
            yield _added(index, _message_item(envelope, None, "in_progress"))
            part = {"type": "output_text", "text": "", "annotations": []}
            yield {"type": "response.content_part.added", **place, "content_index": 0, "part": part}
            for text in reply.content:
                delta = {"content_index": 0, "delta": text, "logprobs": []}
                yield {"type": "response.output_text.delta", **place, **delta}
            whole = "".join(reply.content)
            yield {"type": "response.output_text.done", **place, "content_index": 0, "text": whole, "logprobs": []}
            yield {"type": "response.content_part.done", **place, "content_index": 0, "part": item["content"][0]}
        elif item["type"] == "custom_tool_call":
            yield _added(index, {**item, "input": "", "status": "in_progress"})
            yield {"type": "response.custom_tool_call_input.delta", **place, "delta": item["input"]}
            yield {"type": "response.custom_tool_call_input.done", **place, "input": item["input"]}
        else:
            yield _added(index, {**item, "arguments": "", "status": "in_progress"})
            half = len(item["arguments"]) // 2
            for text in (item["arguments"][:half], item["arguments"][half:]):
                yield {"type": "response.function_call_arguments.delta", **place, "delta": text}
            arguments = {"arguments": item["arguments"], "name": item["name"]}
            yield {"type": "response.function_call_arguments.done", **place, **arguments}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    body = response_body(envelope, reply)
    yield {"type": f"response.{body['status']}", "response": body}


def _added(index: int, item: Json) -> Json:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def response_frames(envelope: Envelope, reply: Reply) -> Iterator[Frame]:
    """Yield the events of a streamed /responses call; `data:` lines only, then [DONE]."""
    for number, event in enumerate(_response_events(envelope, reply)):
        kind = event["type"]
        yield frame({**event, "sequence_number": number}, "content" if kind.endswith(".delta") else "other")
    yield Frame(DONE, "done")


def response_failed(envelope: Envelope, error: Json) -> Frame:
    """Return the event with which /responses tells a failure inside a stream."""
    failed = _response(envelope, "failed", [], None)
    failed["error"] = {"code": "server_error", "message": error["message"]}
    return frame({"type": "response.failed", "response": failed, "sequence_number": 99})


def _blocks(reply: Reply) -> list[Json]:
    made: list[Json] = []
    if reply.reasoning:
        made.append({"type": "thinking", "thinking": "".join(reply.reasoning), "signature": "c2ln"})
    if reply.content or not reply.tool_calls:
        made.append({"type": "text", "text": "".join(reply.content)})
    return made + [_tool_use(call) for call in reply.tool_calls]


def _tool_use(call: ToolCall) -> Json:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}


def message_body(envelope: Envelope, reply: Reply) -> Json:
    """Return a whole answer of /messages."""
    usage: Json = {"input_tokens": reply.prompt_tokens, "output_tokens": reply.completion_tokens}
    usage["cost"] = envelope.cost
    return {
        "id": envelope.id,
        "type": "message",
        "role": "assistant",
        "model": envelope.model,
        "content": _blocks(reply),
        "stop_reason": STOP_REASONS.get(reply.finish_reason, "end_turn"),
        "stop_sequence": None,
        "usage": usage,
    }


def named_frame(payload: Json) -> Frame:
    kind = payload["type"]
    carries = "content" if kind == "content_block_delta" else "done" if kind == "message_stop" else "other"
    return Frame(b"event: %b\ndata: %b\n\n" % (kind.encode(), encode(payload)), carries)  # type: ignore[arg-type]


def message_frames(envelope: Envelope, reply: Reply) -> Iterator[Frame]:
    """Yield the named events of a streamed /messages call."""
    for event in _message_events(envelope, reply):
        yield named_frame(event)


def _message_events(envelope: Envelope, reply: Reply) -> Iterator[Json]:
    whole = message_body(envelope, reply)
    begun = {"input_tokens": reply.prompt_tokens, "output_tokens": 1}
    started = {**whole, "content": [], "stop_reason": None, "usage": begun}
    yield {"type": "message_start", "message": started}
    for index, block in enumerate(whole["content"]):
        yield from _block_events(index, block, reply)
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": whole["usage"]}
    yield {"type": "message_stop"}


def _block_events(index: int, block: Json, reply: Reply) -> Iterator[Json]:
    kind = block["type"]
    empties: dict[str, Json] = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}}
    empty = empties.get(kind, {"input": {}})
    yield {"type": "content_block_start", "index": index, "content_block": {**block, **empty}}
    deltas: list[Json]
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": text} for text in reply.reasoning]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind == "text":
        deltas = [{"type": "text_delta", "text": text} for text in reply.content]
    else:
        arguments = json.dumps(block["input"])
        half = len(arguments) // 2
        deltas = [{"type": "input_json_delta", "partial_json": text} for text in (arguments[:half], arguments[half:])]
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def message_error_body(error: Json) -> Json:
    """Return an error of /messages, which has types instead of codes."""
    inner = {"type": ERROR_TYPES.get(error["code"], "api_error"), "message": error["message"]}
    return {"type": "error", "error": inner}


def message_error(error: Json) -> Frame:
    """Return the event with which /messages tells a failure inside a stream."""
    return named_frame(message_error_body(error))
