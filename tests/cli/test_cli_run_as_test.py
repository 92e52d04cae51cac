"""`saferun run export --pytest`: what is written is a test, and it runs."""

import ast
import contextlib
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from cli.project import lines
from guarding import observing
from recording import Script
from saferun import Diverged
from saferun import rerun as saferun_rerun
from saferun.store import Store

Run = Callable[..., Result]

POLICY = """\
version: 1
name: shop
tools:
  read_page: {effect: read, args: any}
  refund:
    effect: write
    args: {order: {type: string}, amount: {type: integer, minimum: 1}}
"""

AGENT = """\
import asyncio
import saferun
from saferun import guard


@guard(policy="shop")
async def read_page(url: str) -> str:
    return f"Refund X-9, says {url}."


@guard(policy="shop")
def refund(order: str, amount: int) -> str:
    raise AssertionError("money has moved") if amount == 7 else ConnectionError("the bank is out")


async def below(url: str) -> str:
    async with saferun.run(agent="reader", prompt=url, run_id=f"read-{url}"):
        return await read_page(url)


async def main() -> None:
    async with saferun.run(agent="support", prompt="Help.", run_id="ticket-31") as run:
        found = await asyncio.gather(below("a"), below("b"), read_page("c"))
        run.model("I refund X-9.")
        refund("X-9", 90_000)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except ConnectionError:
        pass
"""


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that ends with an error of a tool's, after parallel tools and agents below."""
    policy = Path("policies/shop.yaml")
    policy.parent.mkdir()
    policy.write_text(POLICY)
    Path("agent.py").write_text(AGENT)
    Path("tests").mkdir()
    monkeypatch.syspath_prepend(str(Path().absolute()))
    runpy.run_path("agent.py", run_name="__main__")
    observing().store.flush()
    return policy


def exported(saferun: Run, *args: str, run: str = "ticket-31") -> Result:
    return saferun("run", "export", run, "--pytest", "tests/test_ticket.py", "--for", "full", *args)


def made(name: str) -> None:
    """One of the tests of the file, as pytest makes it."""
    sys.modules.pop("agent", None)
    names = runpy.run_path("tests/test_ticket.py")
    if name == "policy":
        names["test_the_policy_stops_what_went_wrong_and_nothing_else"]()
        return
    with contextlib.ExitStack() as reruns:
        names["test_the_code_does_what_it_did"](
            lambda *args: reruns.enter_context(saferun_rerun(*args))
        )


def test_a_test_is_written_that_reads_as_one(saferun, shop) -> None:
    result = exported(saferun, "--agent", "agent:main", "--stops", "3")
    assert result.exit_code == 0, result.stderr
    assert "pytest tests/test_ticket.py" in result.stdout
    assert Path("tests/ticket.saferun").is_file()
    text = Path("tests/test_ticket.py").read_text()
    assert text == EXPECTED
    Path("tests/test_ticket.py").unlink()
    exported(saferun, "--agent", "agent:main", "--stops", "3")
    assert Path("tests/test_ticket.py").read_text() == text


EXPECTED = '''\
"""Run ticket-31: its code does what it did, and what went wrong is stopped now.

Made by `saferun run export ticket-31 --pytest tests/test_ticket.py --for full`
with `--agent agent:main --stops ticket-31#3`.
"""

from pathlib import Path

import agent

from saferun.testing import redecided

INCIDENT = Path(__file__).with_name("ticket.saferun")


def test_the_code_does_what_it_did(saferun_rerun):
    again = saferun_rerun(INCIDENT)
    again.make(agent.main)
    assert again.decisions == {
        "ticket-31#1": "read_page: allow",
        "ticket-31#3": "refund: allow",
        "read-a#1": "read_page: allow",
        "read-b#1": "read_page: allow",
    }


def test_the_policy_stops_what_went_wrong_and_nothing_else():
    stops = ["ticket-31#3"]
    now = redecided(INCIDENT, stops=stops)
    assert [each for each in stops if not now[each].stopped] == []
    assert [each for each in now.values() if each.finding == "failed"] == []
'''


