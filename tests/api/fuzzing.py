"""Generated requests to all three APIs: mostly plausible bodies, with anything at all in some place.

What is generated is the same for a given hypothesis seed; how answers are judged is in test_fuzz.py.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import strategies as st

PATHS = {
    "/": ("GET", "HEAD"),
    "/api/version": ("GET", "HEAD"),
    "/api/tags": ("GET", "HEAD"),
    "/api/ps": ("GET",),
    "/api/status": ("GET",),
    "/api/show": ("POST",),
    "/api/chat": ("POST",) * 8,
    "/api/generate": ("POST",) * 6,
    "/api/embed": ("POST",) * 3,
    "/api/embeddings": ("POST",) * 2,
    "/api/pull": ("POST",),
    "/api/push": ("POST",),
    "/api/create": ("POST",),
    "/api/copy": ("POST",),
    "/api/delete": ("DELETE",),
    "/api/blobs/sha256:0": ("POST", "HEAD"),
    "/api/me": ("POST",),
    "/api/signout": ("POST",),
    "/api/experimental/web_search": ("POST",),
    "/api/experimental/model-recommendations": ("GET",),
    "/v1/models": ("GET",),
    "/v1/models/ember-4": ("GET",),
    "/v1/models/tidal%2Fember-4%3Afree": ("GET",),
    "/v1/models/%20%C3%BC": ("GET",),
    "/v1/chat/completions": ("POST",) * 8,
    "/v1/completions": ("POST",) * 3,
    "/v1/responses": ("POST",) * 6,
    "/v1/embeddings": ("POST",) * 2,
    "/v1/messages": ("POST",) * 8,
    "/v1/messages/count_tokens": ("POST",),
}
RIGHT = [(method, path) for path, methods in PATHS.items() for method in methods]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["", "json", "high", "5m", "-1", "0", "user", "tool", "\ud800", "a\u2028b", "\U0001f600"]),
)
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def once_in(times: int) -> st.SearchStrategy[bool]:
    """True about once in so many times. (Integers would not do: hypothesis prefers the least.)"""
    return st.sampled_from([False] * (times - 1) + [True])


def mostly(strategy: st.SearchStrategy[Any], times: int = 50) -> st.SearchStrategy[Any]:
    """`strategy`, but once in so many times anything at all."""
    return once_in(times).flatmap(lambda odd: junk if odd else strategy)


def some(needed: tuple[str, ...] = (), **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with the `needed` and some of the other fields; rarely in another case, or with an unknown one."""
    values = {name: mostly(value) for name, value in fields.items()}
    always = {name: values.pop(name) for name in needed}
    return st.builds(
        lambda known, unknown, odd: {**unknown, **({k.upper(): v for k, v in known.items()} if odd else known)},
        st.fixed_dictionaries(always, optional=values),
        once_in(9).flatmap(lambda odd: st.dictionaries(st.text(max_size=8), junk, max_size=1) if odd else st.just({})),
        once_in(20),
    )


