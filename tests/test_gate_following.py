"""Workers follow what is published, in one step, and never to something that forbids less."""

import contextlib
import logging
import os
import sqlite3
import time
from pathlib import Path

import pytest

from guarding import Asked, approve, entries, verdicts
from publishing import Published
from saferun import Call, Gate, PolicyError
from saferun.approval import Question, Vote
from saferun.call import RunRef
from saferun.following import FollowedFile, kept
from saferun.ledger import Signer
from saferun.policy import loads, restore
from saferun.store import Reader
from saferun.store.versions import kept_version

ALLOWS = "version: 1\nname: shop\ndefault: allow\n"
DENIES = "version: 1\nname: shop\ndefault: deny\n"


class Clock:
    """A monotonic clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def written(text: str, name: str = "shop.yaml", *, ago: float = 10.0) -> Path:
    """A file of the policies' folder, last changed so many seconds ago."""
    path = Path("policies") / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    then = time.time_ns() - round(ago * 1e9)
    os.utime(path, ns=(then, then))
    return path


def following(text: str = ALLOWS) -> tuple[FollowedFile, Clock]:
    clock = Clock()
    return FollowedFile(written(text).absolute(), clock), clock


def call(run: str | None = None, tool: str = "refund") -> Call:
    about = None if run is None else RunRef(run_id=run, root=run)
    return Call(tool=tool, args={}, run=about)


def test_a_changed_file_is_followed_at_the_next_look() -> None:
    followed, clock = following()
    written(DENIES, ago=5)
    assert followed.now().live.document.default == "allow"
    clock.seconds += 0.6
    assert followed.now().live.document.default == "deny"


def test_a_changed_include_is_followed() -> None:
    written("tools: {refund: {effect: read, args: any}}", "common.yaml")
    followed, clock = following(f"{DENIES}include: [common.yaml]\n")
    written("tools: {pay: {effect: read, args: any}}", "common.yaml", ago=5)
    clock.seconds += 0.6
    assert list(followed.now().live.tools) == ["pay"]


