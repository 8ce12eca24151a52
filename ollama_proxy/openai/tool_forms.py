"""Tools of /responses in forms that OpenRouter and its models know, and the way back.

`tool_search` (the client searches) is in no published type of OpenRouter's: it always becomes a function. `namespace`,
`custom` and `local_shell` are in them and go up as they are; only when a model's provider refuses them, they become
functions too (`expanded`). What a model calls comes back in the client's form: Codex wants the `namespace` on a call,
and a text as the input of a custom tool (docs/contract.md, "Tools"). Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from ollama_proxy import limits
from ollama_proxy.bodies.client_tools import NAMESPACE, brings_tools, flat, with_brought
from ollama_proxy.bodies.nulls import without_nulls
from ollama_proxy.bodies.tool_names import ToolNames
from ollama_proxy.gojson.codec import encode_body

Json = dict[str, Any]

#: Written into the `without` of a body whose tools were refused: see `openrouter.errors.wordings`.
TOOL_TYPES = "tool_types"

_OTHER_FORMS = (NAMESPACE, "custom", "local_shell", "tool_search")
_SEARCH = "tool_search"
_SEARCH_ITEMS = ("tool_search_call", "tool_search_output")
_NO_PARAMETERS: Json = {"type": "object", "properties": {}}
_QUERY = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
_INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_COMMAND = {
    "type": "object",
    "properties": {
        "command": {"type": "array", "items": {"type": "string"}},
        "timeout_ms": {"type": "integer"},
        "working_directory": {"type": "string"},
    },
    "required": ["command"],
}


class Original(NamedTuple):
    """What a function stands for: the type of the client's tool, its name, and its namespace or ""."""

    kind: str
    name: str
    namespace: str = ""


class ToolForms:
    """The tools of one request that have another form than functions, under the names of the functions."""

    def __init__(self, tools: list[Any]) -> None:
        names = (tool.get("name") for tool in tools if isinstance(tool, dict) and tool.get("type") == "function")
        taken = ToolNames(name for name in names if isinstance(name, str))
        self._originals: dict[str, Original] = {}
        self._functions: dict[Original, str] = {}
        for original in dict.fromkeys(_originals(tools)):
            name = f"{original.namespace}__{original.name}" if original.namespace else original.name
            self._functions[original] = upstream = taken.another(name)
            self._originals[upstream] = original

    @property
    def any(self) -> bool:
        """Whether there is any such tool."""
        return bool(self._originals)

    @property
    def search_name(self) -> str:
        """The name of the function in the place of a search of the client's."""
        return self._functions.get(Original(_SEARCH, _SEARCH), _SEARCH)

    # On the way up

    def expanded(self, body: Json) -> Json:
        """Return the body with functions in the place of all its tools of other forms, in its history too."""
        changed = dict(body)
        if body.get("tools"):
            changed["tools"] = self._all_as_functions(body["tools"])
        if isinstance(body.get("input"), list):
            calls = {item["id"]: item.get("call_id") for item in body["input"] if _is_shell_call(item)}
            items = with_brought(body["input"], self._all_as_functions)
            changed["input"] = [self._plain_item(item, calls) for item in items]
        choice = body.get("tool_choice")
        if isinstance(choice, dict) and choice.get("type") == "custom":
            original = Original("custom", _text(choice.get("name")))
            changed["tool_choice"] = {"type": "function", "name": self._functions.get(original, original.name)}
        return changed

    def _all_as_functions(self, tools: list[Any]) -> list[Any]:
        return [made for tool in tools for made in self._as_functions(tool)]

    def _as_functions(self, tool: Any) -> Iterator[Any]:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind == NAMESPACE:
            for member in tool.get("tools") or ():
                yield self._as_function(member, _text(tool.get("name")))
        elif kind in ("custom", "local_shell"):
            yield self._as_function(tool, "")
        else:
            yield tool

    def _as_function(self, tool: Json, namespace: str) -> Json:
        kind = _text(tool.get("type")) or "function"
        original = Original(kind, _text(tool.get("name", kind)), namespace)
        about = tool.get("description")
        parameters = tool.get("parameters")
        if kind == "custom":
            form = tool.get("format")
            grammar = form.get("definition") if isinstance(form, dict) else None
            about = f"{about or ''}\nThe input must follow this grammar:\n{grammar}".strip() if grammar else about
            parameters = _INPUT
        elif kind == "local_shell":
            about, parameters = "Runs a command on the user's machine.", _COMMAND
        made: Json = {"type": "function", "name": self._functions.get(original, original.name)}
        made |= {"parameters": parameters or _NO_PARAMETERS}
        return made | ({"description": about} if isinstance(about, str) and about else {})

    def _plain_item(self, item: Any, shell_calls: Mapping[Any, Any]) -> Any:
        if not isinstance(item, dict):
            return item
        match item.get("type"):
            case "function_call" if item.get("namespace"):
                return self._call(item, Original("function", _text(item.get("name")), _text(item["namespace"])), None)
            case "custom_tool_call":
                original = Original("custom", _text(item.get("name")), _text(item.get("namespace")))
                return self._call(item, original, {"input": item.get("input")})
            case "local_shell_call":
                action = item.get("action")
                given = action if isinstance(action, dict) else {}
                arguments = {name: value for name, value in given.items() if name in _COMMAND["properties"]}
                return self._call(item, Original("local_shell", "local_shell"), arguments)
            case "custom_tool_call_output" | "local_shell_call_output":
                call_id = item.get("call_id") or shell_calls.get(_text(item.get("id"))) or item.get("id")
                return {"type": "function_call_output", "call_id": call_id, "output": item.get("output") or ""}
        return item

    def _call(self, item: Json, original: Original, arguments: Json | None) -> Json:
        text = item.get("arguments") if arguments is None else encode_body(arguments).decode()
        call = {"type": "function_call", "call_id": item.get("call_id"), "arguments": text or "{}"}
        name = self._functions.get(original, original.name)
        return {"id": item.get("id") or item.get("call_id"), **call, "name": name, "status": "completed"}

    # On the way down

    def original_of(self, item: Any) -> Original | None:
        """Return what a called function stands for; None for a function of the client's own and for other items."""
        if not isinstance(item, dict) or item.get("type") != "function_call" or item.get("namespace"):
            return None
        name = item.get("name")
        return self._originals.get(name) if isinstance(name, str) else None

    def restored(self, item: Any) -> Any:
        """Return an output item in the client's form: the call of a tool that has another form than a function."""
        original = self.original_of(item)
        if original is None:
            return item
        kept = {name: item[name] for name in ("id", "call_id", "status") if name in item}
        if original.kind == "function":
            return {**item, "name": original.name, "namespace": original.namespace}
        arguments = _object_in(item.get("arguments"))
        if original.kind == "custom":
            call = {"type": "custom_tool_call", **kept, "name": original.name, "input": custom_input(item)}
            return {**call, "namespace": original.namespace} if original.namespace else call
        if original.kind == "local_shell":
            return {
                "type": "local_shell_call",
                **kept,
                "action": {"type": "exec", "env": {}, "command": [], **arguments},
            }
        return {"type": "tool_search_call", **kept, "execution": "client", "arguments": arguments}

    def restored_response(self, response: Json) -> Json:
        """Return a whole response with its output in the client's forms."""
        output = response.get("output")
        if not isinstance(output, list) or not any(self.original_of(item) for item in output):
            return response
        return {**response, "output": [self.restored(item) for item in output]}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def custom_input(item: Mapping[str, Any]) -> str:
    """Return the text that a custom tool gets, from the arguments of the function in its place."""
    text = item.get("arguments")
    given = _object_in(text).get("input")
    return given if isinstance(given, str) else text if isinstance(text, str) else ""


