"""Entries: made once as bytes, and read back strictly."""

import contextlib
import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saferun.call import Measure, PolicyRef, Reason
from saferun.control.amount import MAX
from saferun.ledger import (
    MAX_REST,
    ApprovalEntry,
    ArchiveEntry,
    CallEntry,
    ControlEntry,
    DecisionEntry,
    Entry,
    EntryError,
    ErasureEntry,
    KeyEntry,
    Kind,
    LabelEntry,
    LedgerEntry,
    ModelEntry,
    OutcomeEntry,
    PolicyEntry,
    RecoveryEntry,
    RestartEntry,
    RunEntry,
    UserEntry,
    blob_hash,
    encode,
    parse,
    placeholder,
    read,
    seal,
    stamp,
)
from saferun.ledger.entry import MAX_BODY, MAX_NUMBER
from saferun.ledger.kind import AnyEntry

numbers = st.integers(0, MAX_NUMBER)
words = st.text(st.characters(codec="utf-8"))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner) | st.dictionaries(words, inner),
    max_leaves=10,
)
entries = st.one_of(
    st.builds(UserEntry, run=words, text=plain),
    st.builds(ModelEntry, run=words, output=plain, input_tokens=st.integers(0, 10**6)),
    st.builds(
        DecisionEntry,
        tool=words,
        args=st.dictionaries(words, plain),
        verdict=st.sampled_from(["allow", "ask", "deny", "defer"]),
        mode=st.sampled_from(["enforce", "shadow", "observe"]),
        opaque=st.dictionaries(words, words),
    ),
    st.builds(
        OutcomeEntry,
        of=numbers,
        status=st.sampled_from(["ok", "error"]),
        result=plain,
        cost=st.none() | st.integers(0, MAX),
        over=st.lists(words).map(tuple),
    ),
    st.builds(
        ControlEntry,
        event=st.sampled_from(["stopped", "resumed", "opened", "closed"]),
        scope=words,
        value=st.none() | words,
        by=words,
        until=st.none() | numbers,
    ),
)

OUTCOME = b'{"seq":7,"time":5,"kind":"outcome","of":3,"status":"ok"'


@given(numbers, numbers, entries)
def test_an_entry_comes_back_with_its_number_its_time_and_its_type(seq, time, entry):
    parsed = parse(seal(seq, time, encode(entry)))
    assert (parsed.seq, parsed.time, parsed.entry) == (seq, time, entry)


@given(numbers, numbers, entries)
def test_its_fields_are_those_that_any_json_reader_finds(seq, time, entry):
    body = seal(seq, time, encode(entry))
    members = json.loads(body)
    found = read(body)
    assert {"seq": found.seq, "time": found.time, "kind": found.kind} | found.fields == members


def test_the_body_is_the_encoded_rest_with_number_and_time_in_front():
    rest = encode(UserEntry(run="r", text="hello"))
    assert rest == b'{"kind":"user","run":"r","text":"hello"}'
    assert seal(3, 99, rest) == b'{"seq":3,"time":99,"kind":"user","run":"r","text":"hello"}'


def test_an_entry_reads_as_number_time_kind_and_fields():
    assert read(OUTCOME + b',"result":null}') == Entry(
        7, 5, "outcome", {"of": 3, "status": "ok", "result": None}
    )


def test_the_kinds_are_those_that_have_fields():
    assert {kind.__struct_config__.tag for kind in get_args(AnyEntry)} == set(get_args(Kind))


def test_arguments_that_are_encoded_already_go_in_as_they_are():
    args = b'{"amount": 1e2,"n":90071992547409930000}'
    entry = DecisionEntry(tool="t", verdict="allow", args=msgspec.Raw(args))
    assert b'"args":' + args in encode(entry)


def test_integers_of_any_size_survive():
    body = seal(0, 0, encode(UserEntry(text=[2**53 + 1, -(2**80)])))
    assert read(body).fields["text"] == [9_007_199_254_740_993, -1_208_925_819_614_629_174_706_176]


def test_what_is_at_its_default_is_not_written():
    assert encode(DecisionEntry(tool="t", verdict="deny")) == (
        b'{"kind":"decision","tool":"t","verdict":"deny"}'
    )


def test_a_tool_that_gave_null_is_told_from_one_that_gave_nothing():
    gave_null = OutcomeEntry(of=1, status="ok", result=msgspec.Raw(b"null"))
    assert read(seal(2, 0, encode(gave_null))).fields["result"] is None
    assert "result" not in read(seal(2, 0, encode(OutcomeEntry(of=1, status="error")))).fields


