"""Sensitive values on their way through the gate: who sees them, and that no file does."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guarding import Asked, approve, enforcing, entries
from saferun import Denied, Gate, guard
from saferun.approval import Question, Vote
from saferun.call import Call, Outcome
from saferun.ledger import ERASED
from saferun.policy import loads
from saferun.store import Enrol, Reader
from saferun.store.erasing import erase
from saferun.store.openings import Openings
from searching import holding
from storing import audit

POLICY = """
version: 1
name: shop
inputs: {user.name: string}
loops: off
tools:
  look:
    effect: read
    args:
      email: {type: string}
      amount: {type: integer, default: 5}
    rules:
      - {id: large, ask: [finance], when: args.amount > 100}
      - {id: less, clamp: {amount: {maximum: 1000}}}
    limits: [{id: per-mail, max: 3, per: args.email}]
    sensitive: [args.email, result.*]
  note:
    effect: write
    args:
      customer: {type: string}
      text: {type: string}
      pin: {type: string, optional: true}
    sensitive: [args.*]
    redact: [args.pin]
    subject: args.customer
  ping: {effect: read, args: {}}
"""

EMAIL = "maria.größe@example.com"
ADDRESS = "12 Hidden Street"
CREDENTIAL = b"dana's"


def look(email: str, amount: int = 5) -> Any:
    return {"address": ADDRESS, "orders": [{"to": ADDRESS}]}


def note(customer: str, text: str, pin: str = "0") -> None:
    pass


def opened(gate: Gate) -> dict[str, Any]:
    """All that the ledger holds as commitments, opened: path to value."""
    gate.store.flush()
    names = [name for entry in entries(gate) for name in entry.get("sealed", {})]
    with Reader(gate.store.path) as reader:
        found = [Openings(reader).opening(bytes.fromhex(name)) for name in names]
    return {each.path: msgspec.json.decode(each.value) for each in found if each is not None}


def forget(gate: Gate, *subjects: str, tenant: str | None = None) -> int:
    gate.store.commit(Enrol("dana", CREDENTIAL))
    erased, due = erase(
        gate.store, subjects, tenant=tenant, by="dana", credential=CREDENTIAL, reason="asked"
    )
    assert due is None
    return sum(each.openings for each in erased)


def test_what_is_sensitive_is_in_no_file_before_it_is_erased_either() -> None:
    gate = enforcing(POLICY, approve)
    safe = guard(look, gate=gate)
    folder = gate.store.path.parent
    with gate.run(user="u-1"):
        for amount in (5, 200, 5_000):
            assert safe(EMAIL, amount)["address"] == ADDRESS
            assert holding(folder, EMAIL, ADDRESS) == []
        with pytest.raises(Denied):
            safe(EMAIL, 1)
    gate.store.flush()
    assert holding(folder, EMAIL, ADDRESS) == []
    assert opened(gate) == {
        "args.email": EMAIL,
        "given.email": EMAIL,
        "result.address": ADDRESS,
        "result.orders": [{"to": ADDRESS}],
    }


def test_no_file_has_it_while_another_process_writes_too() -> None:
    gate = enforcing(POLICY)
    folder = gate.store.path.parent
    script = (
        "import sys\nfrom test_gate_sealing import *\n"
        "gate = enforcing(POLICY)\nsafe = guard(note, gate=gate)\n"
        "for number in range(30):\n"
        "    with gate.run(user='u-2'): safe(f'c-{number}', ADDRESS)\n"
        "    print(number, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command,
        cwd=Path.cwd(),
        env={"PYTHONPATH": str(Path(__file__).parent), "PATH": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        safe = guard(note, gate=gate)
        for line in process.stdout:
            safe("c-0", EMAIL)
            assert holding(folder, EMAIL, ADDRESS) == []
            if line == b"29\n":
                break
        forget(gate, "c-0")
        assert holding(folder, EMAIL, ADDRESS) == []
        # The one that still runs has the key that wraps by its old name, and reads it anew.
        safe("c-1", EMAIL)
    assert opened(gate)["args.text"] == EMAIL
    assert process.returncode == 0


def test_a_large_value_goes_beside_the_entry_with_what_is_sensitive_out_of_it() -> None:
    gate = enforcing(POLICY.replace("result.*", "result.address"))

    def look(email: str, amount: int = 5) -> Any:
        return {"address": ADDRESS, "text": "x" * 50_000}

    guard(look, gate=gate)(EMAIL)
    gate.store.flush()
    assert holding(gate.store.path.parent, EMAIL, ADDRESS) == []
    [end] = entries(gate, "outcome")
    assert len(end["blobs"]) == 1
    assert list(end["sealed"].values()) == ["result.address"]


def test_a_large_sensitive_value_is_kept_whole_and_in_no_entry() -> None:
    gate = enforcing(POLICY)
    guard(note, gate=gate)("c-1", ADDRESS * 10_000)
    assert opened(gate)["args.text"] == ADDRESS * 10_000
    assert entries(gate, "decision")[0].get("blobs") is None
    assert holding(gate.store.path.parent, ADDRESS) == []


def test_the_text_of_an_error_may_repeat_it_and_is_sealed() -> None:
    gate = enforcing(POLICY)

    def look(email: str, amount: int = 5) -> Any:
        raise ValueError(f"nobody has {email}")

    with pytest.raises(ValueError, match="nobody has"):
        guard(look, gate=gate)(EMAIL)
    assert opened(gate)["error"] == f"ValueError: nobody has {EMAIL}"
    assert holding(gate.store.path.parent, EMAIL) == []


def test_the_person_who_is_asked_sees_what_they_approve() -> None:
    gate = enforcing(POLICY, approve)
    guard(look, gate=gate)(EMAIL, 200)
    [channel] = gate._channels
    assert isinstance(channel, Asked)
    [question] = channel.questions
    assert (question.args["email"], question.hidden) == (EMAIL, ())


def test_who_is_erased_while_a_call_of_theirs_waits_is_erased_again_afterwards() -> None:
    def erase_and_approve(question: Question) -> Vote:
        assert forget(gate, "") == 1
        return approve(question)

    gate = enforcing(POLICY, erase_and_approve)
    assert guard(look, gate=gate)(EMAIL, 200)["address"] == ADDRESS
    assert forget(gate, "") == 3
    assert opened(gate) == {}
    assert holding(gate.store.path.parent, EMAIL, ADDRESS) == []
    assert audit(gate.store.path).problem is None


def test_a_limit_that_counts_by_it_counts_and_does_not_show_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = enforcing(POLICY)
    safe = guard(look, gate=gate)
    with caplog.at_level(logging.DEBUG, "saferun"):
        for _ in range(3):
            safe(EMAIL)
        with pytest.raises(Denied) as denied:
            safe(EMAIL)
        safe("somebody.else@example.com")
    assert EMAIL not in str(denied.value.decision.for_people) + caplog.text


def test_what_is_redacted_has_no_opening_and_what_surrounds_it_has() -> None:
    gate = enforcing(POLICY)
    guard(note, gate=gate)("c-1", "my key is AKIAIOSFODNN7EXAMPLE", "hunter2")
    found = opened(gate)
    assert found["args.pin"] == "[redacted: by policy]"
    assert found["args.text"] == "my key is [redacted: AWS key]"


def test_where_nothing_is_sensitive_no_key_is_made_and_nothing_is_kept() -> None:
    gate = enforcing(POLICY)
    guard(lambda: None, name="ping", gate=gate)()
    assert not gate.store.vault.file.exists()
    assert all("sealed" not in entry for entry in entries(gate))


def test_a_call_that_is_asked_again_gets_its_result_opened_until_it_is_erased() -> None:
    gate = enforcing(POLICY)
    call = Call(tool="look", args={"email": EMAIL}, call_id="c-1")
    first = gate.check(call)
    gate.settle(first, Outcome(status="ok", result=look(EMAIL)))
    again = gate.check(call)
    assert (again.starts, again.outcome and again.outcome.result) == (False, look(EMAIL))
    forget(gate, "")
    after = gate.check(call)
    assert after.outcome is not None
    assert after.outcome.result == {"address": ERASED, "orders": ERASED}


@pytest.mark.parametrize("error", ["ValueError: x", None])
def test_a_call_that_failed_says_so_again_in_its_words(error: str | None) -> None:
    gate = enforcing(POLICY)
    call = Call(tool="look", args={"email": EMAIL}, call_id="c-1")
    gate.settle(gate.check(call), Outcome(status="error", error=error))
    again = gate.check(call)
    assert again.outcome is not None
    assert again.outcome.error == error


def test_the_subject_is_the_user_of_the_run_within_their_tenant() -> None:
    gate = enforcing(POLICY)
    safe = guard(look, gate=gate)
    for tenant in ("acme", "other", None):
        with gate.run(user="u-1", tenant=tenant):
            safe(f"{tenant}@example.com")
    assert forget(gate, "u-1", tenant="acme") == 3
    assert forget(gate, "u-1", tenant="acme") == 0
    assert forget(gate, "u-1") == 3
    assert opened(gate)["args.email"] == "other@example.com"


def test_the_subject_may_be_an_argument_and_is_then_nobody_else() -> None:
    gate = enforcing(POLICY)
    safe = guard(note, gate=gate)
    with gate.run(user="u-1"):
        safe("c-1", "of one")
        safe("c-2", "of another")
    assert forget(gate, "u-1") == 0
    assert forget(gate, "c-1") == 3
    found = opened(gate)
    assert (found["args.customer"], found["args.text"]) == ("c-2", "of another")


def test_where_nobody_is_named_it_is_erased_by_the_empty_name() -> None:
    gate = enforcing(POLICY)
    guard(look, gate=gate)(EMAIL)
    assert forget(gate, "") == 3
    assert opened(gate) == {}


def test_a_call_goes_nowhere_where_its_values_cannot_be_sealed() -> None:
    gate = enforcing(POLICY)
    safe, ran = guard(look, gate=gate), []
    safe(EMAIL)
    gate.store.vault.file.rename(gate.store.path.with_name("lost.key"))
    fresh = Gate(policy=loads(POLICY))
    fresh.store.vault._wrapping = None
    fresh.store.vault._keys.clear()
    with pytest.raises(Denied, match="could not record"):
        guard(lambda email, amount=5: ran.append(1), name="look", gate=fresh)("another@example.com")
    assert ran == []


def test_an_outcome_is_written_even_where_its_result_cannot_be_kept() -> None:
    gate = enforcing(POLICY)

    def look(email: str, amount: int = 5) -> Any:
        gate.store.vault.file.unlink()
        gate.store.vault._wrapping = None
        gate.store.vault._keys.clear()
        return {"address": ADDRESS}

    assert guard(look, gate=gate)(EMAIL) == {"address": ADDRESS}
    [end] = entries(gate, "outcome")
    assert end["status"] == "ok"
    assert opened(gate) == {}


ABOUT = {
    "prompt": "Refund Maria Secret",
    "plan": ["look up Maria Secret"],
    "user": {"id": "u-1", "name": "Maria Secret"},
    "context": {"ticket": "Maria Secret"},
}


def talk(gate: Gate) -> None:
    with gate.run(**ABOUT) as run:
        run.user("I am Maria Secret")
        run.model("Hello Maria Secret")
        guard(lambda: None, name="ping", gate=gate)()
    gate.store.flush()


def configured(*kinds: str) -> Gate:
    Path("saferun.toml").write_text(f"sensitive = {list(kinds)}\n", encoding="utf-8")
    return enforcing(POLICY.replace("user.name: string", "user.name: string, ticket: string"))


def test_what_a_run_says_of_itself_is_sealed_where_the_configuration_says_so() -> None:
    gate = configured("prompt", "plan", "user", "context", "messages", "output")
    talk(gate)
    assert holding(gate.store.path.parent, "Maria Secret") == []
    assert opened(gate) == {
        "prompt": ABOUT["prompt"],
        "plan": ABOUT["plan"],
        "user.name": "Maria Secret",
        "context": ABOUT["context"],
        "text": "I am Maria Secret",
        "output": "Hello Maria Secret",
    }
    assert entries(gate, "run")[0]["user"]["id"] == "u-1"
    assert forget(gate, "u-1") == 6
    assert opened(gate) == {}


@pytest.mark.parametrize(
    ("kind", "path"), [("prompt", "prompt"), ("messages", "text"), ("output", "output")]
)
def test_what_the_configuration_does_not_name_is_kept_as_ever(kind: str, path: str) -> None:
    gate = configured(kind)
    talk(gate)
    assert list(opened(gate)) == [path]
