"""The published schema of a policy file says what the parser says, and lets by what it loads."""

import ast
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.pages import ROOT, blocks, pages
from saferun.policy import editor, form, schema
from saferun.policy.form import sql, units
from saferun.policy.gather import gather
from saferun.policy.parse import cost, demand, document, limit, parse, rule, setting, tool, whole
from saferun.policy.source import read

SCHEMA = editor.schema()
OLDER = {**SCHEMA, "$schema": "http://json-schema.org/draft-07/schema#"}
VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA)
OLDER_VALIDATOR = jsonschema_rs.Draft7Validator(OLDER)

# Every key that there is stands in it once at least.
WHOLE = """
version: 1
name: whole
default: deny
mode: enforce
urgent: false
inputs: {user.tier: string, region: string}
definitions:
  order_id: {type: string, maxLength: 40, default: A-1}
limits:
  - {id: calls, max: 50, per: run, message: Enough., disclose: false, sum: cost_usd, window: 1h}
  - {id: pace, rate: 10/5min, burst: 3, per: [tenant, tool], on_limit: defer, mode: enforce}
loops: {same_result: 4, spaced_result: off, same_error: 3, transient_error: 6, masked: 10, cycle: 3,
  barren: 12, lifetime: 40, changing: 50, poll_burst: 10, poll_for: 1h, retries: 0, denials: 3,
  asks: 2}
record: {prompts: hashed, output: whole, messages: whole, results: off}
breaker: {failure_rate: 0.5, slow_rate: 1, slow_after: 10s, min_calls: 20, open_for: 30s,
  open_max: 10min, jitter: 0, probes: 2, successes: 3, lease: 1min, spike: off, spike_floor: 2.5,
  retry_share: 0.1, retry_min: 0}
tools:
  refund:
    effect: write
    args:
      order_id: order_id
      amount: {type: integer, unit: cents, minimum: 1, maximum: 2000 USD}
      note: {type: string, optional: true, forbid: [none], title: Note, description: d}
      tags: {type: array, items: {type: string}, maxItems: 5}
      region: {type: string, among: {file: regions.txt}}
      to: {type: string, email: {domains: [acme.com]}}
      link: {type: string, url: {domains: [acme.com], schemes: [https], ports: [443]}}
      query: {type: string, sql: {dialect: sqlite, read_only: true, tables: [t], functions: [f]}}
      place: {type: object, properties: {city: {type: string}}, additionalProperties: false}
    default: allow
    rules:
      - {id: big, ask: [finance], approvals: 2, expires: 15m, edits: [amount], own: true,
          escalate: [{after: 5m, to: [managers]}], args: {amount: {minimum: 200 USD}},
          message: Big., mode: shadow}
      - {id: late, deny: true, when: args.amount > 5 && region == "eu", for: {user: maria}}
      - {id: vip, allow: true, for: {tenant: [acme], agent: ops, environment: test}}
      - {id: less, set: {note: low}, clamp: {amount: {minimum: 1, maximum: 50 USD}}}
    limits:
      - {id: per-order, max: 1, per: [run, args.order_id], mode: shadow}
      - {id: refunded, sum: args.amount, max: 2000 USD, per: user, window: 1d}
    loops: off
    breaker: {slow_after: off, spike: 3}
    poll: true
    timeout: 1h30m
    cost: {most: double(args.amount) * 0.01, from: result.usage.cost_usd}
    releasable: true
    redact: [args.note, result.name]
    sensitive: [args.order_id, result.*]
    subject: args.order_id
    idempotent: false
    opaque: [session]
    disclose: true
    message: No.
  mcp.*: {effect: read, args: any}
scopes:
  - for: {agent: support}
    tools:
      refund: {effect: write, default: ask}
"""


def files(name: str) -> bytes:
    return b"eu-1\neu-2\n"


def faults(said: Any) -> list[str]:
    """What the parser says about a policy that consists of this value."""
    source = gather(json.dumps(said), "p.yaml", files)
    parse(source, "p")
    return [fault.message for fault in source.faults]


def objections(said: Any) -> list[str]:
    """What the schema says about it."""
    return [f"{each.instance_path}: {each.message}" for each in VALIDATOR.iter_errors(said)]


def at(*steps: str) -> Any:
    found: Any = SCHEMA
    for step in steps:
        found = found[step]
    return found


# `written` is the parser's own note of what stood where a number with a unit is now.
KEYWORDS = {*schema._ABOUT, *form.FORMS, "unit", "use"} - {"written"}


