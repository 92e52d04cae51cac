"""The keys of a policy file: what each means, and that nothing else is let by."""

import pytest

from policy.making import REFUND, call, decide, error, errors, of, policy, text
from saferun.control import Limit
from saferun.errors import PolicyError
from saferun.policy import load, loads

FULL = """
version: 1
name: production
default: deny
mode: enforce
limits:
  - {id: run-calls, max: 50, per: run}
tools:
  refund:
    effect: write
    args:
      order_id: {type: string, maxLength: 40}
      amount: {type: integer, minimum: 1, maximum: 100000}
      currency: {enum: [USD, EUR, GBP]}
      note: {type: string, optional: true}
    limits:
      - id: per-order
        max: 1
        per: [run, args.order_id]
        message: One refund for each order.
        disclose: false
    idempotent: true
    rules:
      - id: big-refund
        ask: [finance]
        args: {amount: {minimum: 20001}}
        message: Refunds above $200 need finance.
      - {id: notes, deny: true, args: {note: {minLength: 500}}, mode: shadow}
    redact: [args.note, result.secret.*, result.*.token]
    opaque: [connection]
    disclose: true
  lookup: {effect: read, args: any, default: ask, message: Somebody has to look.}
"""


def test_the_full_example_says_all_that_it_says():
    made = loads(FULL)
    tool = made.tools["refund"][0]
    assert (made.name, made.mode) == ("production", "enforce")
    assert (tool.effect, tool.idempotent, tool.opaque) == ("write", True, {"connection"})
    assert tool.redact == (("args", "note"), ("result", "secret", "*"), ("result", "*", "token"))
    assert tool.limits == (
        Limit(id="run-calls", max=50, per=("run",), line=7),
        Limit(
            id="per-order",
            max=1,
            per=("run", "args.order_id"),
            tool="refund",
            message="One refund for each order.",
            disclose=False,
            line=17,
        ),
    )


def test_a_policy_needs_no_more_than_its_version():
    assert loads("version: 1\n").decide(call()).verdict == "deny"


@pytest.mark.parametrize("version", ["", "version: 2", "version: '1'", "version: 1.0"])
def test_any_version_but_1_is_refused(version):
    assert "expected `version: 1`" in errors(f"name: p\n{version}\n")[0]


def test_a_name_in_the_file_goes_before_the_name_of_the_file(tmp_path):
    (tmp_path / "a.yaml").write_text("version: 1\nname: b\n", encoding="utf-8")
    assert load(tmp_path / "a.yaml").name == "b"


@pytest.mark.parametrize("name", ["Production", "a b", "../a", "a/b", "''", "5", "ä", "x" * 65])
def test_a_name_that_cannot_name_a_policy_is_refused(name):
    assert "the name of a policy" in error(f"version: 1\nname: {name}\n")


def test_a_file_whose_name_cannot_name_a_policy_must_say_one(tmp_path):
    (tmp_path / "My Policy.yaml").write_text("version: 1\n", encoding="utf-8")
    with pytest.raises(PolicyError, match="so say `name`"):
        load(tmp_path / "My Policy.yaml")


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ("version: 1\ndefualt: allow\n", "2: `defualt`"),
        (text("effekt: read\n"), "5: `effekt`"),
        (text(rules="- {id: r, deny: true, arg: {}}"), "12: `arg`"),
        ("version: 1\nlimits:\n  - {id: l, max: 1, pre: run, per: run}\n", "3: `pre`"),
    ],
)
def test_an_unknown_key_is_refused_with_its_line_and_what_was_meant(document, found):
    message = error(document)
    assert message.startswith(f"{found} is not a key here")
    assert "did you mean" in message


def test_a_key_that_belongs_elsewhere_is_refused():
    assert "`redact` is not a key here" in error(text(rules="- {id: r, deny: true, redact: []}"))


@pytest.mark.parametrize("key", ["default", "mode"])
@pytest.mark.parametrize("value", ["of", "true", "5", "[deny]", ""])
def test_a_choice_that_is_none_is_refused(key, value):
    assert f"{2}: expected one of " in error(f"version: 1\n{key}: {value}\n")


