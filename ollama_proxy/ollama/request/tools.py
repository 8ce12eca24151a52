"""Translates tool definitions and tool names from Ollama's form to OpenRouter's.

Plain values in and out; calls and their results are handled by `tool_history` (docs/contract.md, "Tools").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ollama_proxy import limits
from ollama_proxy.bodies.tool_names import ToolNames
from ollama_proxy.gojson.text import wrong_type

_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}


def read_tools(value: Any) -> list[dict[str, Any]]:
    """Return the checked `function` objects of a `tools` list, without entries that have no function name.

    Ollama accepts such entries (`tools: [{}]`) and ignores them; OpenRouter would refuse the request. Raises BadRequest
    with Go's text for a wrong type.
    """
    if not isinstance(value, list):
        raise wrong_type(value, "ChatRequest.tools", "api.Tools")
    limits.check_count(len(value), limits.TOOLS, "tools")
    functions = []
    for tool in value:
        if tool is None:
            continue
        if not isinstance(tool, dict):
            raise wrong_type(tool, "ChatRequest.tools", "api.Tool")
        function = tool.get("function")
        if function is None:
            continue
        if not isinstance(function, dict):
            raise wrong_type(function, "Tool.tools.function", "api.ToolFunction")
        _check_function(function)
        if function.get("name"):
            functions.append(function)
    return functions


def _check_function(function: dict[str, Any]) -> None:
    for field in ("name", "description"):
        text = function.get(field)
        if text is not None and not isinstance(text, str):
            raise wrong_type(text, f"ToolFunction.tools.function.{field}", "string")
    parameters = function.get("parameters")
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise wrong_type(parameters, "ToolFunction.tools.function.parameters", "api.ToolFunctionParameters")
    schema_type = parameters.get("type")
    if schema_type is not None and not isinstance(schema_type, str):
        raise wrong_type(schema_type, "ToolFunctionParameters.tools.function.parameters.type", "string")


def definitions(functions: Iterable[dict[str, Any]], names: ToolNames) -> list[dict[str, Any]]:
    """Return OpenRouter's `tools` for checked functions; of two with one name the later wins.

    Parameters are passed on as they are, with `type` and `properties` added where they are missing.
    """
    found: dict[str, dict[str, Any]] = {}
    for function in functions:
        definition: dict[str, Any] = {"name": names.upstream(function["name"])}
        if function.get("description"):
            definition["description"] = function["description"]
        definition["parameters"] = _NO_PARAMETERS | (function.get("parameters") or {})
        if definition["parameters"]["type"] in (None, ""):
            definition["parameters"]["type"] = "object"
        if definition["parameters"]["properties"] is None:
            definition["parameters"]["properties"] = {}
        if isinstance(function.get("strict"), bool):
            definition["strict"] = function["strict"]
        found[definition["name"]] = {"type": "function", "function": definition}
    return list(found.values())


def tool_choice(value: Any, names: ToolNames) -> Any:
    """Return OpenRouter's `tool_choice` for the client's, or None if its form is unknown.

    Ollama has no such field and ignores it; clients made for other servers send it and expect it to work.
    """
    if isinstance(value, str):
        return value if value in ("none", "auto", "required") else None
    function = value.get("function") if isinstance(value, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        return None
    return {"type": "function", "function": {"name": names.upstream(name)}}