@pytest.mark.parametrize(
    ("shape", "keys"),
    [
        (SCHEMA, document._FILE),
        (at("$defs", "scope"), document._SCOPED),
        (at("$defs", "tool"), tool._TOOL),
        (at("$defs", "limit"), limit._LIMIT),
        (at("$defs", "toolLimit"), limit._LIMIT),
        (at("$defs", "rule"), rule._RULE),
        (at("$defs", "rule", "properties", "escalate", "items"), demand.ESCALATION),
        (at("$defs", "for"), rule._FOR),
        (at("$defs", "clamp"), rule._CLAMP),
        (at("$defs", "loops"), setting.LOOPS),
        (at("$defs", "breaker"), setting.BREAKER),
        (at("properties", "record"), setting.RECORD),
        (at("$defs", "tool", "properties", "cost"), cost._COST),
        (at("$defs", "schema"), KEYWORDS),
        (at("$defs", "fragment"), KEYWORDS),
        (at("$defs", "definition"), {*KEYWORDS, "default"}),
        (at("$defs", "argument"), {*KEYWORDS, "default", "optional"}),
    ],
    ids=[
        "file",
        "scope",
        "tool",
        "limit",
        "toolLimit",
        "rule",
        "escalation",
        "for",
        "clamp",
        "loops",
        "breaker",
        "record",
        "cost",
        "schema",
        "fragment",
        "definition",
        "argument",
    ],
)
def test_each_part_has_the_keys_that_the_parser_reads_and_no_others(shape, keys):
    assert set(shape["properties"]) == set(keys)
    assert shape["additionalProperties"] is False


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (at("properties", "default", "enum"), rule.ANSWERS),
        (at("properties", "mode", "enum"), whole.MODES),
        (at("$defs", "tool", "properties", "default", "enum"), rule.ANSWERS),
        (at("$defs", "tool", "properties", "effect", "enum"), tool._EFFECTS),
        (at("$defs", "rule", "properties", "mode", "enum"), whole.MODES),
        (at("$defs", "limit", "properties", "on_limit", "enum"), limit.ON_LIMIT),
        (at("$defs", "schema", "properties", "format", "enum"), schema._FORMATS),
        (at("$defs", "schema", "properties", "type", "anyOf")[0]["enum"], schema._ANY),
        (at("$defs", "schema", "properties", "unit", "enum"), units._EVERY_WORD),
        (
            at("$defs", "schema", "properties", "sql", "properties", "dialect", "enum"),
            sql.DIALECTS,
        ),
        (
            at("properties", "inputs", "additionalProperties", "anyOf")[0]["enum"],
            document._TYPES,
        ),
    ],
    ids=[
        "default",
        "mode",
        "tool-default",
        "effect",
        "rule-mode",
        "on-limit",
        "format",
        "type",
        "unit",
        "dialect",
        "input",
    ],
)
def test_where_one_of_some_words_is_wanted_they_are_the_parsers(said, meant):
    assert len(said) == len(set(said))
    assert set(said) == set(meant)


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        (at("properties", "name", "pattern"), document._POLICY_NAME),
        (at("properties", "inputs", "propertyNames", "pattern"), document._INPUT),
        (at("$defs", "rule", "properties", "id", "pattern"), whole._ID),
        (at("$defs", "limit", "properties", "id", "pattern"), whole._ID),
        (at("$defs", "toolLimit", "properties", "id", "pattern"), whole._ID),
    ],
    ids=["name", "input", "rule", "limit", "toolLimit"],
)
def test_ids_and_names_have_the_parsers_pattern(pattern, meant):
    assert pattern == f"^{meant.pattern}$"


def test_the_file_that_ships_is_the_schema_as_it_is_now():
    shipped = Path(editor.__file__).parents[1] / "policy.schema.json"
    assert shipped.read_text(encoding="utf-8") == editor.text(), (
        "run `saferun policy schema --output src/saferun/policy/policy.schema.json`"
    )


def test_it_is_json_schema_in_the_newest_draft_and_in_the_one_that_most_editors_read():
    jsonschema_rs.meta.validate(SCHEMA)
    jsonschema_rs.meta.validate(OLDER)


def shapes(shape: Any) -> Iterator[dict[str, Any]]:
    """Every schema in a schema."""
    if isinstance(shape, dict):
        yield shape
        for key, held in shape.items():
            if key in ("properties", "$defs"):
                for each in held.values():
                    yield from shapes(each)
            elif key in ("items", "additionalProperties", "propertyNames", "if", "then"):
                yield from shapes(held)
            elif key in ("anyOf", "oneOf"):
                for each in held:
                    yield from shapes(each)