def test_a_misspelt_choice_says_what_was_meant():
    assert "did you mean `destructive`?" in error(text("effect: destructiv\nargs: any\n"))


@pytest.mark.parametrize("value", ["yes", "on", "1", "'true'", "", "[true]"])
def test_a_flag_is_true_or_false(value):
    assert "expected `true` or `false`" in error(text(f"args: any\nidempotent: {value}\n"))


@pytest.mark.parametrize("value", ["", "5", "[a]", "'  '"])
def test_a_message_is_a_sentence(value):
    assert "expected a sentence" in error(text(f"args: any\nmessage: {value}\n"))


@pytest.mark.parametrize("value", ["", "5", "text", "[a]"])
def test_tools_are_a_mapping(value):
    assert "2: expected a mapping" in error(f"version: 1\ntools: {value}\n")


@pytest.mark.parametrize("value", ["", "5", "text", "[]"])
def test_a_tool_is_a_mapping(value):
    assert "expected a mapping with some of effect, args" in error(
        f"version: 1\ntools: {{refund: {value}}}\n"
    )


@pytest.mark.parametrize("key", ["rules", "limits", "redact", "opaque"])
@pytest.mark.parametrize("value", ["", "5", "text", "{}"])
def test_lists_are_lists(key, value):
    assert "expected a list" in error(text(f"args: any\n{key}: {value}\n"))


@pytest.mark.parametrize("name", ["'*_fetch'", "'?'", "'a*b*'"])
def test_a_star_anywhere_but_at_the_end_of_a_name_is_refused(name):
    assert "at the end of a tool's name" in error(f"version: 1\ntools: {{{name}: {{args: any}}}}\n")


@pytest.mark.parametrize("name", ["''", "a b", '"a\\u200bb"', '"a\\tb"', "x" * 129])
def test_a_name_that_cannot_be_seen_is_refused(name):
    assert "visible characters" in error(f"version: 1\ntools: {{{name}: {{args: any}}}}\n")


@pytest.mark.parametrize("name", ["server.tool", "ns/tool", "ns:tool", "отправить", "yes"])
def test_tools_may_be_named_as_frameworks_name_them(name):
    made = loads(f"version: 1\ntools: {{{name}: {{effect: read}}}}\n")
    assert made.decide(call({}, tool=name)).verdict == "allow"


# Rules.


@pytest.mark.parametrize("said", ["", ", deny: true, ask: true", ", allow: true, deny: true"])
def test_a_rule_says_exactly_one_of_its_three_words(said):
    assert "exactly one of" in error(text(rules=f"- {{id: r{said}}}"))


@pytest.mark.parametrize("word", ["allow", "deny"])
@pytest.mark.parametrize("value", ["false", "yes", "", "[finance]", "1"])
def test_allow_and_deny_are_true_or_left_out(word, value):
    assert "expected `true`" in error(text(rules=f"- {{id: r, {word}: {value}}}"))


@pytest.mark.parametrize("value", ["false", "yes", "", "[]", "finance", "{}", "1"])
def test_ask_names_somebody_or_is_true(value):
    assert "expected a list of groups or people, or `true`" in error(
        text(rules=f"- {{id: r, ask: {value}}}")
    )


@pytest.mark.parametrize("names", ["[5]", "['']", "[a b]", "[[a]]"])
def test_ask_names_people_by_words(names):
    assert "the name of a group or a person" in error(text(rules=f"- {{id: r, ask: {names}}}"))


def test_nobody_is_asked_twice_in_one_rule():
    assert "`a` stands here twice" in error(text(rules="- {id: r, ask: [a, b, a]}"))


@pytest.mark.parametrize("rule", ["{deny: true}", "{id: , deny: true}", "{id: a b, deny: true}"])
def test_a_rule_has_an_id(rule):
    assert "expected an `id`" in error(text(rules=f"- {rule}"))


def test_an_id_stands_once_in_a_file_among_rules_and_limits_alike():
    head = "limits: [{id: same, max: 1, per: run}]"
    assert "`same` is taken" in error(text(head=head, rules="- {id: same, deny: true}"))