WHOLE = [
    LedgerEntry(name="default", origin="saferun.local/default", format=1, created_by="x"),
    RunEntry(event="start", run="r", root="r", user={"id": "maria"}, context={"env": "prod"}),
    RunEntry(event="end", run="r", error="ValueError: no"),
    ModelEntry(run="r", output="hi", model="m", cost_usd=0.25, latency=9),
    UserEntry(run="r", text="hi"),
    DecisionEntry(
        run="r",
        call="c",
        tool="t",
        args={"a": 1},
        digest="00",
        verdict="ask",
        mode="shadow",
        modified=True,
        policy=PolicyRef(name="p", version="v"),
        reasons=(
            Reason(id="x", effect="ask", source="rule", message="m", line=3),
            Reason(
                id="y",
                effect="defer",
                source="limit",
                message="m",
                error="Deferred",
                measure=Measure(
                    control="rate", scope="user u", max="9", used="9", wants="1", frees_at=7
                ),
            ),
        ),
        nudge="n",
        approval="a",
        opaque={"db": "Connection"},
        boot="b",
        key="k",
        sign="00",
        repeats=3,
        blobs={"00": 40_000},
    ),
    ApprovalEntry(id="a", event="requested", deadline=5, groups=("finance",)),
    OutcomeEntry(
        of=1,
        tool="t",
        status="timeout",
        error="e",
        latency=3,
        boot="b",
        cost=12_500,
        over=("run-cost",),
        echo="t0",
    ),
    RecoveryEntry(of=1, status="unknown", owner="b", boot="c"),
    CallEntry(run="import/0a/r", call="c", tool="t", args="no JSON", status="ok", cost_usd=0.5),
    PolicyEntry(name="p", serial=1, act="publish", live="v", candidate="w", by="a", note="n"),
    ControlEntry(event="opened", scope="tool", value="t", tenant="a", by="saferun", until=9),
    ControlEntry(event="stopped", scope="run", value="r", run="r", by="alice", reason="why"),
    ErasureEntry(subject="00", openings=2, by="dana", reason="asked for"),
    ArchiveEntry(first=0, size=9, root="AA==", note="n", by="dana"),
    KeyEntry(vkey="o+00+AQ==", note="n", by="dana", host="h", boot="b"),
    RestartEntry(
        origin="o", vkey="v", was="w", lost=3, note="n", by="dana", sealed={"0": "args.a"}
    ),
    LabelEntry(run="r", of=3, tool="t", mark="right", by="dana", reason="why"),
]


@pytest.mark.parametrize("entry", WHOLE, ids=lambda entry: type(entry).__name__)
def test_every_kind_comes_back_whole(entry):
    assert parse(seal(1, 2, encode(entry))).entry == entry


def test_no_kind_was_left_out_of_those_that_come_back_whole():
    assert {type(entry) for entry in WHOLE} == set(get_args(AnyEntry))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "does not begin with its seq, time and kind"),
        (b"[]", "does not begin"),
        (b"\xef\xbb\xbf" + OUTCOME + b"}", "does not begin"),
        (b" " + OUTCOME + b"}", "does not begin"),
        (OUTCOME.replace(b":7", b": 7") + b"}", "does not begin"),
        (OUTCOME.replace(b":7", b":07") + b"}", "does not begin"),
        (OUTCOME.replace(b":7", b":-7") + b"}", "does not begin"),
        (OUTCOME.replace(b":7", b":7.0") + b"}", "does not begin"),
        (OUTCOME.replace(b":7", b":1000000000000000000") + b"}", "does not begin"),
        (OUTCOME.replace(b":5", b":-5") + b"}", "does not begin"),
        (OUTCOME.replace(b":5", b":true") + b"}", "does not begin"),
        (OUTCOME.replace(b":5", b':"5"') + b"}", "does not begin"),
        (OUTCOME.replace(b'"time":5,', b"") + b"}", "does not begin"),
        (b'{"time":5,"seq":7,"kind":"user"}', "does not begin"),
        (b'{"seq":7,"time":5,"run":"r","kind":"user"}', "does not begin"),
        (b'{"seq":7,"time":5,"kind":"unheard"}', "of kind 'unheard', which this version"),
        (b'{"seq":7,"time":5,"kind":"user"', "not one of kind 'user'"),
        (b'{"seq":7,"time":5,"kind":"outcome","status":"ok"}', "missing required field `of`"),
        (OUTCOME.replace(b'"of":3', b'"of":"3"') + b"}", "Expected `int`, got `str`"),
        (OUTCOME.replace(b'"ok"', b'"fine"') + b"}", "'fine'"),
        (OUTCOME + b',"result":NaN}', "malformed"),
        (OUTCOME + b',"result":"\\ud800"}', "not one of kind"),
        (OUTCOME + b',"result":"\xff"}', "not JSON in UTF-8"),
        (OUTCOME + b',"unheard":"\xff"}', "not JSON in UTF-8"),
        (OUTCOME + b',"result":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "nested too deeply"),
        (OUTCOME + b',"seq":8}', "has a field twice"),
        (OUTCOME + b',"time":8}', "has a field twice"),
        (OUTCOME + b',"kind":"outcome"}', "has a field twice"),
        (OUTCOME + b',"kind":"user"}', "not one of kind 'outcome'"),
        (OUTCOME + b',"of":4}', "has a field twice"),
        (OUTCOME + b',"tool":"a","tool":"b"}', "has a field twice"),
        (OUTCOME + b',"\\u0074ool":"a"}', "not in its one form"),
        (OUTCOME + b', "tool":"a"}', "not in its one form"),
        (OUTCOME + b"} ", "not in its one form"),
        (OUTCOME + b"}\n", "not in its one form"),
        (OUTCOME + b"}{}", "not one of kind"),
    ],
)
def test_bytes_that_are_not_exactly_an_entry_are_refused(body, said):
    with pytest.raises(EntryError, match=said):
        read(body)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_do_worse_than_be_refused(noise):
    for body in (noise, OUTCOME + noise, OUTCOME + b',"result":' + noise + b"}"):
        with contextlib.suppress(EntryError):
            assert read(body).seq == 7