def keys() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key of each part, with what it holds."""
    for shape in shapes(SCHEMA):
        yield from shape.get("properties", {}).items()


def resolved(shape: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in shape:
        shape = {**at(*shape["$ref"].removeprefix("#/").split("/")), **shape}
        del shape["$ref"]
    return shape


def test_nothing_that_checks_stands_beside_a_reference():
    beside = {"$ref", "description", "examples"}
    assert [each for each in shapes(SCHEMA) if "$ref" in each and not each.keys() <= beside] == []


def test_every_key_has_a_meaning_in_whole_sentences():
    mute = [
        key for key, shape in keys() if not resolved(shape).get("description", "").endswith(".")
    ]
    assert mute == []


def test_every_key_shows_what_may_stand_there():
    # Words and booleans are offered as they are.
    shown = ("examples", "enum", "const", "properties")
    plain = {key for key, shape in keys() if resolved(shape).keys().isdisjoint(shown)}
    assert {key for key in plain if resolved(dict(keys())[key]).get("type") != "boolean"} == set()


@pytest.mark.parametrize(
    "validator", [jsonschema_rs.Draft202012Validator, jsonschema_rs.Draft7Validator]
)
def test_every_example_and_default_is_valid_where_it_stands(validator):
    wrong = []
    for shape in shapes(SCHEMA):
        held = resolved(shape)
        examples = [*held.get("examples", ()), *([held["default"]] if "default" in held else [])]
        judge = validator({**held, "$defs": SCHEMA["$defs"]}) if examples else None
        wrong += [(held, each) for each in examples if judge and not judge.is_valid(each)]
    assert wrong == []


# What the parser lets through.


def policies() -> Iterator[tuple[str, str]]:
    """Every text in the tests, the docs and the package that may be a policy, and where it is."""
    for page in pages():
        for block in blocks(page):
            if block.language == "yaml":
                begun = block.text.startswith("version:")
                yield str(block), block.text if begun else f"version: 1\n{block.text}"
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            said = node.value if isinstance(node, ast.Constant) else None
            if isinstance(said, str) and "version: 1\n" in said:
                yield f"{file.relative_to(ROOT)}:{node.lineno}", said
    for file in (ROOT / "src").rglob("*.yaml"):
        yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")


def test_every_policy_of_the_docs_and_the_tests_that_loads_is_valid():
    sound = refused = 0
    for where, text in policies():
        source = gather(text, "p.yaml", files)
        if parse(source, "p") is None:
            refused += 1
            continue
        sound += 1
        # What stands in the file, before lists and includes are in their places.
        assert objections(read(text).value) == [], where
    assert sound > 20, refused


def test_one_policy_that_has_every_part_loads_and_is_valid_in_both_drafts():
    said = read(WHOLE).value
    assert faults(said) == []
    assert objections(said) == []
    assert OLDER_VALIDATOR.is_valid(said)


def test_a_file_that_is_included_needs_no_version():
    assert objections({"definitions": {"id": {"type": "string"}}, "include": ["a.yaml"]}) == []


def test_a_policy_needs_one():
    assert objections({"name": "p"}) == ['[]: "version" is a required property']


# What the parser refuses.


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("version: 2", "['version']"),
        ("default: maybe", "['default']"),
        ("name: Big", "['name']"),
        ("tools: {refund: {efect: write}}", "['tools', 'refund']"),
        ("tools: {'a b': {}}", "['tools']"),
        ("tools: {'a*b': {}}", "['tools']"),
        ("tools: {t: {args: {a: {type: strin}}}}", "['tools', 't', 'args', 'a', 'type']"),
        ("tools: {t: {args: {a: {type: string, maxlen: 5}}}}", "['tools', 't', 'args', 'a']"),
        ("tools: {t: {args: {a: {items: {pattrn: x}}}}}", "['tools', 't', 'args', 'a', 'items']"),
        ("tools: {t: {args: all}}", "['tools', 't', 'args']"),
        ("tools: {t: {rules: [{id: r}]}}", "['tools', 't', 'rules', 0]"),
        ("tools: {t: {rules: [{id: r, deny: true, ask: true}]}}", "['tools', 't', 'rules', 0]"),
        ("tools: {t: {rules: [{id: r, deny: false}]}}", "['tools', 't', 'rules', 0, 'deny']"),
        ("tools: {t: {rules: [{deny: true}]}}", "['tools', 't', 'rules', 0]"),
        ("tools: {t: {limits: [{id: l, max: 0, per: run}]}}", "['tools', 't', 'limits', 0, 'max']"),
        ("limits: [{id: l, max: 1, per: args.a}]", "['limits', 0, 'per']"),
        ("limits: [{id: l, per: run}]", "['limits', 0]"),
        ("limits: [{id: l, max: 1, rate: 1/s, per: run}]", "['limits', 0]"),
        ("limits: [{id: l, rate: 10, per: run}]", "['limits', 0, 'rate']"),
        ("limits: [{id: l, max: 1, per: run, window: 60}]", "['limits', 0, 'window']"),
        ("limits: [{id: l, max: 1, per: run, sum: args.a}]", "['limits', 0, 'sum']"),
        ("loops: true", "['loops']"),
        ("loops: {cycle: 1}", "['loops', 'cycle']"),
        ("breaker: {failure_rate: 0}", "['breaker', 'failure_rate']"),
        ("tools: {t: {timeout: 30}}", "['tools', 't', 'timeout']"),
        ("tools: {t: {cost: {from: result.a}}}", "['tools', 't', 'cost']"),
        ("tools: {t: {cost: -1}}", "['tools', 't', 'cost']"),
        ("scopes: [{for: {}, tools: {}}]", "['scopes', 0, 'for']"),
        ("inputs: {region: text}", "['inputs', 'region']"),
    ],
)
def test_what_is_wrong_is_shown_where_it_stands_and_the_parser_says_so_too(text, where):
    said = {"version": 1, **read(text).value}
    assert faults(said)
    assert [each.partition(": ")[0] for each in objections(said)] == [where]


def mappings(shape: dict[str, Any], said: Any, path: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Each mapping in a document that has a fixed set of keys: its place, and those keys."""
    shape = resolved(shape)
    if isinstance(said, list):
        for number, each in enumerate(said):
            yield from mappings(shape.get("items", {}), each, (*path, number))
    elif isinstance(said, dict) and shape.get("additionalProperties") is False:
        yield path, shape["properties"].keys()
        for key, each in said.items():
            yield from mappings(shape["properties"][key], each, (*path, key))
    elif isinstance(said, dict) and "additionalProperties" in shape:
        for key, each in said.items():
            yield from mappings(shape["additionalProperties"], each, (*path, key))