known_models = ["free", "ember-4", "cirrus-ultra:free", "tidal/ember-4", "lumen-vl-32b", "think-2b", "embed-small"]
models = st.sampled_from([*known_models * 9, "nosuch", "beacon-24b", "", "x:local:cloud", "a b", " \u00fc"])
pictures = st.sampled_from(
    [base64.b64encode(head + bytes(20)).decode() for head in (b"\x89PNG", b"\xff\xd8\xff", b"x")]
)
images = st.lists(mostly(pictures), max_size=2)
names = st.sampled_from(["f", "get_weather", "a.b", "\u00fc", ""]) | st.text(max_size=8)
calls = st.lists(mostly(some(id=st.text(max_size=9), function=some(name=names, arguments=junk))), max_size=3)
messages = st.lists(
    mostly(
        some(
            role=st.sampled_from(["user", "assistant", "system", "tool", "developer", "WIZARD", ""]),
            content=st.text(max_size=30) | st.lists(some(type=st.just("text"), text=st.text(max_size=9)), max_size=2),
            images=images,
            tool_calls=calls,
            tool_name=names,
            tool_call_id=st.text(max_size=9),
            thinking=st.text(max_size=9),
        )
    ),
    max_size=5,
)
schemas = st.sampled_from([{"type": "object"}, {"type": "object", "properties": {"a": {"type": "integer"}}}, {}])
functions = some(name=names, description=st.text(max_size=9), parameters=schemas)
tools = st.lists(mostly(some(type=st.just("function"), function=functions)), max_size=3)
options = some(
    temperature=st.floats(-1, 3),
    num_predict=st.integers(-2, 40),
    top_k=st.integers(-1, 99),
    top_p=st.floats(-1, 2),
    seed=st.integers(-1, 2**70),
    stop=st.lists(st.text(max_size=3), max_size=6),
    num_ctx=st.integers(0, 10**6),
    repeat_penalty=st.floats(-1, 3),
)
answered = {
    "model": models,
    "stream": st.booleans(),
    "format": st.sampled_from(["", "json"]) | schemas,
    "keep_alive": st.sampled_from([0, -1, 5, "5m", "-1", "1h30m", "0s"]),
    "options": options,
    "think": st.sampled_from([True, False, "low", "max"]),
    "logprobs": st.booleans(),
    "top_logprobs": st.integers(0, 20),
    "_debug_render_only": once_in(9),
}
embedded = {"model": models, "keep_alive": answered["keep_alive"], "options": options, "truncate": st.booleans()}
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "/api/chat": some(
        ("model", "messages"), messages=messages, tools=tools, tool_choice=st.sampled_from(["auto", "none"]), **answered
    ),
    "/api/generate": some(
        ("model", "prompt"),
        prompt=st.text(max_size=30),
        system=st.text(max_size=9),
        template=st.sampled_from(["", "{{ .Prompt }}"]),
        suffix=st.sampled_from([""] * 9 + ["x"]),
        raw=once_in(9),
        context=st.lists(st.integers(), max_size=3),
        images=images,
        **answered,
    ),
    "/api/embed": some(
        ("model", "input"),
        input=st.text(max_size=9) | st.lists(st.text(max_size=9)),
        dimensions=st.integers(),
        **embedded,
    ),
    "/api/embeddings": some(("model", "prompt"), prompt=st.text(max_size=9), **embedded),
}
OTHER_BODY = some(model=models, name=models, stream=st.booleans(), source=models, destination=models)


# The OpenAI API and Messages: their bodies pass through, and the simulator refuses what OpenRouter would.

