"""What an audience gets: parts kept, hidden or replaced, and nothing that was meant to stay."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.audience import AUDIENCES, FIELDS, NAMES, PARTS, Audience, AudienceError, Showing

SALT = b"0123456789abcdef"
DECISION = {
    "run": "ticket-31",
    "call": "c-1",
    "tool": "refund",
    "verdict": "deny",
    "digest": "ab" * 32,
    "args": {"order_id": "A-17", "amount": 4_500, "email": "maria@acme.example"},
    "reasons": [
        {
            "id": "big-refund",
            "effect": "deny",
            "source": "limit",
            "message": "Refunds above $200 need finance.",
            "measure": {"control": "limit", "scope": "user maria, tenant acme", "max": "20"},
        }
    ],
}


def showing(name: str = "public", *met: dict[str, Any], **but: list[str]) -> Showing:
    audience = Audience(name=name, parts=AUDIENCES[name])
    for act, what in but.items():
        audience = audience.but(act, what)
    made = Showing(audience, SALT)
    for fields in met:
        made.meet(fields)
    return made


def text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def test_every_part_has_an_act_for_every_audience() -> None:
    assert all(set(parts) == set(PARTS) for parts in AUDIENCES.values())
    assert {part for part in FIELDS.values() if part} == set(PARTS)


def test_all_but_secrets_goes_to_whoever_may_see_all() -> None:
    goes = showing("full").fields({**DECISION, "output": "the key is sk-" + "a" * 24})
    assert goes["args"] == DECISION["args"]
    assert goes["digest"] == DECISION["digest"]
    assert goes["reasons"][0]["measure"]["scope"] == "user maria, tenant acme"
    assert goes["output"] == "the key is [redacted: API key]"


def test_the_public_gets_what_was_decided_and_not_on_what() -> None:
    goes = showing().fields(DECISION)
    assert (goes["tool"], goes["verdict"], goes["reasons"][0]["id"]) == (
        "refund",
        "deny",
        "big-refund",
    )
    assert goes["args"] == {"order_id": "value-1", "amount": "value-2", "email": "value-3"}
    for secret in ("A-17", "4500", "maria", "acme", "ticket", "ab" * 32, "$200"):
        assert secret not in text(goes)


def test_a_value_has_one_placeholder_and_no_other_value_has_it() -> None:
    made = showing()
    first, second, third = (
        made.fields({"args": {"to": to}})["args"]["to"] for to in ("ann", "bob", "ann")
    )
    assert first == third
    assert first != second


def test_a_placeholder_is_the_same_under_any_salt_and_so_tells_nothing_of_it() -> None:
    audience = Audience(name="public", parts=AUDIENCES["public"])
    for salt in (b"one", b"other"):
        assert Showing(audience, salt).fields(DECISION)["args"]["amount"] == "value-2"


def test_one_and_true_are_two_values() -> None:
    goes = showing().fields({"args": {"a": 1, "b": True, "c": "1", "d": 1}})["args"]
    assert len(set(goes.values())) == 3
    assert goes["a"] == goes["d"]


def test_a_name_that_is_replaced_is_so_in_what_is_kept() -> None:
    run = {"user": {"id": "maria", "email": "mlopez@acme.example"}, "tenant": "acme"}
    made = showing("team", run)
    goes = made.fields({"output": "Maria of ACME, mlopez@acme.example, mlopez. Mariana stays."})
    user = made.value(("user", "id"), "maria")
    assert user == "user-1"
    assert goes["output"] == f"{user} of tenant-1, value-1, value-1. Mariana stays."


def test_a_name_that_is_hidden_is_hidden_in_what_is_kept() -> None:
    made = showing("full", {"by": "dana"}, hide=["people"])
    assert made.fields({"by": "dana", "reason": "says Dana", "prompt": {"dana": ["dana"]}}) == {
        "by": "[hidden: people]",
        "reason": "says [hidden: people]",
        "prompt": {"[hidden: people]": ["[hidden: people]"]},
    }


def test_what_a_control_did_by_itself_is_said() -> None:
    assert showing().fields({"by": "saferun"}) == {"by": "saferun"}


def test_an_argument_that_is_hidden_is_so_wherever_it_is_repeated() -> None:
    call = {"args": {"email": "maria@acme.example", "amount": 45}}
    made = showing("full", call, hide=["args.email"])
    assert made.fields(call)["args"] == {"email": "[hidden: arguments]", "amount": 45}
    said = made.fields({"output": "To maria@acme.example.", "result": {"to": "maria@acme.example"}})
    assert "maria" not in text(said)


def test_what_models_repeat_of_calls_is_treated_as_the_calls_are() -> None:
    made = showing("full", hide=["results"], replace=["arguments"])
    messages = [
        {"role": "user", "content": "Refund it."},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "c", "function": {"name": "refund", "arguments": '{"iban": "DE1"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": '{"left": 90210}'},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "x1"}]},
    ]
    output = [{"type": "tool_use", "id": "c", "name": "refund", "input": {"iban": "DE1"}}]
    goes = made.fields({"messages": messages, "output": output})
    assert "Refund it." in text(goes)
    for secret in ("DE1", "90210", "x1"):
        assert secret not in text(goes)


def test_the_longest_path_holds() -> None:
    made = showing(keep=["args.order_id", "result.items.*.id"])
    goes = made.fields(
        {
            "args": {"order_id": "A-17", "note": "secret"},
            "result": {"items": [{"id": 7, "name": "secret"}], "of": "secret"},
        }
    )
    assert goes["args"]["order_id"] == "A-17"
    assert goes["result"]["items"][0]["id"] == 7
    assert "secret" not in text(goes)


def test_what_policy_changed_is_hidden_where_the_argument_is() -> None:
    made = showing("full", hide=["args.note"])
    goes = made.fields({"given": {"note": "x", "amount": 3}})
    assert goes["given"] == {"note": "[hidden: arguments]", "amount": 3}


def test_names_that_are_no_names_of_arguments_do_not_go_out() -> None:
    goes = showing().fields({"args": {"maria@acme.example": 1, "to": 2}})["args"]
    assert set(goes) == {"to", "…"}


def test_a_field_that_nobody_knows_does_not_go_out() -> None:
    assert showing("full").fields({"brand_new": "maria", "tool": "t"}) == {"tool": "t"}


def test_conditions_show_what_they_saw_as_far_as_that_is_shown() -> None:
    made = showing("team", hide=["args.email"])
    assert made.seen("args.amount > 5", 7) == 7
    assert made.seen('user.tier == "a"', "b") == "value-1"
    assert made.seen('args.email == "b"', "b") == "[hidden: arguments]"
    assert made.seen("amount of what nobody knows", 7) == "value-2"


def test_what_people_have_said_is_shown_to_those_who_get_prompts() -> None:
    saw = ["Pay x.", "GB29"]
    assert showing("full").seen("run.said.contains(args.to)", saw) == saw
    made = showing("full", hide=["prompts"], keep=["context"])
    assert made.seen("run.said.contains(args.to)", saw) == "[hidden: arguments]"
    assert made.seen("args.to == 'x'", "x") == "x"


def test_what_is_neither_a_part_nor_a_path_is_refused() -> None:
    for wrong in ("nonsense", "args..x", "", "digest", "tool"):
        with pytest.raises(AudienceError, match="neither a part"):
            showing(hide=[wrong])


def test_everything_is_counted_once() -> None:
    made = showing("team", {"user": "maria"})
    made.fields({"args": {"a": "maria", "b": 1}, "prompt": "p", "host": "h"})
    made.value(("args", "a"), "not counted")
    counts = {each.field: each for each in made.counts}
    assert (counts["args.a"].kept, counts["args.a"].altered) == (1, 1)
    assert counts["args.a"].sample == "user-1"
    assert (counts["args.b"].kept, counts["args.b"].altered) == (1, 0)
    assert counts["host"].hidden == 1


def test_very_many_names_and_fields_are_bounded() -> None:
    made = showing("team", {"user": {str(at): f"name-{at}" for at in range(2_000)}})
    assert made.fields({"output": "So name-1999, name-1."})["output"] == "So value-1, value-2."
    made.fields({"args": {f"a{at}": at for at in range(2_000)}})
    assert len(made.counts) < 400
    assert sum(each.values for each in made.counts) == 2_001
    with pytest.raises(AudienceError, match="more than 50,000"):
        made.meet({"user": {str(at): f"other {at}" for at in range(NAMES)}})


def test_a_name_ends_where_a_word_ends() -> None:
    made = showing("full", {"user": "+49 171 5"}, {"by": "ann"}, {"by": "ann b."}, hide=["people"])
    said = made.fields({"output": "Ann. Anna, ann b, ANN B.! joann; ann_1"})["output"]
    hidden = "[hidden: people]"
    assert said == f"{hidden}. Anna, {hidden}, {hidden}.! joann; ann_1"
    made = showing("team", {"user": "+49 171 5"})
    assert made.fields({"output": "call +49 171 5, not +49 171 55"})["output"] == (
        "call +user-1, not +49 171 55"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(json_values, st.sampled_from(["args", "result", "prompt", "output", "user", "reason", "by"]))
def test_nothing_of_a_value_goes_to_the_public(value: Any, field: str) -> None:
    planted = "quokka 4711 zebra"
    for held in (planted, [planted, value], {planted: value}, {"x": {planted: [planted]}}):
        assert planted not in text(showing().fields({field: held}))


@given(json_values)
def test_what_is_kept_whole_is_the_same_value(value: Any) -> None:
    # What could be a secret by its name or shape is not among what is drawn.
    assert showing("full").fields({"result": value})["result"] == value


@pytest.mark.parametrize(
    ("scope", "goes"),
    [("tool", "maria"), ("user", "user-1"), ("tenant", "tenant-1"), ("unheard-of", "run-1")],
)
def test_whom_a_switch_stopped_is_shown_as_a_name_of_its_kind(scope: str, goes: str) -> None:
    said = showing().fields({"event": "stopped", "scope": scope, "value": "maria"})
    assert said["value"] == goes


def test_what_names_large_and_sealed_values_stays_since_it_is_salted() -> None:
    beside = {"blobs": {"ab" * 32: 5_000}, "sealed": {"cd" * 32: "args.email"}}
    assert showing().fields(beside) == beside


def test_a_providers_own_answer_goes_where_the_output_goes_whole() -> None:
    said = {"output": {"text": "Hello."}, "answer": {"content": "Hello."}}
    team = Audience(name="team", parts=AUDIENCES["team"])
    assert Showing(team, b"s").fields(said) == said
    for path in ("output", "output.text"):
        shown = Showing(team.but("hide", [path]), b"s").fields(said)
        assert "answer" not in shown
        assert "Hello." not in str(shown)


def test_a_text_is_searched_alike_for_few_names_and_for_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = {"output": "MARIA, mariana and (maria) of Straße 7; \\nmaria said: maria@acme.example"}
    run = {"user": {"id": "maria"}, "tenant": "strasse 7"}
    few = showing("team", run).fields(words)
    monkeypatch.setattr("saferun.audience.FEW", 0)
    assert showing("team", run).fields(words) == few
    assert few["output"].startswith("user-1, mariana and (user-1)")


def test_a_hash_that_stands_for_a_value_is_no_card() -> None:
    digits = "4012888888881881".ljust(64, "a")
    value = {"a": {"$sealed": {"sha256": digits}}, "token": "abc"}
    assert showing("full").fields({"result": value})["result"] == {
        "a": {"$sealed": {"sha256": digits}},
        "token": "[redacted: secret]",
    }
    more = {"$sealed": {"sha256": digits, "said": "4012888888881881"}}
    assert "4012888888881881" not in text(showing("full").fields({"result": more}))


def test_a_time_is_no_card() -> None:
    assert showing("full").fields({"deadline": 4012888888881881}) == {"deadline": 4012888888881881}
