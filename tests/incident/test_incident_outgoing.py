"""What an audience gets of a run in an incident file, and what of that is still proven."""

import contextlib
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident.incidents import NAME, POLICY, apart, incident, key
from recording import OF, Script, indexed, write
from saferun.audience import AUDIENCES, Audience, AudienceError, Showing
from saferun.call import Measure, PolicyRef, Reason
from saferun.incident import (
    IncidentError,
    Outgoing,
    Packed,
    examine,
    opened,
    pack,
    traced,
    weigh,
)
from saferun.ledger import (
    ApprovalEntry,
    ControlEntry,
    DecisionEntry,
    Entry,
    LabelEntry,
    ModelEntry,
    OutcomeEntry,
    RecoveryEntry,
    RunEntry,
    UserEntry,
    blob_hash,
    commit,
    encode,
    leaf_hash,
    parse,
    placeholder,
    read,
    sealed,
)
from saferun.policy import loads
from saferun.replay import Playback
from saferun.replay.rerun import recorded
from saferun.store import Append, Reader, Store
from saferun.store.index import Index
from saferun.store.work.append import Blob


def chosen(name: str = "team", **but: list[str]) -> Audience:
    audience = Audience(name=name, parts=AUDIENCES[name])
    for act, what in but.items():
        audience = audience.but(act, what)
    return audience


def sent(store: Store, file: Path, audience: Audience, run: str = "r-1") -> Packed:
    store.flush()
    with indexed(store.path) as index:
        out = Outgoing(Showing(audience, b"salt"), index.reader.blob)
        return pack(index, run, file, signer=index.reader.signer(), redact=out)


def everything(file: Path) -> str:
    return b"\n".join(apart(file).parts.values()).decode(errors="replace")


def beside(store: Store, field: str, value: Any, salt: bytes = b"z" * 16) -> None:
    """A large value in a model turn or in a call of r-1."""
    data = json.dumps(value).encode()
    name = blob_hash(salt, data)
    held = {field: placeholder(name, len(data)), "blobs": {name.hex(): len(data)}}
    made: Any = ModelEntry(run="r-1", **held, **OF) if field == "output" else None
    made = made or DecisionEntry(run="r-1", tool="refund", verdict="deny", **held, **OF)
    blobs = [Blob(name, salt, data)]
    store.commit(Append(entries=[encode(made)], boot=store.boot, blobs=blobs))


