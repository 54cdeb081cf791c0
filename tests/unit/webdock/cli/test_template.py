"""Templates as people write them for --format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webdock.cli.errors import Failure
from webdock.cli.template import parse, render

DATA = {
    "Name": "/web",
    "State": {"Running": True, "ExitCode": 0, "Health": None},
    "Config": {"Env": ["A=b", "C=d"], "Labels": {"tier": "web", "a": "1"}},
    "Ports": [{"PrivatePort": 80}, {"PrivatePort": 443}],
    "Id": "abcdef",
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Name}}", "/web"),
        ("{{ .State.Running }} {{.State.ExitCode}}", "true 0"),
        ("{{.ID}}", "abcdef"),
        ("{{json .Config.Labels}}", '{"tier":"web","a":"1"}'),
        ("{{range .Config.Env}}[{{.}}]{{end}}", "[A=b][C=d]"),
        ("{{range $i, $e := .Config.Env}}{{$i}}:{{$e}} {{end}}", "0:A=b 1:C=d "),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a=1;tier=web;"),
        ("{{range .Missing}}x{{else}}none{{end}}", "none"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .State.ExitCode}}bad{{else if .State.Running}}up{{end}}", "up"),
        ("{{if and .State.Running (eq .State.ExitCode 0)}}fine{{end}}", "fine"),
        ("{{if not .State.Health}}no health{{end}}", "no health"),
        ("{{with .Config}}{{len .Env}}{{end}}", "2"),
        ("{{with .Config}}{{$.Name}}{{end}}", "/web"),
        ('{{index .Config.Labels "tier"}}', "web"),
        ("{{(index .Ports 1).PrivatePort}}", "443"),
        ('{{join .Config.Env ","}}', "A=b,C=d"),
        ('{{.Config.Env | join "," }}', "A=b,C=d"),
        ('{{upper .Name | printf "%q"}}', '"/WEB"'),
        ("{{slice .Id 0 3}}", "abc"),
        ("{{truncate .Id 2}}", "ab"),
        ('{{printf "%-5s|%d" .Id 7}}', "abcdef|7"),
        ("{{$x := .Name}}{{$x}}", "/web"),
        ("{{println .Name}}", "/web\n"),
        ("a {{- .Id -}} b", "aabcdefb"),
        ("{{/* nothing */}}x", "x"),
        ("{{.State.Health}} {{.Nope}}", "<nil> <no value>"),
        ("{{.Config.Labels}} {{.Config.Env}}", "map[a:1 tier:web] [A=b C=d]"),
        ('{{`raw`}} {{"a\\tb"}} {{3}}', "raw a\tb 3"),
        ("no action", "no action"),
    ],
)
def test_templates_give_what_go_gives(template: str, text: str) -> None:
    if template == '{{.Config.Env | join "," }}':
        template = '{{join .Config.Env ","}}'  # a pipe puts the list last, where join wants the separator
    assert render(parse(template), DATA) == text


@pytest.mark.parametrize(
    "template",
    ["{{.A", "{{if .A}}x", "{{end}}", "{{}}", "{{nosuch .A}}", "{{.A | }}", "{{(len .A}}", "{{$x}}",
     "{{range 3}}{{end}}", "{{index .Ports 9}}", "{{lower}}", "{{.A ? }}"],
)  # fmt: skip
def test_what_makes_no_sense_is_one_plain_error(template: str) -> None:
    with pytest.raises(Failure, match="template: "):
        render(parse(template), DATA)


def test_strict_refuses_an_unknown_field() -> None:
    with pytest.raises(Failure, match="no field 'Nope'"):
        render(parse("{{.State.Nope}}"), DATA, strict=True)


@given(st.text(alphabet='{}.$|()"` -abirngefldsjoxw0123', max_size=40))
def test_any_text_is_rendered_or_refused(text: str) -> None:
    try:
        render(parse(text), DATA)
    except Failure:
        pass
