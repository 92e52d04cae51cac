"""The JSON Schemas that a policy may hold: nothing in them may check nothing."""

import pytest

from policy.making import call, error, errors, of, text


def schema_error(schema: str) -> str:
    return error(text(f"args: {{a: {schema}}}\n"))


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("maxlength: 5", "maxLength"),
        ("max_length: 5", "maxLength"),
        ("minmum: 5", "minimum"),
        ("patern: x", "pattern"),
        ("enums: [a]", "enum"),
    ],
)
def test_a_misspelt_keyword_is_refused_and_says_what_was_meant(typo, meant):
    message = schema_error(f"{{type: string, {typo}}}")
    assert "is no keyword of JSON Schema that SafeRun checks" in message
    assert f"did you mean `{meant}`?" in message


def test_a_misspelt_keyword_deep_inside_is_refused_with_its_line():
    document = """\
version: 1
tools:
  t:
    args:
      a:
        type: array
        items:
          type: object
          additionalProperties: false
          properties:
            b:
              type: string
              maxlength: 5
"""
    assert error(document).startswith("13: `maxlength`")


@pytest.mark.parametrize(
    "reference",
    [
        "$ref: 'https://example.test/s'",
        "$ref: '#/$defs/a'",
        "$dynamicRef: '#a'",
        "$id: x",
        "$defs: {}",
        "$anchor: a",
        "$schema: 'http://json-schema.org/draft-07/schema'",
    ],
)
def test_schemas_do_not_refer_to_anything(reference):
    assert "write this one out in place" in schema_error(f"{{type: string, {reference}}}")


@pytest.mark.parametrize(
    "word", ["contentEncoding: base64", "contentMediaType: application/json", "nullable: true"]
)
def test_what_would_only_be_noted_is_refused(word):
    assert "has no place here" in schema_error(f"{{type: string, {word}}}")


def test_a_default_inside_an_object_is_refused_since_nothing_fills_it_in():
    inner = "{type: object, additionalProperties: false, properties: {b: {default: 5}}}"
    assert "for a whole argument" in schema_error(inner)


@pytest.mark.parametrize("keyword", ["maximum: 5", "maxLength: 5", "maxItems: 5", "required: [b]"])
def test_a_keyword_about_one_type_needs_a_type_beside_it(keyword):
    message = schema_error(f"{{{keyword}}}")
    assert "a value of any other type would pass; say `type` beside it" in message


@pytest.mark.parametrize("known", ["type: integer", "type: [integer, 'null']", "enum: [1, 9]"])
def test_a_type_an_enum_or_a_const_says_what_a_value_is(known):
    assert errors(text(f"args: {{a: {{{known}, maximum: 5}}}}\n")) == []


@pytest.mark.parametrize(
    "schema",
    ["{type: integer, maxLength: 5}", "{type: string, minimum: 5}", "{enum: [a], maxItems: 1}"],
)
def test_a_keyword_about_another_type_is_refused(schema):
    assert "would check nothing here" in schema_error(schema)


def test_what_a_value_is_goes_without_saying_inside_any_of():
    assert errors(text("args: {a: {type: integer, anyOf: [{maximum: 5}, {const: 9}]}}\n")) == []
    assert "say `type` beside it" in schema_error("{anyOf: [{maximum: 5}, {const: 9}]}")


def test_what_a_value_is_does_not_go_for_what_it_holds():
    assert "say `type` beside it" in schema_error("{type: array, items: {maximum: 5}}")


def test_a_condition_takes_the_type_from_the_tools_arguments():
    rule = "- {id: r, deny: true, args: {amount: {minimum: 5}}}"
    assert errors(text(rules=rule)) == []


def test_a_condition_on_an_argument_of_any_type_says_which_it_means():
    document = text("args: {a: {}}\n", rules="- {id: r, deny: true, args: {a: {minimum: 5}}}")
    assert "say `type` beside it" in error(document)


def test_a_condition_that_can_never_match_the_type_is_refused():
    rule = "- {id: r, deny: true, args: {amount: {const: '5'}}}"
    assert "it can never match: the value is a whole number" in error(text(rules=rule))


def test_an_unknown_type_is_refused_and_says_what_was_meant():
    message = schema_error("{type: interger, minimum: 5}")
    assert "a type is one of" in message
    assert "did you mean `integer`?" in message


@pytest.mark.parametrize("kind", ["[]", "5", "''", "[string, 5]", "{}", ""])
def test_a_type_is_a_word_or_a_list_of_words(kind):
    assert "a type is one of" in schema_error(f"{{type: {kind}}}")


