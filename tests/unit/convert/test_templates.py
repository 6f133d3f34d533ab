"""Go templates become Jinja that gives the same text, or are refused with a reason."""

import pytest

from syncret.convert.terms import NoEquivalent
from syncret.convert.translate import translate

EXACT = [
    ("plain", "plain"),
    ("{{ .host }}", "{{ host }}"),
    ("{{.host}}:{{.port}}", "{{ host }}:{{ port }}"),
    ("a {{- .x -}} \n b", "a{{ x }}b"),
    ("{{-1}}", "{{ -1 }}"),
    ("{{ $.secrets }}", '{{ secrets["secrets"] }}'),
    ("{{ .für }}", '{{ secrets["für"] }}'),
    ('{{ index . "a-b" }}', '{{ secrets.get("a-b", "") }}'),
    ("{{ .a | b64enc | squote }}", '{{ ("\'" ~ (a | b64encode) ~ "\'") }}'),
    ('{{ default "x" .a }}', '{{ (a or "x") }}'),
    ("{{ default .b .a }}", "{{ (a ~ b) and (a or b) }}"),
    (
        "{{ if .a }}1{{ else if .b }}2{{ else }}3{{ end }}",
        "{% if a %}1{% else %}{% if b %}2{% else %}3{% endif %}{% endif %}",
    ),
    ("{{ with .a }}{{ . }}{{ end }}", "{% if a %}{{ a }}{% endif %}"),
    (
        "{{ range $k, $v := . }}{{ $k }}={{ $v }};{{ end }}",
        "{% for v2, v1 in secrets | dictsort(true) %}{{ v2 }}={{ v1 }};{% endfor %}",
    ),
    (
        '{{ range splitList "," .v1 }}{{ . }}{{ end }}',
        '{% for v2 in v1.split(",") %}{{ v2 }}{% endfor %}',
    ),
    ("{{ $x := .a }}{{ $x }}", '{% set v1 = a ~ "" %}{{ v1 }}'),
    ('{{ printf "%s/%v%%" .a .b }}', '{{ (a ~ "/" ~ b ~ "%") }}'),
    ('{{ eq .a "x" "y" }}', '{{ (a in ["x", "y"]) }}'),
    ("{{/* a word */}}x", "{# a word #}x"),
    ("{% raw %} {# {{.a}}", '{{ "{" }}% raw %} {{ "{" }}# {{ a }}'),
    ("{ {{- .a }}", '{{ "{" }}{{ a }}'),
    ("a\r\nb", 'a{{ "\\r" }}\nb'),
    ('{{ `raw "text"` }}', '{{ "raw \\"text\\"" }}'),
    ("{{ nindent 2 .a }}", '{{ ("\\n  " ~ (a ~ "").replace("\\n", "\\n  ")) }}'),
    ('{{ (index (splitList "," .a) 0) }}', '{{ a.split(",")[0] }}'),
]

NOTED = [
    ("{{ .a | fromJson }}", "{{ a | from_json }}", "as JSON"),
    ("{{ (.a | fromJson).b }}", '{{ (a | from_json)["b"] }}', "as JSON"),
    ("{{ .a | b64dec }}", "{{ a | b64decode }}", "not Base64"),
    ("{{ .a | upper }}", "{{ a.upper() }}", "ASCII"),
    ('{{ htpasswd "u" .a }}', '{{ (a | htpasswd("u")) }}', "same hash"),
    (
        '{{ regexReplaceAll "(a)" .a "${1}$$\\\\" }}',
        '{{ (a | regex_replace("(a)", "\\\\g<1>$\\\\\\\\")) }}',
        "empty",
    ),
]

REFUSED = [
    ("{{ now }}", "the function now: templates have no clock"),
    ("{{ randAlphaNum 5 }}", "random"),
    ("{{ foo .a }}", "the function foo: it has no equivalent"),
    ("{{ . }}", "a list or a map"),
    ("{{ nil }}", "nil"),
    ("{{ .a.b }}", "a field of something that has none"),
    ("{{ if (.a | fromJson) }}x{{ end }}", "not known before it runs"),
    ("{{ range .a }}x{{ end }}", "walks over something"),
    ("{{ $x := .a }}{{ $x = .b }}", "set a second time"),
    ("{{ $x }}", "was not set"),
    ('{{ define "a" }}x{{ end }}', "the statement define"),
    ('{{ template "a" }}', "the statement template"),
    ('{{ block "a" . }}x{{ end }}', "the statement block"),
    ("{{ range . }}{{ break }}{{ end }}", "the statement break"),
    ("{{ if .a }}", "has no end"),
    ("{{ end }}", "without a beginning"),
    ("{{ .a", "not closed"),
    ("{{ ! }}", "not closed, or has signs"),
    ("{{ 'x", "not closed, or has signs"),
    ("{{ 1.5 }}", "no decimal integer"),
    ('{{ "\\xff" }}', "single bytes"),
    ("{{ .a .b }}", "no function"),
    ("{{ printf .a }}", "not a constant"),
    ('{{ printf "%q" .a }}', "other than %s"),
    ('{{ splitList "" .a }}', "empty"),
    ("{{ toYaml . }}", "layout differs"),
    ("{{ coalesce .a .b }}", "<no value>"),
    ("{{ trimSuffix .a }}", "called with 1 arguments"),
    ("{{ " + "(" * 3000 + ".a" + ")" * 3000 + " }}", "nested too deeply"),
]


@pytest.mark.parametrize(("text", "jinja"), EXACT)
def test_what_is_exact_has_no_note(text: str, jinja: str) -> None:
    made = translate(text)
    assert (made.text, made.notes) == (jinja, ())


@pytest.mark.parametrize(("text", "jinja", "note"), NOTED)
def test_what_differs_somewhere_says_where(text: str, jinja: str, note: str) -> None:
    made = translate(text)
    assert made.text == jinja
    assert any(note in one for one in made.notes)


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_what_has_no_equivalent_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(NoEquivalent) as caught:
        translate(text)
    assert reason in str(caught.value)


def test_a_reason_quotes_no_text_of_the_template() -> None:
    for text in (
        '{{ "hunter2-not-real" | now }}',
        '{{ "hunter2-not-real',
        "{{ hunter2-not-real }}",
    ):
        with pytest.raises(NoEquivalent) as caught:
            translate(text)
        assert "hunter2-not-real" not in str(caught.value)


def test_a_template_for_names_of_keys_has_one_variable() -> None:
    assert translate('{{ printf "db_%s" .value }}', only="value").text == '{{ ("db_" ~ value) }}'
    for text in ("{{ .other }}", "{{ range . }}x{{ end }}", '{{ index . "value" }}'):
        with pytest.raises(NoEquivalent):
            translate(text, only="value")