@pytest.mark.parametrize("damage", ["deleted", "wrong", "empty"])
def test_a_file_that_cannot_be_used_leaves_the_last_good_version(
    damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    followed, clock = following()
    path = Path("policies/shop.yaml")
    if damage == "deleted":
        path.unlink()
    else:
        written({"wrong": "version: 9", "empty": ""}[damage], ago=5)
    before = followed.standing
    for _ in range(4):
        clock.seconds += 0.6
        assert followed.now() is before
    [said] = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert "the last good version" in said


def test_a_file_that_is_still_being_written_is_not_taken_up() -> None:
    followed, clock = following()
    written(DENIES, ago=-60)
    clock.seconds += 0.6
    assert followed.now().live.document.default == "allow"
    clock.seconds += 0.11
    assert followed.now().live.document.default == "deny"


def test_a_file_that_was_put_right_is_followed_again() -> None:
    followed, clock = following()
    written("version: 9", ago=5)
    clock.seconds += 0.6
    followed.now()
    written(DENIES, ago=4)
    clock.seconds += 0.6
    assert followed.now().live.document.default == "deny"


def test_a_policy_that_was_given_as_an_object_is_never_followed() -> None:
    gate = Gate(policy=loads(ALLOWS))
    assert gate.policy is not None
    written(DENIES)
    assert gate.check(call()).verdict == "allow"


def test_every_version_that_decided_is_kept_and_can_decide_again() -> None:
    written(ALLOWS)
    gate = Gate(policy="shop")
    gate.check(call())
    [decision] = entries(gate, "decision")
    with Reader(gate.store.path) as reader:
        again = restore(kept_version(reader, decision["policy"]["version"]))
    assert again.decide(call()).verdict == "allow"
    assert again.ref == gate.policy.ref


def test_a_run_keeps_the_version_that_it_began_with_in_another_process_too() -> None:
    written(ALLOWS)
    Gate(policy="shop").check(call("r-1"))
    written(DENIES)
    other = Gate(policy="shop")
    assert other.check(call("r-1")).verdict == "allow"
    assert other.check(call("r-2")).verdict == "deny"
    assert other.check(call("r-1")).verdict == "allow"
    assert verdicts(other) == ["allow", "allow", "deny", "allow"]


def test_an_urgent_version_is_for_runs_as_well_that_began_before() -> None:
    written(ALLOWS)
    Gate(policy="shop").check(call("r-1"))
    written(f"{DENIES}urgent: true\n")
    assert Gate(policy="shop").check(call("r-1")).verdict == "deny"


def test_a_child_keeps_the_version_of_the_run_at_the_top() -> None:
    written(ALLOWS)
    Gate(policy="shop").check(call("r-1"))
    written(DENIES)
    child = RunRef(run_id="r-1a", root="r-1", parent="r-1")
    assert Gate(policy="shop").check(Call(tool="refund", args={}, run=child)).verdict == "allow"


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Published:
    monkeypatch.setenv("SAFERUN_POLICIES", "store")
    published = Published(Gate().store)
    published.publish(ALLOWS)
    return published


def looking(gate: Gate) -> Gate:
    """The gate, after the time until its next look."""
    assert gate._choices is not None
    gate._choices.following._next = 0.0  # type: ignore[attr-defined]
    return gate


def test_workers_follow_what_is_published(shop: Published) -> None:
    gate = Gate(policy="shop")
    assert gate.check(call()).verdict == "allow"
    shop.publish(DENIES)
    assert looking(gate).check(call()).verdict == "deny"
    shop.roll_back()
    assert looking(gate).check(call()).verdict == "allow"


def test_a_run_goes_on_under_the_version_that_is_no_longer_live(shop: Published) -> None:
    gate = Gate(policy="shop")
    gate.check(call("r-1"))
    shop.publish(DENIES)
    assert looking(gate).check(call("r-1")).verdict == "allow"
    assert Gate(policy="shop").check(call("r-1")).verdict == "allow"
    assert gate.check(call("r-2")).verdict == "deny"


def test_an_urgent_act_ends_what_runs_keep_for_good(shop: Published) -> None:
    gate = Gate(policy="shop")
    gate.check(call("r-1"))
    shop.publish(DENIES, urgent=True)
    shop.publish(f"{DENIES}mode: enforce\n")
    assert looking(gate).check(call("r-1")).verdict == "deny"
    assert Gate(policy="shop").check(call("r-1")).verdict == "deny"


def test_without_anything_published_no_tool_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFERUN_POLICIES", "store")
    with pytest.raises(PolicyError, match="saferun policy publish"):
        Gate(policy="shop")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE version SET data = x'7b7d'",
        "DELETE FROM version",
        "UPDATE assignment SET note = x'00' WHERE serial = 3",
        "UPDATE assignment SET note = (SELECT note FROM assignment WHERE serial = 1)",
        "DELETE FROM assignment",
    ],
)
def test_what_was_changed_in_the_store_is_not_followed(
    shop: Published, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(policy="shop")
    shop.publish(DENIES)
    looking(gate).check(call())
    shop.publish(f"{ALLOWS}mode: shadow\n")
    with contextlib.closing(sqlite3.connect(shop.store.path)) as other, other:
        other.execute(damage)
    for _ in range(3):
        assert looking(gate).check(call()).verdict == "deny"
    said = [each.message for each in caplog.records if "the last good version" in each.message]
    assert len(said) == 1


def test_a_candidate_in_shadow_is_recorded_and_decides_nothing(shop: Published) -> None:
    candidate = shop.publish(DENIES, trial="shadow").candidate
    gate = Gate(policy="shop")
    decision = gate.check(call("r-1"))
    assert (decision.verdict, decision.reasons) == ("allow", ())
    [entry] = entries(gate, "decision")
    assert entry["other"]["policy"]["version"] == candidate
    assert (entry["other"]["verdict"], entry["verdict"]) == ("deny", "allow")


def test_a_canary_decides_for_its_share_of_the_runs_and_for_the_same_ones(
    shop: Published,
) -> None:
    shop.publish(DENIES, trial="canary", share=30)
    runs = [f"r-{number}" for number in range(150)]
    gate = Gate(policy="shop")
    first = [gate.check(call(run)).verdict for run in runs]
    again = Gate(policy="shop")
    assert [again.check(call(run)).verdict for run in runs] == first
    assert 20 < first.count("deny") < 75
    others = [entry["other"]["verdict"] for entry in entries(gate, "decision")]
    assert all(
        {one, other} == {"allow", "deny"} for one, other in zip(verdicts(gate), others, strict=True)
    )


LIMITED = """
version: 1
name: shop
default: deny
tools:
  refund: {effect: write, args: {}, limits: [{id: few, max: %d, per: run}]}
"""


def test_a_candidate_counts_apart_from_what_decides(shop: Published) -> None:
    shop.publish(LIMITED % 3)
    shop.publish(LIMITED % 1, trial="shadow")
    gate = Gate(policy="shop")
    told = [gate.check(call("r-1")).verdict for _ in range(4)]
    assert told == ["allow", "allow", "allow", "deny"]
    others = [entry["other"] for entry in entries(gate, "decision")]
    assert [other["verdict"] for other in others] == ["allow", "deny", "deny", "deny"]
    assert others[1]["rules"] == ["few"]


def test_counters_outlive_versions(shop: Published) -> None:
    shop.publish(LIMITED % 2)
    gate = Gate(policy="shop")
    assert [gate.check(call("r-1")).verdict for _ in range(2)] == ["allow", "allow"]
    shop.publish(f"{LIMITED % 2}inputs: {{user.tier: string}}\n", urgent=True)
    decision = looking(gate).check(call("r-1"))
    assert (decision.verdict, decision.policy) == ("deny", gate.policy.ref)


def signed(monkeypatch: pytest.MonkeyPatch, shop: Published) -> Gate:
    """A worker that takes what one key has signed, which has signed what forbids all."""
    shop.signer = Signer("policies", bytes(range(32)))
    shop.publish(DENIES)
    monkeypatch.setenv("SAFERUN_POLICY_KEY", shop.signer.vkey())
    gate = Gate(policy="shop")
    assert gate.check(call()).verdict == "deny"
    return gate


@pytest.mark.parametrize("signer", [None, Signer("policies", bytes(32))])
def test_a_worker_with_a_key_does_not_follow_what_that_key_has_not_signed(
    signer: Signer | None, shop: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = signed(monkeypatch, shop)
    shop.signer = signer
    shop.publish(ALLOWS)
    assert looking(gate).check(call()).verdict == "deny"
    with pytest.raises(PolicyError, match="not signed as `policy_key` demands"):
        Gate(policy="shop")


def test_a_signed_rollback_is_followed(shop: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = signed(monkeypatch, shop)
    shop.roll_back()
    assert looking(gate).check(call()).verdict == "allow"


def test_a_good_old_note_is_not_followed(shop: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = signed(monkeypatch, shop)
    shop.publish(ALLOWS)
    shop.publish(f"{DENIES}mode: enforce\n")
    assert looking(gate).check(call()).verdict == "deny"
    with contextlib.closing(sqlite3.connect(shop.store.path)) as other, other:
        other.execute(
            "INSERT INTO assignment SELECT name, 99, note FROM assignment WHERE serial = 3"
        )
    assert looking(gate).check(call()).verdict == "deny"


ASKS = """
version: 1
name: shop
tools:
  refund: {effect: write, args: {}, rules: [{id: always, ask: true, message: It asks.}]}
"""


@pytest.mark.parametrize("run", ["r-1", None])
def test_what_was_approved_does_not_run_once_an_urgent_version_forbids_it(
    run: str | None, shop: Published
) -> None:
    shop.publish(ASKS)

    def answer(question: Question) -> Vote:
        shop.publish(DENIES, urgent=True)
        looking(gate)
        return approve(question)

    gate = Gate(policy="shop", approvals=Asked(answer))
    decision = gate.check(call(run))
    assert (decision.verdict, decision.starts) == ("deny", False)
    assert decision.policy == gate.policy.ref


def test_what_was_approved_runs_though_another_version_is_live_by_then(shop: Published) -> None:
    shop.publish(ASKS)

    def answer(question: Question) -> Vote:
        shop.publish(DENIES)
        looking(gate)
        return approve(question)

    gate = Gate(policy="shop", approvals=Asked(answer))
    assert gate.check(call("r-1")).starts


def test_an_error_in_the_store_leaves_the_last_good_version(
    shop: Published, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(policy="shop")
    shop.publish(DENIES)
    before = looking(gate).check(call()).policy
    with contextlib.closing(sqlite3.connect(shop.store.path)) as other, other:
        other.execute("DROP TABLE assignment")
    assert looking(gate).check(call()).policy == before
    assert "the last good version" in caplog.text


def test_a_version_that_a_run_keeps_and_that_was_damaged_lets_nothing_through(
    shop: Published,
) -> None:
    Gate(policy="shop").check(call("r-1"))
    shop.publish(f"{ALLOWS}mode: enforce\ninputs: {{user.tier: string}}\n")
    kept.cache_clear()
    with contextlib.closing(sqlite3.connect(shop.store.path)) as other, other:
        oldest = "(SELECT min(since) FROM version)"
        other.execute(f"UPDATE version SET data = x'7b7d' WHERE since = {oldest}")
    decision = Gate(policy="shop").check(call("r-1"))
    assert (decision.verdict, decision.starts) == ("deny", False)