@pytest.fixture(scope="module")
def told(world: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file for each audience."""
    folder = tmp_path_factory.mktemp("told")
    files = {name: folder / f"{name}.saferun" for name in AUDIENCES}
    for name, file in files.items():
        sent(world, file, chosen(name))
    return files


def test_for_those_who_may_see_all_it_is_the_ledger_to_the_byte(
    sound: Path, told: dict[str, Path]
) -> None:
    assert told["full"].read_bytes() == sound.read_bytes()


def test_the_team_gets_the_work_and_not_for_whom(world: Store, told: dict[str, Path]) -> None:
    text = everything(told["team"])
    assert "Refund the duplicate." in text
    assert '"user-1"' in text
    assert "maria" not in text
    assert '"host":"[hidden: hosts]"' in text
    assert not re.search(r'"(host|boot)":"[^\[]', text)


def test_the_public_gets_what_was_decided_and_not_on_what(told: dict[str, Path]) -> None:
    text = everything(told["public"])
    assert '"refund"' in text
    assert '"verdict":"deny"' in text
    for each in ("maria", "support", "Refund the", '"r-1"', "r-2", "dana", "a large value", "Done"):
        assert each not in text


@pytest.mark.parametrize("name", ["team", "public"])
def test_what_was_redacted_is_vouched_for_by_the_signature_alone(
    world: Store, told: dict[str, Path], name: str
) -> None:
    found = examine(told[name], [key(world)])
    assert (found.exit_code, found.state) == (0, "verified")
    assert found.proven < found.manifest.entries
    assert "vouches" in found.summary


@pytest.mark.parametrize("name", list(AUDIENCES))
def test_runs_keep_their_shape_under_whatever_name(told: dict[str, Path], name: str) -> None:
    with opened(told[name]) as found:
        runs = found.incident.manifest.runs
        with Reader(found.path) as reader, Index(reader) as index:
            index.build()
            play = Playback(index, runs[0])
            assert len(play.outline) == 22
            assert [each.run for each in index.children(runs[0], 10)] == runs[1:]
        assert [each.run_id for each in traced(found.path, runs)] == runs


def test_runs_and_requests_have_placeholders(told: dict[str, Path]) -> None:
    assert examine(told["public"]).manifest.runs == ["run-1", "run-2"]


def test_policies_and_large_values_that_are_not_for_them_stay_here(
    world: Store, told: dict[str, Path], tmp_path: Path
) -> None:
    name = f"blobs/{NAME.hex()}"
    assert name in apart(told["team"]).parts
    assert f"policies/{POLICY.version}.json" in apart(told["team"]).parts
    assert not [each for each in apart(told["public"]).parts if "/" in each]
    told_of = sent(world, tmp_path / "a.saferun", chosen("public"))
    assert (told_of.withheld, told_of.policies_withheld, told_of.policies) == (1, 1, 0)


def test_a_policy_that_names_somebody_who_is_not_to_be_named_stays_here(
    store: Store, tmp_path: Path
) -> None:
    policy = loads("version: 1\nname: maria\ntools:\n  refund: {effect: write}\n")
    run = Script(store)
    store.flush()
    with contextlib.closing(sqlite3.connect(store.path)) as connection, connection:
        row = (policy.version, policy.name, 0, policy.canonical)
        connection.execute("INSERT INTO version VALUES (?, ?, ?, ?)", row)
    run.decided(policy=PolicyRef(name="maria", version=policy.version))
    assert sent(store, tmp_path / "a.saferun", chosen()).policies == 0
    assert sent(store, tmp_path / "b.saferun", chosen("full")).policies == 1


def test_a_path_is_hidden_wherever_it_is_repeated(store: Store, tmp_path: Path) -> None:
    run = Script(store)
    run.model("I write to erik@example.com.")
    run.call("mail", {"to": "erik@example.com", "about": "A-17"}, result="sent to erik@example.com")
    sent(store, tmp_path / "a.saferun", chosen("full", hide=["args.to"]))
    text = everything(tmp_path / "a.saferun")
    assert "A-17" in text
    assert "erik" not in text


def test_what_nothing_was_hidden_in_stays_proven(store: Store, tmp_path: Path) -> None:
    run = Script(store)
    seq = run.call("mail", {"to": "erik@example.com"})
    run.model("Done.")
    told = sent(store, tmp_path / "a.saferun", chosen("full", hide=["args.to"]))
    assert told.redacted == 1
    assert apart(tmp_path / "a.saferun").manifest["redacted"] == [seq]


def test_that_a_guess_can_be_told_to_be_right_is_said_before_it_goes_out(
    store: Store, tmp_path: Path
) -> None:
    run = Script(store)
    run.model("I write to Erik Lindqvist.")
    run.call("mail", {"about": "A-17"})
    file = tmp_path / "a.saferun"
    told = sent(store, file, chosen("full", hide=["output"]))
    # All but the words is in the file: a guess of them leads to the very hash of the ledger.
    hidden = next(
        each for each in apart(file).parts["entries.jsonl"].splitlines() if b"model" in each
    )
    guess = hidden.replace(b"[hidden: output]", b"I write to Erik Lindqvist.")
    assert leaf_hash(guess) in apart(file).parts["proof.bin"]
    assert told.guessable
    assert any("--hide hosts" in each for each in told.costs)
    for audience in (chosen("full", hide=["output", "hosts"]), chosen("team"), chosen("full")):
        assert not sent(store, file, audience).guessable


def test_part_of_a_large_value_goes_out_as_another_one(store: Store, tmp_path: Path) -> None:
    Script(store)
    beside(store, "args", {"email": "erik@example.com", "rows": ["row"] * 20_000})
    told = sent(store, tmp_path / "a.saferun", chosen("full", hide=["args.email"]))
    assert (told.values, told.withheld, told.missing) == (1, 1, 0)
    found = examine(tmp_path / "a.saferun", [key(store)])
    assert (found.exit_code, found.values) == (0, 1)
    text = everything(tmp_path / "a.saferun")
    assert "erik" not in text
    assert '"row","row"' in text
    with opened(tmp_path / "a.saferun") as unpacked, indexed(unpacked.path) as index:
        part = Playback(index, "r-1").slice(1, "args", 0)
        assert part is not None
        assert part.text.startswith('{"email":"[hidden: arguments]"')


def test_a_large_value_that_is_hidden_is_in_no_byte(store: Store, tmp_path: Path) -> None:
    Script(store)
    beside(store, "output", "the whole secret plan " * 5_000)
    assert sent(store, tmp_path / "a.saferun", chosen("full", hide=["output"])).withheld == 1
    assert "secret plan" not in everything(tmp_path / "a.saferun")


def test_one_that_nobody_could_look_through_goes_to_those_alone_who_may_see_all(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saferun.incident.outgoing.SEARCHED", 50_000)
    Script(store)
    beside(store, "output", "word " * 20_000)
    assert sent(store, tmp_path / "a.saferun", chosen()).withheld == 1
    assert "[left out: 100.0 kB that nobody has looked" in everything(tmp_path / "a.saferun")
    assert sent(store, tmp_path / "b.saferun", chosen("full")).withheld == 0


def test_one_that_the_store_has_lost_is_missing_and_breaks_nothing(
    store: Store, tmp_path: Path
) -> None:
    incident(store)
    store.flush()
    with contextlib.closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("DELETE FROM blob")
    assert sent(store, tmp_path / "a.saferun", chosen("full")).missing == 1


def test_secrets_are_searched_for_once_more(store: Store, tmp_path: Path) -> None:
    secret = "sk-" + "a" * 24
    run = Script(store)
    run.model(f"The key is {secret}.")
    run.model("Nothing here.")
    told = sent(store, tmp_path / "a.saferun", chosen("full"))
    assert told.redacted == 1
    assert secret not in everything(tmp_path / "a.saferun")


def test_what_is_sealed_stays_a_commitment_where_it_is_kept(store: Store, tmp_path: Path) -> None:
    own = commit(b"0" * 16, "text", b'"erik@example.com"')
    run = Script(store)
    write(store, UserEntry(run="r-1", text=sealed(own), sealed={own.hex(): "text"}, **OF))
    run.end()
    assert sent(store, tmp_path / "a.saferun", chosen()).sealed == 1
    assert sent(store, tmp_path / "b.saferun", chosen("public")).sealed == 0
    assert own.hex() not in everything(tmp_path / "b.saferun")


def test_the_same_export_gives_the_same_bytes_under_any_salt(
    world: Store, told: dict[str, Path], tmp_path: Path
) -> None:
    with indexed(world.path) as index:
        out = Outgoing(Showing(chosen("public"), b"another salt"), index.reader.blob)
        pack(index, "r-1", tmp_path / "a.saferun", signer=index.reader.signer(), redact=out)
    assert (tmp_path / "a.saferun").read_bytes() == told["public"].read_bytes()


def test_what_would_go_out_is_weighed_without_a_file(world: Store, tmp_path: Path) -> None:
    with indexed(world.path) as index:
        before = sorted(world.path.parent.iterdir())
        out = Outgoing(Showing(chosen(), b"salt"), index.reader.blob)
        weighed = weigh(index, "r-1", redact=out)
        assert sorted(world.path.parent.iterdir()) == before
    written = sent(world, tmp_path / "a.saferun", chosen())
    for name in weighed.__struct_fields__:
        assert getattr(weighed, name) == getattr(written, name)
    fields = {each.field: each for each in out.showing.counts}
    assert (fields["user"].replaced, fields["user"].hidden) == (fields["user"].values, 0)


def test_only_a_file_with_all_of_a_run_can_be_rerun(told: dict[str, Path]) -> None:
    for name, reruns in (("full", True), ("team", False)):
        with opened(told[name]) as found:
            assert found.incident.reruns is reruns
            with indexed(found.path) as index:
                if reruns:
                    assert recorded(index, "r-1").root == "r-1"
                    continue
                with pytest.raises(Exception, match="was redacted for this file"):
                    recorded(index, "r-1")


def test_ids_are_not_hidden_but_replaced(world: Store) -> None:
    for audience in (chosen(hide=["ids"]), chosen(hide=["run"]), chosen(hide=["approval"])):
        with pytest.raises(AudienceError, match="replace ids"):
            Outgoing(Showing(audience, b"salt"), lambda _: None)


def test_two_runs_never_become_one(store: Store, tmp_path: Path) -> None:
    Script(store, "run-of-ann", user="ann")
    child = Script(store, "run-of-bob", root="run-of-ann", parent="run-of-ann", user="bob")
    child.call()
    with pytest.raises(IncidentError, match="called the same"):
        sent(store, tmp_path / "a.saferun", chosen(hide=["users"]), "run-of-ann")
    told = sent(store, tmp_path / "a.saferun", chosen(), "run-of-ann")
    assert told.runs == 2
    assert examine(tmp_path / "a.saferun").manifest.runs == ["run-of-user-1", "run-of-user-2"]


def test_who_has_changed_a_key_is_hidden_and_the_key_is_not(world: Store) -> None:
    out = Outgoing(Showing(chosen("public"), b"salt"), lambda _: None)
    about = {"vkey": "a+b+c", "note": "a note", "by": "dana", "reason": "yearly", "host": "mill"}
    goes = out.entry(Entry(3, 5, "key", dict(about)))
    assert (goes.fields["vkey"], goes.fields["note"]) == ("a+b+c", "a note")
    assert not {"dana", "yearly", "mill"} & set(goes.fields.values())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**16) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
WORDS = st.text(min_size=1, max_size=20)
WHO = st.fixed_dictionaries(
    {"run": st.just("r-1")}, optional={"agent": WORDS, "user": WORDS, "tenant": WORDS}
)
REASON = Reason(
    id="big",
    effect="deny",
    source="limit",
    message="Too much.",
    measure=Measure(control="limit", scope="user maria", hidden=True),
)
ENTRIES = st.one_of(
    st.builds(
        RunEntry,
        event=st.just("start"),
        run=st.just("r-1"),
        parent=WORDS,
        user=st.dictionaries(WORDS, VALUES, max_size=3),
        context=st.dictionaries(WORDS, VALUES, max_size=3),
        prompt=VALUES,
        error=WORDS,
    ),
    st.builds(
        lambda who, **more: ModelEntry(**who, **more),
        WHO,
        messages=VALUES,
        output=VALUES,
        answer=VALUES,
        context=VALUES,
        error=WORDS,
        turn=WORDS,
    ),
    st.builds(
        lambda who, **more: DecisionEntry(
            tool="refund", verdict="deny", reasons=(REASON,), shadow=(REASON,), **who, **more
        ),
        WHO,
        args=st.dictionaries(WORDS, VALUES, max_size=4) | VALUES,
        given=VALUES,
        approval=WORDS,
        opaque=st.dictionaries(WORDS, WORDS, max_size=2),
        repeats=st.integers(0, 9),
    ),
    st.builds(
        lambda who, **more: ApprovalEntry(
            event="voted", groups=("finance",), reasons=(REASON,), **who, **more
        ),
        WHO,
        id=WORDS,
        by=WORDS,
        reason=WORDS,
        deadline=st.integers(0, 10**16),
    ),
    st.builds(
        lambda who, **more: OutcomeEntry(of=1, status="ok", **who, **more),
        WHO,
        result=VALUES,
        error=WORDS,
        by=WORDS,
        echo=WORDS,
    ),
    st.builds(
        lambda who, **more: RecoveryEntry(of=1, status="unknown", **who, **more), WHO, owner=WORDS
    ),
    st.builds(lambda who, **more: LabelEntry(of=1, mark="false", **who, **more), WHO, by=WORDS),
    st.builds(
        ControlEntry,
        event=st.just("stopped"),
        scope=st.sampled_from(["user", "tool", "all", "tenant"]),
        value=WORDS,
        by=WORDS,
        until=st.integers(0, 10**16),
    ),
)


@given(
    entry=ENTRIES,
    name=st.sampled_from(sorted(AUDIENCES)),
    hide=st.sets(st.sampled_from(["prompts", "args.a", "people", "result.*", "policy", "hosts"])),
)
def test_what_is_left_of_an_entry_is_one_of_its_kind(entry: Any, name: str, hide: set[str]) -> None:
    was = read(b'{"seq":7,"time":9,' + encode(entry)[1:])
    out = Outgoing(Showing(chosen(name, hide=sorted(hide)), b"salt"), lambda _: None)
    out.meet([was])
    goes = out.entry(was)
    fields = {"seq": goes.seq, "time": goes.time, "kind": goes.kind, **goes.fields}
    parsed = parse(msgspec.json.encode(fields))
    assert type(parsed.entry) is type(entry)
    if "run" in was.fields:
        assert goes.fields["run"] == out.run("r-1")


def test_an_entry_that_would_become_too_long_loses_its_words(store: Store, tmp_path: Path) -> None:
    run = Script(store)
    run.call("refund", {f"a{number}": 1 for number in range(2_500)})
    sent(store, tmp_path / "a.saferun", chosen("full", hide=["arguments"]))
    assert "[left out: too long]" in everything(tmp_path / "a.saferun")