parameters = st.sampled_from([{"type": "object", "properties": {}}, {}, None])
kinds = st.sampled_from(
    [*["function"] * 9, "web_search", "openrouter:web_search", "custom", "bash_20250124", "", "tool"]
)
chat_tools = st.lists(mostly(some(type=kinds, function=some(name=names, parameters=parameters))), max_size=3)
flat_tools = st.lists(mostly(some(type=kinds, name=names, parameters=parameters, input_schema=parameters)), max_size=3)
one_choice = some(type=mostly(kinds, 4), name=names, function=some(name=names))
choices = st.one_of(
    st.sampled_from(["auto", "none", "required", "any", "nothing"]),
    one_choice,
    some(type=st.just("allowed_tools"), tools=st.lists(one_choice, max_size=2), allowed_tools=some(tools=chat_tools)),
)
texts = st.text(max_size=20)
urls = st.sampled_from(["https://example.com/a.png", "data:image/png;base64,iVBORw0KGgo=", ""])
chat_parts = st.lists(
    mostly(
        some(
            type=st.sampled_from(["text", "image_url", "file", "input_audio", "odd"]),
            text=texts,
            image_url=some(url=urls) | urls,
            file=some(filename=texts, file_data=urls),
        )
    ),
    max_size=3,
)
chat_calls = st.lists(
    mostly(some(id=texts, type=kinds, function=some(name=names, arguments=st.just("{}") | texts | junk))), max_size=2
)
chat_messages = st.lists(
    mostly(
        some(
            ("role", "content"),
            role=st.sampled_from([*["user", "assistant"] * 3, "system", "tool", "developer", "function", "ODD"]),
            content=texts | chat_parts,
            tool_calls=chat_calls,
            tool_call_id=texts,
            name=names,
            reasoning=texts,
        )
    ),
    min_size=1,
    max_size=4,
)
formats = st.sampled_from(["text", "json_object", "json_schema", "odd"])
efforts = st.sampled_from([*["low", "high", "none", "minimal", "ultra", ""] * 3, "odd"])
limits = st.sampled_from([*[1, 5, 99, 7.0, 0, -2] * 4, 1e300, -1e300, 2**63, 5.5])
sampled: dict[str, Any] = {
    "stream": st.booleans(),
    "stream_options": some(include_usage=st.booleans()),
    "max_tokens": limits,
    "temperature": st.floats(-1, 3),
    "top_p": st.floats(-1, 2),
    "stop": texts | st.lists(texts, max_size=5),
    "seed": limits,
    "n": st.integers(0, 2),
    "user": texts,
    "metadata": some(user_id=texts),
    "provider": some(order=st.lists(texts, max_size=1), max_price=some(prompt=st.integers())),
    "models": st.lists(models, max_size=2),
    "plugins": st.lists(some(id=texts), max_size=1),
}
BODIES |= {
    "/v1/chat/completions": some(
        ("model", "messages"),
        model=models,
        messages=chat_messages,
        tools=chat_tools,
        tool_choice=choices,
        parallel_tool_calls=st.booleans(),
        response_format=some(("type",), type=formats, json_schema=some(name=names, schema=schemas)),
        reasoning=some(effort=efforts, enabled=st.booleans(), max_tokens=limits),
        reasoning_effort=efforts,
        max_completion_tokens=limits,
        logprobs=st.booleans(),
        top_logprobs=st.sampled_from([0, 1, 20, 7.0, -2]),
        **sampled,
    ),
    "/v1/completions": some(("model", "prompt"), model=models, prompt=texts, suffix=texts, **sampled),
    "/v1/responses": some(
        ("model", "input"),
        model=models,
        input=texts
        | st.lists(
            mostly(
                some(
                    ("type",),
                    type=st.sampled_from(["message", "function_call", "function_call_output", "reasoning", "odd"]),
                    role=st.sampled_from(["user", "assistant"]),
                    content=texts
                    | st.lists(some(type=st.sampled_from(["input_text", "input_image", "input_file"]), text=texts)),
                    call_id=texts,
                    name=names,
                    arguments=texts | junk,
                    output=texts | junk,
                )
            ),
            max_size=3,
        ),
        instructions=texts,
        tools=flat_tools,
        tool_choice=choices,
        reasoning=some(effort=efforts, summary=texts),
        text=some(format=some(type=formats, name=names, schema=schemas)),
        max_output_tokens=limits,
        previous_response_id=texts,
        include=st.lists(texts, max_size=2),
        **sampled,
    ),
    "/v1/embeddings": some(
        ("model", "input"),
        model=st.sampled_from(["embed-small", "embed-small", "free", "ember-4"]),
        input=texts | st.lists(texts | st.integers() | st.lists(st.integers(), max_size=2), max_size=3),
        encoding_format=st.sampled_from(["float", "base64", "FLOAT", "odd"]),
        dimensions=st.sampled_from([1, 8, 99, 7.0, 0, -2]),
        user=texts,
    ),
    "/v1/messages": some(
        ("model", "messages", "max_tokens"),
        model=models,
        max_tokens=st.integers(1, 99) | limits,
        messages=st.lists(
            mostly(
                some(
                    ("role", "content"),
                    role=st.sampled_from(["user", "assistant", "system", "odd"]),
                    content=texts
                    | st.lists(
                        mostly(
                            some(
                                ("type",),
                                type=st.sampled_from(["text", "image", "tool_use", "tool_result", "document"]),
                                text=texts,
                                thinking=texts,
                                id=texts,
                                name=names,
                                input=junk,
                                tool_use_id=texts,
                                content=texts | chat_parts,
                                source=some(type=st.sampled_from(["base64", "text", "content", "url"]), data=texts),
                            )
                        ),
                        max_size=3,
                    ),
                )
            ),
            max_size=4,
        ),
        system=texts | chat_parts,
        tools=flat_tools,
        tool_choice=choices,
        thinking=some(type=st.sampled_from(["enabled", "disabled", "adaptive", "odd"]), budget_tokens=limits),
        output_config=some(effort=efforts, format=some(type=formats, schema=schemas)),
        stop_sequences=st.lists(texts, max_size=2),
        **{name: value for name, value in sampled.items() if name not in ("max_tokens", "stop", "n")},
    ),
}


@st.composite
def bodies(draw: st.DrawFn, path: str) -> bytes | None:
    """Mostly the JSON of a body that the path knows; else other JSON, JSON cut or changed somewhere, or any bytes."""
    chance = draw(st.sampled_from(range(20)))
    if chance == 0:
        return draw(st.none() | st.binary(max_size=60))
    body = draw(junk if chance == 1 else BODIES.get(path, OTHER_BODY))
    data = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if chance <= 3 and data:
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=2)) + data[place + draw(st.integers(0, 9)) :]
    return data