@pytest.mark.parametrize("taken", ["default", "refund.args", "refund.default"])
def test_an_id_that_safe_run_speaks_under_is_taken(taken):
    assert f"`{taken}` is taken" in error(text(rules=f"- {{id: {taken}, deny: true}}"))


@pytest.mark.parametrize("rule", ["", "5", "text", "[]"])
def test_a_rule_is_a_mapping(rule):
    assert "expected a mapping with some of id, allow" in errors(text(rules=f"- {rule}"))[0]


def test_a_rule_cannot_look_at_an_argument_that_the_tool_does_not_have():
    message = error(text(rules="- {id: r, deny: true, args: {amuont: {minimum: 5}}}"))
    assert "`amuont` is not an argument that the tool's `args` describe" in message
    assert "did you mean `amount`?" in message


def test_a_rule_cannot_look_at_arguments_that_are_not_checked():
    message = error(text("args: any\n", rules="- {id: r, deny: true, args: {a: {minimum: 5}}}"))
    assert "a rule can only look at arguments that the tool's `args` describe" in message


def test_a_rule_with_an_empty_condition_is_refused():
    assert "always applies" in error(text(rules="- {id: r, deny: true, args: {}}"))
    assert "expected a JSON Schema" in error(
        text(rules="- {id: r, deny: true, args: {amount: {}}}")
    )


@pytest.mark.parametrize("fragment", ["5", "USD", "[1]", "", "true"])
def test_a_condition_is_a_schema(fragment):
    assert "such as `{" in error(
        text(rules=f"- {{id: r, deny: true, args: {{amount: {fragment}}}}}")
    )


@pytest.mark.parametrize("word", ["default: 5", "optional: true"])
def test_what_belongs_to_the_tools_arguments_is_refused_in_a_condition(word):
    rule = f"- {{id: r, deny: true, args: {{amount: {{minimum: 5, {word}}}}}}}"
    assert "has no place here" in error(text(rules=rule))


def test_no_rule_can_enforce_in_a_policy_that_is_in_shadow():
    rule = "- {id: r, deny: true, mode: enforce}"
    assert "nothing in it can enforce" in error(text(head="mode: shadow", rules=rule))


# Arguments.


def test_a_tool_without_args_takes_no_argument_at_all():
    made = policy("effect: read\n")
    assert made.decide(call({})).verdict == "allow"
    assert made.decide(call({"a": 1})).verdict == "deny"


@pytest.mark.parametrize("args", ["all", "Any", "ANY", "5", "[a]", ""])
def test_args_are_a_mapping_or_any(args):
    assert "expected a mapping" in error(text(f"effect: read\nargs: {args}\n"))


@pytest.mark.parametrize("schema", ["string", "5", "", "[]", "true"])
def test_an_argument_is_described_by_a_schema(schema):
    assert "expected a JSON Schema" in error(text(f"args: {{a: {schema}}}\n"))


@pytest.mark.parametrize("value", ["yes", "1", ""])
def test_optional_is_true_or_false(value):
    assert "expected `true` or `false`" in error(
        text(f"args: {{a: {{type: string, optional: {value}}}}}\n")
    )


def test_an_argument_that_says_it_is_not_optional_is_required():
    assert of("a: {type: string, optional: false}").decide(call({})).verdict == "deny"


def test_a_default_beside_optional_is_refused():
    assert "leave one of the two out" in error(
        text("args: {a: {type: string, optional: true, default: x}}\n")
    )


@pytest.mark.parametrize("value", ["5.0", "'5'", "true", "101", ""])
def test_a_default_fits_its_own_schema(value):
    assert "the default does not fit" in error(
        text(f"args: {{a: {{type: integer, maximum: 100, default: {value}}}}}\n")
    )


@pytest.mark.parametrize("key", ["redact", "sensitive"])
@pytest.mark.parametrize("path", ["amount", "args", "args.", "result", "outcome.a", "args..a", "5"])
def test_a_path_that_is_kept_from_view_leads_somewhere(key, path):
    assert "expected `args.` or `result.`" in error(text(REFUND + f"{key}: [{path}]\n"))