def test_a_field_that_is_not_known_is_kept_for_those_who_know_it():
    assert read(OUTCOME + b',"later":[1]}').fields["later"] == [1]


def test_the_longest_body_is_read_and_one_byte_more_is_refused():
    padding = b',"result":"' + b"x" * (MAX_BODY - len(OUTCOME) - 13) + b'"}'
    assert len(OUTCOME + padding) == MAX_BODY
    assert read(OUTCOME + padding).seq == 7
    with pytest.raises(EntryError, match="has 65536 bytes, and 65535 is the most"):
        read(OUTCOME + padding.replace(b'"x', b'"xx'))


def test_whatever_was_encoded_can_be_sealed_under_the_highest_number():
    rest = encode(UserEntry(text="x" * (MAX_REST - len('{"kind":"user","text":""}'))))
    assert len(rest) == MAX_REST
    longest = stamp('"' * 1_000, '"' * 1_000)
    assert len(seal(MAX_NUMBER, MAX_NUMBER, rest, longest)) <= MAX_BODY


@given(st.text(), st.text(), numbers, numbers)
def test_who_writes_an_entry_stands_in_it_behind_its_kind(host, boot, seq, time):
    body = seal(seq, time, encode(UserEntry(run="r", text="hello")), stamp(host, boot[:9]))
    entry = read(body)
    assert list(entry.fields) == ["host", "boot", "run", "text"]
    assert entry.fields["boot"] == boot[:9]
    assert entry.fields["host"].isascii()


def test_a_host_whose_name_is_no_plain_text_is_named_as_far_as_it_is():
    assert stamp("büro\n\ud800-1", "b") == b',"host":"b?ro??-1","boot":"b"'


def test_an_entry_too_long_to_be_sealed_is_refused_when_it_is_encoded():
    with pytest.raises(EntryError, match="put its large values beside it by hash"):
        encode(UserEntry(text="x" * MAX_BODY))


def test_a_rest_that_was_not_encoded_here_is_still_held_to_the_length():
    with pytest.raises(EntryError, match="65535 is the most"):
        seal(0, 0, b'{"kind":"user","text":"' + b"x" * MAX_BODY + b'"}')


@pytest.mark.parametrize(
    "value",
    [object(), "\ud800", {"a": [{"b": object()}]}, 10**5000],
    ids=["object", "surrogate", "object inside", "huge integer"],
)
def test_what_json_has_no_form_for_is_refused_without_being_repeated(value):
    with pytest.raises(EntryError, match="cannot be written as JSON") as caught:
        encode(UserEntry(text=value))
    assert caught.value.__cause__ is None
    assert "object at" not in str(caught.value)


def test_a_value_that_holds_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(EntryError, match="cannot be written as JSON"):
        encode(UserEntry(text=loop))


def test_what_an_error_repeats_of_a_hostile_entry_is_short_and_escaped():
    body = OUTCOME.replace(b'"ok"', b'"\\u001b[31m\\u202e' + b"x" * 9000 + b'"') + b"}"
    with pytest.raises(EntryError) as caught:
        read(body)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_large_value_is_named_by_a_salted_hash_and_its_length():
    salt, data = bytes(16), b"x" * 40_000
    blob = blob_hash(salt, data)
    assert placeholder(blob, len(data)) == {"$blob": {"sha256": blob.hex(), "bytes": 40_000}}


def test_the_same_value_under_another_salt_has_another_hash():
    assert blob_hash(bytes(16), b"4242") != blob_hash(b"\1" * 16, b"4242")


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_salt_of_another_length_is_refused(length):
    with pytest.raises(ValueError, match="16 bytes"):
        blob_hash(bytes(length), b"data")
