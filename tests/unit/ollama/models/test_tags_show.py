"""What clients read of models: /api/tags, /api/show, /api/ps."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from ollama import ListResponse, ProcessResponse, ShowResponse

from ollama_proxy.catalog.records import Model, parse_record
from ollama_proxy.catalog.virtual import FREE
from ollama_proxy.ollama.models.running import Running
from ollama_proxy.ollama.models.show import basenames, show
from ollama_proxy.ollama.models.tags import listed_virtual, tag, tags

SIX_KEYS = ["parent_model", "format", "family", "families", "parameter_size", "quantization_level"]
SECOND = 1_000_000_000


def model(model_id: str = "z-ai/glm-9-70b", **fields: Any) -> Model:
    record = {
        "id": model_id,
        "name": "Z.ai: GLM 9 70B",
        "created": 1_760_000_000,
        "context_length": 131_072,
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        "supported_parameters": ["tools", "reasoning"],
        **fields,
    }
    parsed = parse_record(record, today=date(2026, 11, 1), name=model_id.partition("/")[2] + ":latest")
    assert parsed is not None
    return parsed


PLAIN = {"architecture": {"input_modalities": ["text"], "output_modalities": ["text"]}, "supported_parameters": []}
EMBEDDING = {"architecture": {"input_modalities": ["text"], "output_modalities": ["embeddings"]}}


def test_a_tag_has_every_field_that_clients_demand() -> None:
    entry = tag(model())
    assert entry["name"] == entry["model"] == "glm-9-70b:latest"
    assert entry["modified_at"] == "2025-10-09T08:53:20Z"
    assert isinstance(entry["size"], int)
    assert entry["size"] > 0
    assert re.fullmatch("[0-9a-f]{64}", entry["digest"])
    assert entry["details"] == {
        "parent_model": "",
        "format": "gguf",
        "family": "z-ai",
        "families": ["z-ai", "clip"],
        "parameter_size": "70B",
        "quantization_level": "",
        "context_length": 131_072,
    }
    assert entry["capabilities"] == ["completion", "vision", "tools", "thinking"]
    assert not {"remote_model", "remote_host", "expires_at"} & set(entry)


def test_clip_only_for_models_that_see() -> None:
    assert tag(model(**PLAIN))["details"]["families"] == ["z-ai"]


def test_tags_keep_their_order_and_fit_the_official_model() -> None:
    models = [model("b/b"), model("a/a"), model("c/c", **EMBEDDING)]
    answer = tags([*models, listed_virtual(FREE, models[:2])])
    assert [entry["name"] for entry in answer["models"]] == ["b:latest", "a:latest", "c:latest", "free:latest"]
    assert len(ListResponse(**answer).models) == 4
    assert tags([]) == {"models": []}


def test_free_latest_can_do_what_any_free_model_can() -> None:
    seeing = model("a/a", context_length=1000, supported_parameters=[])
    calling = model(
        "b/b", **{**PLAIN, "supported_parameters": ["tools"], "context_length": 2000, "created": 1_770_000_000}
    )
    alias = listed_virtual(FREE, [seeing, calling])
    assert alias.capabilities == ["completion", "vision", "tools"]
    assert (alias.context_length, alias.created) == (2000, 1_770_000_000)
    assert re.fullmatch("[0-9a-f]{64}", alias.digest)
    assert alias.digest != listed_virtual(FREE, [seeing]).digest
    assert listed_virtual(FREE, []).capabilities == ["completion"]


def test_show_has_the_window_where_each_client_looks() -> None:
    shown = show(model(), "GLM-9-70b")
    assert shown["parameters"] == "num_ctx                        131072"
    info = shown["model_info"]
    assert info["z-ai.context_length"] == 131_072
    assert [key for key in info if "context_length" in key] == ["z-ai.context_length"]
    assert info["general.architecture"] == "z-ai"
    assert info["general.basename"] == "Z.ai: GLM 9 70B"
    assert isinstance(info["z-ai.embedding_length"], int)
    assert not any(".vision." in key or value is None for key, value in info.items())
    assert list(shown["details"]) == SIX_KEYS
    assert shown["capabilities"] == ["completion", "vision", "tools", "thinking"]
    assert all(isinstance(shown[key], str) for key in ("license", "modelfile", "template", "parameters", "system"))
    assert datetime.fromisoformat(shown["modified_at"]) == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)


@pytest.mark.parametrize("window", [0, None])
def test_an_unknown_window_is_still_a_positive_number(window: Any) -> None:
    unknown = model(context_length=window)
    assert show(unknown, "x")["model_info"]["z-ai.context_length"] == 4096
    assert tag(unknown)["details"]["context_length"] == 4096


@pytest.mark.parametrize(
    ("fields", "has_tools"), [({}, True), (PLAIN, False), (EMBEDDING, False)], ids=["tools", "no tools", "embedding"]
)
def test_the_template_names_tools_only_if_the_model_takes_them(fields: dict[str, Any], has_tools: bool) -> None:
    shown = show(model(**fields), "x")
    assert "{{ .Prompt }}" in shown["template"]
    assert ("{{ .Tools }}" in shown["template"]) is has_tools
    assert ("tools" in shown["template"].lower()) is has_tools
    assert ".Suffix" not in shown["template"]
    parsed = ShowResponse(**shown)
    assert parsed.capabilities == shown["capabilities"]
    assert parsed.modelinfo == shown["model_info"]


def test_show_of_free_latest() -> None:
    shown = show(listed_virtual(FREE, [model()]), "free")
    assert ShowResponse(**shown).capabilities == ["completion", "vision", "tools", "thinking"]
    assert shown["model_info"]["free.context_length"] == 131_072


def test_copilot_sees_the_name_it_asked_for() -> None:
    assert show(model(), "Asked", user_agent="GitHubCopilotChat/0.1")["model_info"]["general.basename"] == "Asked"
    assert show(model(), "Asked", user_agent="curl/8")["model_info"]["general.basename"] == "Z.ai: GLM 9 70B"


def test_the_system_prompt_of_the_request_is_echoed() -> None:
    shown = show(model(), "x", system="Be brief.")
    assert shown["system"] == "Be brief."
    assert 'SYSTEM """Be brief."""' in shown["modelfile"]
    assert "# FROM glm-9-70b:latest" in shown["modelfile"]


def test_basenames_are_unique() -> None:
    first, second, other = model("a/a"), model("b/b"), replace(model("c/c"), title="Other")
    names = basenames([first, second, other])
    assert len(set(names.values())) == 3
    assert names["c:latest"] == "Other"
    assert names["a:latest"] == "Z.ai: GLM 9 70B (a:latest)"


class Clock:
    """Epoch nanoseconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_790_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