@pytest.mark.parametrize("key", ["redact", "sensitive"])
def test_an_argument_that_is_kept_from_view_is_one_that_the_tool_has(key):
    assert "did you mean `order_id`?" in error(text(REFUND + f"{key}: [args.order]\n"))


@pytest.mark.parametrize("key", ["redact", "sensitive"])
def test_every_argument_and_opaque_ones_can_be_kept_from_view(key):
    made = policy(REFUND + f"opaque: [db]\n{key}: ['args.*', args.db]\n")
    assert getattr(made.tools["refund"][0], key) == (("args", "*"), ("args", "db"))


@pytest.mark.parametrize(
    ("redacted", "path"),
    [
        ("args.order_id", "args.order_id"),
        ("args.*", "args.order_id"),
        ("args.order_id", "args.order_id.part"),
        ("result.*.name", "result.customer.name"),
    ],
)
def test_what_is_never_kept_cannot_be_sensitive_as_well(redacted, path):
    message = error(text(REFUND + f"redact: ['{redacted}']\nsensitive: ['{path}']\n"))
    assert f"`{redacted}` stands under `redact`, which keeps nothing of it" in message


@pytest.mark.parametrize(
    ("redacted", "path"),
    [("args.order_id", "args.*"), ("result.a.b", "result.a"), ("result.a", "result.b")],
)
def test_a_part_of_what_is_sensitive_may_be_redacted(redacted, path):
    made = policy(REFUND + f"redact: [{redacted}]\nsensitive: ['{path}']\n").tools["refund"][0]
    assert made.sensitive == (tuple(path.split(".")),)


@pytest.mark.parametrize(
    ("said", "subject"),
    [("", None), ("subject: user", None), ("subject: args.order_id", "order_id")],
)
def test_a_subject_is_the_user_or_an_argument(said, subject):
    assert policy(REFUND + f"{said}\n").tools["refund"][0].subject == subject


@pytest.mark.parametrize(
    "said", ["", "run", "args", "args.", "args.*", "args.a.b", "result.a", "5"]
)
def test_a_subject_of_another_form_is_refused(said):
    message = error(text(REFUND + f"subject: {said}\n"))
    assert "expected `user`, or `args.` and the name of an argument" in message


def test_a_subject_is_an_argument_that_the_tool_has():
    assert "did you mean `order_id`?" in error(text(REFUND + "subject: args.order\n"))


def test_what_is_opaque_cannot_be_checked_as_well():
    assert "what is opaque is never checked" in error(text(REFUND + "opaque: [amount]\n"))


# The version.


def test_comments_and_the_order_of_keys_do_not_change_the_version():
    one = loads("version: 1\nname: a\ntools: {t: {effect: read, args: any}}\n")
    two = loads("# why\nname: a\ntools: {t: {args: any,   effect: 'read'}}\nversion: 1 # !\n")
    assert one.version == two.version
    assert len(one.version) == 64


@pytest.mark.parametrize(
    "other",
    [
        "version: 1\nname: b\ntools: {t: {effect: read, args: any}}\n",
        "version: 1\nname: a\ntools: {t: {effect: write, args: any}}\n",
        "version: 1\nname: a\ntools: {t: {effect: read, args: any, default: ask}}\n",
    ],
)
def test_any_other_word_changes_the_version(other):
    one = loads("version: 1\nname: a\ntools: {t: {effect: read, args: any}}\n")
    assert loads(other).version != one.version


def test_the_order_of_a_list_changes_the_version():
    one = policy("args: {a: {enum: [x, y]}}\n")
    assert policy("args: {a: {enum: [y, x]}}\n").version != one.version


def test_a_ruling_names_the_policy_that_made_it():
    made = policy()
    assert made.decide(call()).policy == made.ref
    assert (made.ref.name, made.ref.version) == (made.name, made.version)


def test_a_compiled_policy_cannot_be_changed():
    made = policy()
    with pytest.raises(AttributeError):
        made.mode = "shadow"
    with pytest.raises(TypeError):
        made.tools["other"] = made.tools["refund"]


def test_a_reason_names_the_line_of_its_rule():
    [reason] = decide("- id: r\n  deny: true").reasons
    assert reason.line == 12