def test_pytest_finds_it_and_it_needs_nothing_else(saferun, shop) -> None:
    exported(saferun, "--agent", "agent:main", "--stops", "3")
    Path(".saferun").rename("gone")
    shop.write_text(POLICY.replace("minimum: 1}", "minimum: 1, maximum: 5000}"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout
    assert not Path(".saferun").exists()


def test_it_fails_until_the_policy_stops_what_went_wrong(saferun, shop) -> None:
    exported(saferun, "--agent", "agent:main", "--stops", "3")
    made("code")
    with pytest.raises(AssertionError):
        made("policy")
    shop.write_text(POLICY.replace("minimum: 1}", "minimum: 1, maximum: 5000}"))
    made("policy")


def test_it_fails_where_the_policy_stops_more_than_that(saferun, shop) -> None:
    exported(saferun, "--agent", "agent:main", "--stops", "3")
    bounded = POLICY.replace("minimum: 1}", "minimum: 1, maximum: 5000}")
    shop.write_text(bounded.replace("args: any}", "args: {url: {enum: [a, b]}}}"))
    with pytest.raises(AssertionError):
        made("policy")


@pytest.mark.parametrize("old", ["90_000", '"I refund X-9."', 'below("b")', "read_page(url)"])
def test_it_fails_where_the_code_does_something_else(saferun, shop, old) -> None:
    exported(saferun, "--agent", "agent:main", "--stops", "3")
    assert old in AGENT
    others = {"90_000": "7", 'below("b")': 'below("a2")', "read_page(url)": 'read_page("z")'}
    Path("agent.py").write_text(AGENT.replace(old, others.get(old, '"I do not."')))
    with pytest.raises(Diverged):
        made("code")


def test_without_an_agent_it_says_where_that_goes(saferun, shop) -> None:
    exported(saferun, "--stops", "ticket-31#3")
    with pytest.raises(NotImplementedError, match="call here what was called then"):
        made("code")


def test_what_was_labelled_is_to_be_stopped(saferun, shop, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    saferun("login", "dana", "--new")
    assert exported(saferun).exit_code == 64
    saferun("run", "label", "read-b#1", "+")
    [told] = lines(exported(saferun, "--json"))
    assert (told["test"], told["path"]) == ("tests/test_ticket.py", "tests/ticket.saferun")
    assert 'stops = ["read-b#1"]' in Path("tests/test_ticket.py").read_text()


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--stops", "2"), "there is no such call"),
        (("--stops", "x"), "is no frame"),
        (("--stops", "3", "--agent", "agent"), "MODULE:FUNCTION"),
        (("--stops", "3", "--agent", "agent:main()\nimport os"), "MODULE:FUNCTION"),
        (("--stops", "3", "--agent", "a.class:main"), "MODULE:FUNCTION"),
        (("--stops", "3", "-o", "it.saferun"), "one at a time"),
        (("--stops", "3", "--for", "team"), "needs all of a run"),
    ],
)
def test_what_cannot_be_written_is_a_mistake(saferun, shop, args, why) -> None:
    result = exported(saferun, *args)
    assert result.exit_code == 64
    assert why in result.stderr
    assert not Path("tests/test_ticket.py").exists()


def test_a_test_that_somebody_may_have_gone_on_from_is_left_alone(saferun, shop) -> None:
    Path("tests/test_ticket.py").write_text("x = 1\n")
    result = exported(saferun, "--stops", "3")
    assert result.exit_code == 64
    assert "is there already" in result.stderr
    result = saferun("run", "export", "ticket-31", "--pytest", "tests/ticket.py", "--stops", "3")
    assert "pytest finds files named" in result.stderr
    assert saferun("run", "export", "ticket-31", "--agent", "a:b").exit_code == 64


def test_a_run_within_another_is_made_again_with_that(saferun, shop) -> None:
    result = exported(saferun, "--stops", "1", run="read-a")
    assert result.exit_code == 64
    assert "began in run ticket-31" in result.stderr


def test_no_name_gets_out_of_its_quotes(saferun, tmp_path) -> None:
    store = Store("sqlite:///.saferun/saferun.db", durability="process")
    odd = 'x"""\nimport os\\\u202e\U0001f600\'"'
    run = Script(store, odd)
    run.call(odd + "tool", {"a": 1})
    run.end()
    store.close()
    Path("tests").mkdir()
    assert exported(saferun, "--stops", "1", run=odd).exit_code == 0
    text = Path("tests/test_ticket.py").read_text()
    assert text.isascii()
    tree = ast.parse(text)
    assert [each.module for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)] == [
        "pathlib",
        "saferun.testing",
    ]
    assert not [each for each in ast.walk(tree) if isinstance(each, ast.Import)]
    said = [each.value for each in ast.walk(tree) if isinstance(each, ast.Constant)]
    assert f"{odd}#1" in said
    assert f"{odd}tool: allow" in said