@pytest.mark.parametrize("values", ["[]", "USD", "", "{}"])
def test_an_enum_is_a_list_of_values(values):
    assert "`enum` is a list" in schema_error(f"{{enum: {values}}}")


def test_a_format_that_is_not_checked_is_refused():
    message = schema_error("{type: string, format: emial}")
    assert "SafeRun does not check a format of that name" in message
    assert "did you mean `email`?" in message


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("email", "lead@acme.test", "Lead <lead@acme.test>"),
        ("email", "a@b.test", "аdmin@b.test"),
        ("ipv4", "127.0.0.1", "127.1"),
        ("date", "2026-10-11", "2026-13-11"),
        ("uuid", "8c1f9d3c-6f0e-4c4e-9b0a-0d6f3f6f3b1a", "8c1f"),
        ("uri", "https://acme.test/a", "acme test"),
        ("hostname", "acme.test", "-acme.test"),
    ],
)
def test_a_format_is_checked(form, good, bad):
    made = of(f"a: {{type: string, format: {form}}}")
    assert made.decide(call({"a": good})).verdict == "allow"
    assert made.decide(call({"a": bad})).verdict == "deny"


@pytest.mark.parametrize("pattern", ["(", "(?=a)b", "(?!a)b", "(?<=a)b", r"(a)\1", "[", "a{2,1}"])
def test_a_pattern_that_is_none_or_could_backtrack_is_refused(pattern):
    assert "patterns run in linear time" in schema_error(f"{{type: string, pattern: '{pattern}'}}")


def test_a_pattern_whose_compiled_size_explodes_is_refused():
    message = schema_error("{type: string, pattern: '((a{1000}){1000}){100}'}")
    assert "compiled size is bounded" in message


def test_patterns_for_names_of_properties_are_checked_too():
    inner = "{type: object, additionalProperties: false, patternProperties: {'(?=a)': {}}}"
    assert "patterns run in linear time" in schema_error(inner)


def test_a_pattern_that_backtracks_elsewhere_runs_in_linear_time():
    made = of("a: {type: string, pattern: '^(a+)+$'}")
    assert made.decide(call({"a": "a" * 100_000 + "!"})).verdict == "deny"


def test_the_end_of_a_pattern_is_the_end_of_the_text():
    assert of("a: {type: string, pattern: '^a$'}").decide(call({"a": "a\n"})).verdict == "deny"


@pytest.mark.parametrize(
    "schema", ["minLength: x", "minLength: -1", "minLength: 1.5", "pattern: 5"]
)
def test_a_keyword_with_a_value_of_the_wrong_kind_is_refused(schema):
    assert errors(text(f"args: {{a: {{type: string, {schema}}}}}\n")) != []


@pytest.mark.parametrize(
    "schema",
    [
        "{type: integer, exclusiveMinimum: true}",
        "{type: object, additionalProperties: false, required: b}",
        "{type: array, items: [{}]}",
        "{type: array, items: {type: string}, uniqueItems: 1}",
        "{anyOf: []}",
        "{type: string, not: 5}",
        "{type: object, properties: [a], additionalProperties: false}",
    ],
)
def test_a_schema_that_is_none_is_refused(schema):
    assert errors(text(f"args: {{a: {schema}}}\n")) != []


@pytest.mark.parametrize(
    ("word", "partner"),
    [("then: {maxLength: 1}", "if"), ("else: {maxLength: 1}", "if"), ("if: {const: a}", "then")],
)
def test_a_keyword_that_means_nothing_alone_is_refused(word, partner):
    message = schema_error(f"{{type: string, {word}}}")
    assert "checks nothing without" in message
    assert f"`{partner}`" in message


def test_counting_items_that_are_not_described_is_refused():
    assert "without `contains`" in schema_error("{type: array, minContains: 2}")


@pytest.mark.parametrize("said", ["title: T", "description: D", "examples: [a]", "$comment: c"])
def test_words_for_readers_are_allowed(said):
    assert errors(text(f"args: {{a: {{type: string, {said}}}}}\n")) == []


def test_an_argument_may_hold_anything_if_the_policy_says_so():
    assert of("a: {}").decide(call({"a": [1, {"b": None}]})).verdict == "allow"


@pytest.mark.parametrize("pattern", ["^[[:alpha:]]+$", "^[a-z[0-9]]$", r"\<word"])
def test_a_pattern_that_engines_read_differently_is_refused(pattern):
    assert "engines disagree" in schema_error(f"{{type: string, pattern: '{pattern}'}}")
