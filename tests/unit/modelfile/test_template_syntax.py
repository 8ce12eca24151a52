"""What Go's parser would refuse of a template, and that it is found in time that is in proportion to its length."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.modelfile.template_syntax import template_error

GOOD = (
    "",
    "no actions } }} {",
    "{{ .Prompt }}",
    "{{ if .Tools }}<tools>{{ .Tools }}</tools>\n{{ end }}{{ .Prompt }}",
    '{{- range $i, $_ := .Messages }}{{- if eq .Role "user" }}{{ $i }}{{- else if eq .Role `a` }}b{{ else }}c{{ end }}'
    '{{- $last := eq (len (slice $.Messages $i)) 1 }}{{ if and $last (ne .Role "assistant") }}x{{ end }}{{ end }}',
    "{{/* a comment */}}{{- /* another */ -}}",
    '{{ define "x" }}{{ . }}{{ end }}{{ template "x" .A }}{{ template "x" }}{{ block "y" . }}z{{ end }}',
    "{{ with .A }}{{ .B }}{{ else with .C }}{{ . }}{{ else }}d{{ end }}",
    "{{ range .X }}{{ if .Y }}{{ break }}{{ end }}{{ continue }}{{ else }}z{{ end }}",
    "{{ $x := 1 }}{{ $x = 0x1F }}{{ -1.5e3 }}{{ 'a' }}{{ true }}{{ .A.B.C }}{{ (index .A 0).B }}{{ $.A }}",
    '{{ printf "%s}}" (json .A) | len | print }}',
    "{{ .A\n}}",
)

BAD = {
    "{{ .Prompt": "1: unclosed action",
    "{{": "1: unclosed action",
    "a\n{{ .Prompt": "2: unclosed action",
    "{{ if .A }}": "1: unexpected EOF",
    "{{ range .A }}\n\n": "3: unexpected EOF",
    "{{ end }}": "1: unexpected {{end}}",
    "{{ else }}": "1: unexpected {{else}}",
    "{{ if .A }}{{ else }}{{ else }}{{ end }}": "1: expected end; found {{else}}",
    "{{ }}": "1: missing value for command",
    "{{ if }}{{ end }}": "1: missing value for if",
    "{{ .A | }}": "1: missing value for command",
    "{{ () }}": "1: missing value for parenthesized pipeline",
    "{{ foo }}": '1: function "foo" not defined',
    "{{ .A }}\n{{ .B | foo }}": '2: function "foo" not defined',
    "{{ $x }}": '1: undefined variable "$x"',
    "{{ if $x := .A }}{{ end }}{{ $x }}": '1: undefined variable "$x"',
    "{{ $x = 1 }}": '1: undefined variable "$x"',
    "{{ $x, $y := .A }}": "1: too many declarations in command",
    "{{/* a": "1: unclosed comment",
    "{{/* a */ b }}": "1: comment ends before closing delimiter",
    "{{ (.A }}": "1: unclosed left paren",
    "{{ .A) }}": "1: unexpected right paren",
    '{{ "x }}': "1: unterminated quoted string",
    "{{ `x }}": "1: unterminated raw quoted string",
    "{{ 'x }}": "1: unterminated character constant",
    "{{ .a#b }}": "1: bad character U+0023 '#'",
    "{{ é§ }}": "1: bad character U+00A7 '§'",
    "{{ § }}": "1: unrecognized character in action: U+00A7 '§'",
    "{{ 3x }}": '1: bad number syntax: "3x"',
    "{{ : }}": "1: expected :=",
    "{{ .A | 3 }}": "1: non executable command in pipeline stage 2",
    "{{ 3.A }}": '1: bad number syntax: "3.A"',
    "{{ true.A }}": '1: unexpected . after term "true"',
    "{{ .A % .B }}": '1: unexpected "%" in command',
    "{{ break }}": "1: {{break}} outside {{range}}",
    "{{ template x }}": '1: unexpected "x" in template clause',
    '{{ if .A }}{{ define "x" }}{{ end }}{{ end }}': "1: unexpected <define> in command",
    "{{ end x }}": '1: unexpected "x" in end',
}


@pytest.mark.parametrize("template", GOOD)
def test_good(template: str) -> None:
    assert template_error(template) is None


@pytest.mark.parametrize("template", BAD)
def test_refused_in_gos_words(template: str) -> None:
    assert template_error(template) == f"template: :{BAD[template]}"


@given(st.text(alphabet="{}.|$()\"`'/*-= :,if end range 1aA\n", max_size=80))
def test_any_text_is_judged(template: str) -> None:
    template_error(template)


@pytest.mark.parametrize(
    "piece", ["{{ if .A }}", "{{ (", "{{/*", "(", "{{ .A }}", "{", "\n", "{{ $x := 1 }}", '{{ "', " "]
)
def test_a_long_one_takes_time_in_proportion(piece: str) -> None:
    began = time.process_time()
    template_error(piece * (64 * 1024 // len(piece)))
    template_error("{{ " + piece * (64 * 1024 // len(piece)) + " }}")
    assert time.process_time() - began < 2
