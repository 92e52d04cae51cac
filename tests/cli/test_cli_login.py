"""`saferun login`: who may enrol, and what is noted of who may not."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import Result

from saferun.ledger import ApprovalEntry, parse
from saferun.store import Note, Reader, Store

Run = Callable[..., Result]

CONFIG = """\
durability = "process"
[people.alma]
role = "admin"
[people.dana]
"""


@pytest.fixture
def login(saferun: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, for somebody whose secrets lie in a folder of their own."""
    Path("saferun.toml").write_text(CONFIG, "utf-8")
    Path(".saferun").mkdir()

    def call(name: str, *args: str, home: str = "home", **options: Any) -> Result:
        monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / home))
        return saferun("login", name, *args, **options)

    return call


@pytest.fixture
def closed(login: Run) -> Run:
    """The same, where an admin has enrolled."""
    assert login("alma", "--new").exit_code == 0
    return login


def code(said: Result) -> str:
    assert said.exit_code == 0, said.stderr
    return said.stdout.split()[-1]


def test_while_no_admin_is_known_who_owns_the_store_enrols_people_and_it_is_an_entry(
    login: Run, saferun: Run
) -> None:
    assert login("dana", "--new").exit_code == 0
    assert login("alma", "--new").exit_code == 0
    told = [(each["event"], each["person"]) for each in entries()]
    assert told == [("enrolled", "dana"), ("enrolled", "alma")]


def test_while_no_admin_is_known_nobody_enrols_but_the_owner_of_the_folder(
    login: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert login("dana", "--new").exit_code == 0
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    said = login("erin", "--new", home="elsewhere")
    assert said.exit_code == 64
    assert "who owns" in said.stderr


@pytest.mark.parametrize("name", ["dana", "mallory"])
def test_once_an_admin_is_known_nobody_enrols_by_themselves(
    closed: Run, tmp_path: Path, name: str
) -> None:
    for guess in ("", "a-guess"):
        said = closed(name, "--new", home="elsewhere", input=f"{guess}\n")
        assert said.exit_code == 64
        assert f"{name} is not invited" in said.stderr
    assert not (tmp_path / "elsewhere" / f"{name}.secret").exists()
    assert [each["why"] for each in entries()[1:]] == [f"{name} is not invited"] * 2


def test_who_is_invited_enrols_once(closed: Run, tmp_path: Path) -> None:
    invitation = code(closed("dana", "--invite"))
    assert closed("erin", "--new", home="erin", input=f"{invitation}\n").exit_code == 64
    assert closed("dana", "--new", home="dana", input=f"{invitation}\n").exit_code == 0
    assert closed("dana", "--new", home="again", input=f"{invitation}\n").exit_code == 64
    told = [(each["event"], each.get("by"), each.get("person")) for each in entries()]
    assert told == [
        ("enrolled", None, "alma"),
        ("invited", "alma", "dana"),
        ("refused", None, None),
        ("enrolled", None, "dana"),
    ]
    assert invitation.encode() not in Path(".saferun/saferun.db").read_bytes()


def test_a_newer_invitation_voids_the_one_before(closed: Run) -> None:
    first, second = code(closed("dana", "--invite")), code(closed("dana", "--invite"))
    assert closed("dana", "--new", home="dana", input=f"{first}\n").exit_code == 64
    assert closed("dana", "--new", home="dana", input=f"{second}\n").exit_code == 0


def test_only_an_admin_invites(closed: Run) -> None:
    invitation = code(closed("dana", "--invite"))
    assert closed("dana", "--new", home="dana", input=f"{invitation}\n").exit_code == 0
    said = closed("mallory", "--invite", home="dana")
    assert said.exit_code == 64
    assert "dana is no admin" in said.stderr
    said = closed("dana", "--invite")
    assert said.exit_code == 64
    assert "needs no invitation" in said.stderr


def test_a_wrong_secret_is_an_entry_without_the_secret(
    closed: Run, saferun: Run, tmp_path: Path
) -> None:
    (tmp_path / "home" / "alma.secret").write_text("a-wrong-guess\n", "ascii")
    assert closed("alma").exit_code == 64
    assert saferun("control", "stop", "--all", "--reason", "x").exit_code != 0
    said = entries()[1:]
    assert [each["why"] for each in said] == ["alma's secret was another"] * 2
    assert "a-wrong-guess" not in str(said)


def test_many_refusals_are_counted_and_not_all_of_them_noted() -> None:
    now = [1_000_000_000]
    store = Store("sqlite:///.saferun/saferun.db", durability="process", clock=lambda: now[0])
    entry = ApprovalEntry(id="", event="refused", channel="console", why="a log-in")
    for _ in range(120):
        store.commit(Note(entry))
    assert [each["why"] for each in entries()] == ["a log-in"] * 20
    now[0] += 61_000_000
    store.commit(Note(entry))
    store.close()
    told = ["100 more within a minute, which are only counted", "a log-in"]
    assert [each["why"] for each in entries()[20:]] == told


def entries() -> list[dict[str, Any]]:
    """What the ledger has of requests and people, in order."""
    with Reader(Path(".saferun/saferun.db")) as reader:
        found = [parse(body).entry for _, body, _ in reader.rows()]
    said = [each for each in found if isinstance(each, ApprovalEntry)]
    return [msgspec.to_builtins(each) for each in said]