def _object_in(text: Any) -> Json:
    try:
        value = orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _originals(tools: list[Any]) -> Iterator[Original]:
    for tool in tools:
        if not isinstance(tool, dict):
            continue
        kind = tool.get("type")
        if kind == NAMESPACE:
            for member in flat([tool]):
                if isinstance(member, dict):
                    yield Original(_text(member.get("type")), _text(member.get("name")), _text(tool.get("name")))
        elif kind == _SEARCH:
            if tool.get("execution") == "client":
                yield Original(_SEARCH, _SEARCH)
        elif kind in _OTHER_FORMS:
            yield Original(_text(kind), _text(tool.get("name", kind)))


def _is_shell_call(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "local_shell_call" and isinstance(item.get("id"), str)


# Tool search


def with_known_forms(body: Json) -> ToolForms | None:
    """Put what OpenRouter has no type for into forms that it knows; return the tools that have other forms, if any.

    A search of the client's becomes a function, and what it found in earlier turns tools like all others. Tools that
    other input items bring (`additional_tools`) stay where they are, in the same forms. Tools that wait to be found
    (`defer_loading`) do not wait where nothing of OpenRouter's searches. Raises BadRequest for too many tools.
    """
    tools, items = body.get("tools") or [], _listed(body.get("input"))
    special = [item for item in items if _is_search(item) or brings_tools(item)]
    if not special and all(map(_is_plain, tools)):
        return None
    found = [tool for item in special if _is_search(item) for tool in _listed(item.get("tools"))]
    own = _named_tools(_with_found(tools, found))
    more = [tool for item in special if not _is_search(item) for tool in _named_tools(_listed(item.get("tools")))]
    every = [*own, *more]
    limits.check_count(sum(1 for _ in flat(every)), limits.TOOLS, "tools")
    forms = ToolForms(every)
    waits = any(_type_of(tool) == "openrouter:tool_search" for tool in every)

    def known(named: list[Any]) -> list[Any]:
        # OpenRouter refuses marked tools if it cannot search them.
        ready = named if waits else map(_at_once, named)
        return [made for tool in ready if (made := _as_search(tool, forms.search_name)) is not None]

    if special:
        plain = [_plain_search(item, forms.search_name) if _is_search(item) else item for item in items]
        body["input"] = with_brought(plain, lambda brought: known(_named_tools(brought)))
    body["tools"] = known(own)
    if not body["tools"]:
        del body["tools"]
        if (tools or found) and not more:
            for name in ("tool_choice", "parallel_tool_calls"):
                body.pop(name, None)
    return forms if forms.any else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_plain(tool: Any) -> bool:
    """Tell whether a tool is one that needs no look: as a function of an agent, or a tool that a server runs."""
    if not isinstance(tool, dict) or "defer_loading" in tool or None in tool.values():
        return False
    kind = tool.get("type")
    return bool(tool.get("name") and "parameters" in tool) if kind == "function" else kind not in (*_OTHER_FORMS, None)


def _named_tools(tools: list[Any]) -> list[Any]:
    return [made for tool in tools if (made := _named_tool(tool)) is not None]


def _named_tool(tool: Any) -> Any:
    """Return a tool without nulls, a function with the schema that it must have; None for one without a name."""
    if not isinstance(tool, dict):
        return None
    tool = without_nulls(tool)
    tool = tool if "type" in tool else {**tool, "type": "function"}
    kind = tool["type"]
    if kind == "function":
        if isinstance(inner := tool.get("function"), dict) and "name" not in tool:
            tool = {"type": kind, **inner}  # as in /chat/completions
        return {"parameters": _NO_PARAMETERS, **tool} if tool.get("name") else None
    if kind != NAMESPACE:
        return tool if kind != "custom" or tool.get("name") else None
    members = [member for member in _listed(tool.get("tools")) if _type_of(member) != NAMESPACE]
    named = [made for member in members if (made := _named_tool(member)) is not None]
    return {"description": "", **tool, "tools": named} if tool.get("name") else None


def _type_of(tool: Any) -> Any:
    return tool.get("type") if isinstance(tool, dict) else None


def _is_search(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") in _SEARCH_ITEMS


def _with_found(tools: list[Any], found: list[Any]) -> list[Any]:
    """Return the tools with the found ones behind them, each once; those of one namespace together."""
    merged: dict[tuple[Any, Any], Any] = {}
    for number, tool in enumerate([*tools, *found]):
        name = tool.get("name") if isinstance(tool, dict) else None
        key = (_text(_type_of(tool)), name) if isinstance(name, str) else ("", number)
        before = merged.get(key)
        if before is not None and key[0] == NAMESPACE:
            tool = {**before, "tools": [*_listed(before.get("tools")), *_new_members(before, tool)]}
        merged[key] = tool
    return list(merged.values())


def _new_members(before: Json, tool: Json) -> list[Any]:
    known = {_text(member.get("name")) for member in flat([before]) if isinstance(member, dict)}
    return [member for member in flat([tool]) if isinstance(member, dict) and _text(member.get("name")) not in known]


def _at_once(tool: Any) -> Any:
    if not isinstance(tool, dict):
        return tool
    kept = {name: value for name, value in tool.items() if name != "defer_loading"}
    if tool.get("type") == NAMESPACE and isinstance(tool.get("tools"), list):
        kept["tools"] = [_at_once(member) for member in tool["tools"]]
    return kept


def _as_search(tool: Any, name: str) -> Any:
    """Return a search of the client's as a function; None for a search that only OpenAI's own servers run."""
    if _type_of(tool) != _SEARCH:
        return tool
    if tool.get("execution") != "client":
        return None
    made = {"type": "function", "name": name, "parameters": tool.get("parameters") or _QUERY}
    about = tool.get("description")
    return made | ({"description": about} if isinstance(about, str) else {})


def _plain_search(item: Json, name: str) -> Json:
    call_id = item.get("call_id") or item.get("id")
    if item["type"] == "tool_search_call":
        arguments = item.get("arguments")
        text = arguments if isinstance(arguments, str) else encode_body(arguments or {}).decode()
        return {"type": "function_call", "call_id": call_id, "name": name, "arguments": text}
    named = [_text(tool.get("name")) for tool in flat(_listed(item.get("tools"))) if isinstance(tool, dict)]
    found = f"Found, and can be called now: {', '.join(named)}" if named else "Nothing was found."
    return {"type": "function_call_output", "call_id": call_id, "output": found}