FULL = read(WHOLE).value
PLACES = list(mappings(SCHEMA, FULL))
WORDS = sorted({word for _, words in PLACES for word in words})
STRANGE = ("is not a key here", "is no keyword", "is not supported", "has no place here")


def with_keys(path: tuple[Any, ...], *keys: str) -> Any:
    """The policy with every part, and more keys at a place, which hold nothing."""
    said = deepcopy(FULL)
    place = said
    for step in path:
        place = place[step]
    place.update(dict.fromkeys(keys))
    return said


PIECES = st.sampled_from(
    [
        *(*WORDS, *schema._ANY, *schema._FORMATS, *document._TYPES),
        *("any", "run", "args.amount", "", " ", "b c", "ä", "mcp.*", "^a$", "(?i)a", "/srv"),
        *("200 USD", "- $5", "1h30m", "acme.com", "*.acme.com"),
        *("off", "10/min", "cost_usd", "result.a", "args.amount * 2"),
        *(None, True, False, 0, 1, -1, 5, 2.5, 2**63),
    ]
)
VALUES = st.recursive(
    PIECES, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(WORDS), each)
)


def test_the_policy_with_every_part_has_every_kind_of_mapping():
    closed = [shape for shape in shapes(SCHEMA) if shape.get("additionalProperties") is False]
    found = {frozenset(words) for _, words in PLACES}
    assert {frozenset(shape["properties"]) for shape in closed} == found


# `{file: NAME}` is a form of `among` and no part of the file, and is refused as a whole.
@pytest.mark.parametrize(
    ("path", "known"), [each for each in PLACES if each[0][-1:] != ("among",)], ids=str
)
def test_the_parser_lets_no_word_by_that_belongs_to_another_place(path, known):
    others = [word for word in WORDS if word not in known]
    told = " ".join(faults(with_keys(path, *others)))
    assert [word for word in others if f"`{word}`" not in told] == []


@given(st.sampled_from(PLACES), st.sampled_from(WORDS) | st.text(max_size=20))
def test_the_parser_knows_a_key_at_a_place_where_the_schema_does_and_nowhere_else(place, key):
    path, known = place
    said = faults(with_keys(path, key))
    if key in known:
        assert [each for each in said if any(map(each.__contains__, STRANGE))] == []
    else:
        assert objections(with_keys(path, key))
        assert said


@given(st.sampled_from(PLACES), st.text(max_size=20))
def test_what_the_schema_says_of_a_key_is_the_same_in_both_drafts(place, key):
    said = with_keys(place[0], key)
    assert VALIDATOR.is_valid(said) == OLDER_VALIDATOR.is_valid(said)


@given(st.data())
def test_whatever_the_schema_refuses_does_not_load(data):
    path, known = data.draw(st.sampled_from(PLACES))
    said = deepcopy(FULL)
    place = said
    for step in path:
        place = place[step]
    place[data.draw(st.sampled_from(sorted(known)))] = data.draw(VALUES)
    assert VALIDATOR.is_valid(said) or faults(said)