def names_in(running: Running) -> list[str]:
    return [entry["name"] for entry in running.entries()]


def test_models_run_until_their_keep_alive_is_over() -> None:
    clock = Clock()
    running = Running(clock)
    assert running.entries() == []
    default, short, forever = (model(f"x/{name}") for name in ("default", "short", "forever"))
    running.used(default)
    running.used(short, 10)
    running.used(forever, -1)
    assert names_in(running) == ["forever:latest", "default:latest", "short:latest"]
    clock.now += 11 * SECOND
    assert names_in(running) == ["forever:latest", "default:latest"]
    running.used(short, 0.5)
    assert names_in(running) == ["forever:latest", "default:latest", "short:latest"]
    clock.now += 300 * SECOND
    assert names_in(running) == ["forever:latest"]


def test_keep_alive_0_and_unload_end_it() -> None:
    running = Running(Clock())
    running.used(model("x/a"), asked="a-by-another-name")
    running.used(model("x/a"), 0, asked="a")
    running.used(model("x/b"), asked="nosuch")
    running.unload("b:latest")
    running.unload("never loaded")
    assert running.entries() == []


def test_a_model_is_listed_under_the_name_that_was_asked_for_too() -> None:
    """`ollama run`, `ollama launch` and Cline look their own name up, for the window."""
    running = Running(Clock())
    for asked in ("", " glm ", "Nosuch", "x/glm", "NOSUCH:latest"):
        running.used(model("x/glm"), asked=asked)
    assert sorted(names_in(running)) == ["NOSUCH:latest", "glm:latest", "x/glm:latest"]
    assert {entry["digest"] for entry in running.entries()} == {model("x/glm").digest}


def test_the_names_that_clients_make_up_take_no_more_than_so_much_memory() -> None:
    clock = Clock()
    running = Running(clock)
    for number in range(2_000):
        clock.now += SECOND // 100
        running.used(model("x/glm"), asked=f"name-{number}")
    assert len(running.entries()) == 1000
    assert "name-1999:latest" in names_in(running)
    assert "name-0:latest" not in names_in(running)


def test_an_entry_of_ps_fits_every_client() -> None:
    running = Running(Clock())
    running.used(model(), 60)
    [entry] = running.entries()
    assert list(entry) == ["name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length"]
    assert list(entry["details"]) == SIX_KEYS
    assert entry["expires_at"] == "2026-09-21T14:14:20Z"
    assert ProcessResponse(models=[entry]).models[0].context_length == 131_072


@pytest.mark.parametrize("keep_alive", [-1, -0.5, 1e300, float("inf")])
def test_forever_is_292_years(keep_alive: float) -> None:
    running = Running(Clock())
    running.used(model(), keep_alive)
    [entry] = running.entries()
    assert entry["expires_at"].startswith("2319-")
    assert datetime.fromisoformat(re.sub(r"\.\d+", "", entry["expires_at"])).year == 2319
