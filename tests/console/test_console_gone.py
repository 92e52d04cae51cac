"""People who may do less than when the console began: at once, and not after a restart."""

import os
from pathlib import Path

import pytest

from console.asking import WORLD, Browser, ask, enrolled, stands
from saferun import Gate
from saferun.console import Console
from saferun.console.login import LoginError, Secret
from saferun.desk import Desk
from saferun.errors import StoreError
from saferun.store import Enrol, Withdraw


def changed(world: str) -> None:
    """The configuration as somebody has it now, put there in one step."""
    Path("new.toml").write_text(world, encoding="utf-8")
    os.replace("new.toml", "saferun.toml")


WITHOUT = WORLD.replace("[people.dana]\n", "").replace('"dana", ', "")


def test_whoever_is_removed_from_the_configuration_is_here_no_more(
    gate: Gate, console: Console
) -> None:
    request = ask(gate)
    browser = Browser(console, enrolled(gate, "dana"))
    form = browser.form(f"/requests/{request.id}")
    changed(WITHOUT)
    answer = browser.post(f"/requests/{request.id}", {**form, "act": "approve"})
    assert answer.headers["location"] == f"/login?next=/requests/{request.id}"
    assert browser.get("/").status_code == 303
    assert browser.get("/live").status_code == 401
    assert stands(gate, request).state == "pending"
    secret = {"person": "dana", "secret": "dana-secret"}
    assert browser.post("/login", secret).status_code == 401


def test_whoever_was_removed_answers_by_no_channel(gate: Gate) -> None:
    request, desk = ask(gate), Desk(gate.store, gate.config)
    changed(WITHOUT)
    answered = desk.vote(request.id, by="dana", approved=True, channel="slack", revision=0)
    assert not answered.counted
    assert desk.vote(request.id, by="erik", approved=True, channel="slack", revision=0).counted


def test_a_change_between_reading_the_file_and_looking_is_seen(gate: Gate) -> None:
    changed(WITHOUT)
    assert "dana" not in Desk(gate.store, gate.config).people


def test_whoever_becomes_a_viewer_answers_nothing(gate: Gate, console: Console) -> None:
    request = ask(gate)
    browser = Browser(console, enrolled(gate, "dana"))
    assert browser.form(f"/requests/{request.id}")
    changed(WORLD.replace("[people.dana]\n", '[people.dana]\nrole = "viewer"\n'))
    assert browser.answer(request, "approve").status_code == 403
    assert "dana <small>viewer" in browser.get("/").text


def test_whoever_may_break_the_glass_no_more_does_not(gate: Gate, console: Console) -> None:
    request = ask(gate)
    browser = Browser(console, enrolled(gate, "alma"))
    assert "Break the glass" in browser.get(f"/requests/{request.id}").text
    changed(WORLD.replace('["alma"]', "[]"))
    assert "Break the glass" not in browser.get(f"/requests/{request.id}").text
    assert browser.answer(request, "glass", reason="x").status_code == 409


@pytest.mark.parametrize("broken", ["[people", "people = 3", None])
def test_where_the_configuration_cannot_be_read_nobody_counts(
    gate: Gate, console: Console, broken: str | None
) -> None:
    request = ask(gate)
    browser = Browser(console, enrolled(gate, "dana"))
    if broken is None:
        Path("saferun.toml").unlink()
    else:
        changed(broken)
    assert browser.answer(request, "approve").status_code == 409
    changed(WORLD)
    assert browser.answer(request, "approve").status_code == 303


def test_somebody_new_counts_without_a_restart(gate: Gate, console: Console) -> None:
    before = ask(gate)
    world = WORLD.replace("[people.dana]", "[people.nora]\n[people.dana]")
    changed(world.replace('"erik",', '"erik", "nora",'))
    request = ask(gate, run="r-2")
    enrolled(gate, "nora")
    browser = Browser(console)
    assert browser.post("/login", {"person": "nora", "secret": "nora-secret"}).status_code == 303
    # What was asked before was asked of others.
    assert browser.answer(before, "approve").status_code == 409
    assert browser.answer(request, "approve").status_code == 303


def test_a_secret_that_is_withdrawn_ends_the_sessions_that_it_has_opened(
    gate: Gate, console: Console
) -> None:
    request = ask(gate)
    dana, erik = enrolled(gate, "dana"), enrolled(gate, "erik")
    browser, other = Browser(console, dana), Browser(console, erik)
    form = browser.form(f"/requests/{request.id}")
    assert dana.credential is not None
    assert gate.store.commit(Withdraw("dana", "dana", dana.credential))
    assert browser.get("/").status_code == 303
    answer = browser.post(f"/requests/{request.id}", {**form, "act": "approve"})
    assert answer.headers["location"].startswith("/login")
    assert browser.get("/live").status_code == 401
    assert other.get("/").status_code == 200
    with pytest.raises(LoginError):
        Secret(gate.store, console.desk.roster).identify(
            {"person": "dana", "secret": "dana-secret"}, ""
        )


def test_a_secret_that_was_withdrawn_is_never_theirs_again(gate: Gate) -> None:
    first = enrolled(gate, "dana", "first").credential
    assert first is not None
    gate.store.commit(Withdraw("dana", "dana", first))
    second = enrolled(gate, "dana", "second").credential
    assert second is not None
    gate.store.commit(Withdraw("dana", "dana", second))
    for credential in (first, second):
        with pytest.raises(StoreError, match="withdrawn"):
            gate.store.commit(Enrol("dana", credential))
    assert enrolled(gate, "dana", "third").person == "dana"
