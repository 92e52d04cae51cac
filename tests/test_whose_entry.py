"""Every entry says who wrote it and whom it is for, so that it can stand on its own."""

import platform

import pytest

from guarding import approve, enforcing, entries
from saferun import Gate, guard
from saferun.errors import Denied

ASKS = """
version: 1
name: shop
default: allow
tools:
  refund:
    args: {amount: {type: integer}}
    rules: [{id: big, ask: [finance], when: args.amount > 100}]
"""
WHOM = {"agent": "support", "user": "maria", "tenant": "acme"}


def told(gate: Gate, *kinds: str) -> list[dict]:
    return [entry for entry in entries(gate) if entry["kind"] in kinds]


@pytest.fixture
def gate() -> Gate:
    return enforcing(ASKS, approve)


@pytest.fixture
def ran(gate: Gate) -> Gate:
    refund = guard(lambda amount: "done", name="refund", gate=gate)
    with gate.run(**WHOM | {"user": {"id": "maria", "tier": "gold"}}) as run:
        run.user("hello")
        run.model("hi")
        refund(500)
    return gate


def test_what_belongs_to_a_run_names_its_agent_user_and_tenant(ran):
    kinds = ("user", "model", "decision", "approval", "outcome")
    found = told(ran, *kinds)
    assert {entry["kind"] for entry in found} == set(kinds)
    for entry in found:
        assert {name: entry[name] for name in WHOM} == WHOM


def test_a_decision_and_its_outcome_name_the_version_of_the_policy(ran):
    versions = [entry["policy"] for entry in told(ran, "decision", "outcome")]
    assert versions == [{"name": "shop", "version": ran.policy.version}] * len(versions)
    assert len(versions) == 3


def test_every_entry_names_the_host_and_all_but_the_first_the_process(ran):
    first, *others = entries(ran)
    assert "boot" not in first
    for entry in others:
        assert (entry["host"], entry["boot"]) == (platform.node(), ran.store.boot)


def test_the_first_entry_names_the_key_that_checkpoints_are_signed_with(ran):
    assert entries(ran)[0]["vkey"] == ran.store.signer().vkey()


def test_a_call_outside_any_run_is_for_nobody(gate):
    guard(lambda amount: "done", name="refund", gate=gate)(5)
    for entry in told(gate, "decision", "outcome"):
        assert not {"run", *WHOM} & set(entry)


def test_a_denied_call_names_them_too(gate):
    with gate.run(**WHOM), pytest.raises(Denied):
        guard(lambda amount: "done", name="refund", gate=gate)("much")
    (denied,) = told(gate, "decision")
    assert {name: denied[name] for name in WHOM} == WHOM


def test_a_secret_in_an_id_is_kept_out_of_the_ledger(gate):
    secret = "sk-" + "a1b2c3d4" * 4
    with gate.run(agent=secret):
        guard(lambda amount: "done", name="refund", gate=gate)(5)
    (decided,) = told(gate, "decision")
    assert decided["agent"] == "[redacted: API key]"
