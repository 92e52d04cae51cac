"""`saferun run export --pytest`: an incident as a test, with its file beside it.

What is written is for people to read and to go on from: nothing is in it that they cannot see, and
the same run gives the same text each time.
"""

import keyword
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import msgspec

from saferun.cli.options import CannotError, near
from saferun.cli.run import incident_out, preview
from saferun.cli.run.told import history_of
from saferun.cli.run.told import named as named_run

if TYPE_CHECKING:
    from saferun.replay.rerun import Script
    from saferun.store.index import Index

_NAME = re.compile(r"test_[A-Za-z0-9_]+\.py|[A-Za-z0-9_]+_test\.py")
_FRAME = re.compile(r"(?:(.+)#)?([1-9][0-9]{0,8})")


class Agent(msgspec.Struct, frozen=True):
    """Where the agent's own code is, as `MODULE:FUNCTION`."""

    module: str
    function: str

    def __str__(self) -> str:
        return f"{self.module}:{self.function}"


def agent_of(given: str | None) -> Agent | None:
    """What `--agent` names. Nothing is imported to find it. Raises CannotError."""
    if given is None:
        return None
    module, _, function = given.partition(":")
    for word in (*module.split("."), function):
        if not word.isascii() or not word.isidentifier() or keyword.iskeyword(word):
            raise CannotError(f"--agent {given!r} is not of the form MODULE:FUNCTION.")
    return Agent(module, function)


def incident_of(test: Path) -> Path:
    """The incident file that belongs beside a test. Raises CannotError where it is no test's name.

    A test that is there is left alone: somebody may have gone on from it.
    """
    from saferun.incident import SUFFIX

    if _NAME.fullmatch(test.name) is None:
        raise CannotError(f"pytest finds files named test_NAME.py; name another than {test}.")
    if test.exists():
        raise CannotError(f"{test} is there already; remove it, or name another.")
    return test.with_name(test.stem.removeprefix("test_").removesuffix("_test") + SUFFIX)


def tested(
    run: str,
    test: Path,
    agent: str | None,
    stops: Sequence[str],
    *,
    named: bool,
    yes: bool,
    archive: Path | None,
    store: str | None,
    as_json: bool,
) -> int:
    """Write the test and its incident file, and say so. Raises CannotError.

    The file has all of the run, so somebody has `named` that, or agrees to it at a terminal.
    """
    whose, output = agent_of(agent), incident_of(test)
    text = text_of(run, test, whose, stops, archive=archive, store=store)
    done = incident_out.export(
        run,
        output,
        preview.wanted("full"),
        named=named,
        previews=False,
        yes=yes,
        archive=archive,
        store=store,
        as_json=as_json,
        test=test,
    )
    if done:
        return done
    try:
        test.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise CannotError(f"{test} cannot be written: {problem.strerror}.") from None
    return done


def text_of(
    run: str,
    test: Path,
    agent: Agent | None,
    stops: Sequence[str],
    *,
    archive: Path | None,
    store: str | None,
) -> str:
    """The test of a run. Raises CannotError, and StoreError where it cannot be made again."""
    from saferun.replay.rerun import recorded, scripts

    with history_of(store, archive) as (_, index):
        run_id = named_run(index, run)
        record = recorded(index, run_id)
        if record.root != run_id:
            raise CannotError(
                f"Run {run_id} began in run {record.root}, and is made again with it: export that."
            )
        calls = scripts(record)
        wanted = _stops(index, calls, run_id, stops)
    return "".join(f"{line}\n" for line in _lines(run_id, test, agent, wanted, calls))


def _stops(
    index: "Index", calls: "dict[str, Script]", run_id: str, given: Sequence[str]
) -> list[str]:
    """The frames that are to be stopped: those that are named, or else those that are labelled."""
    from saferun.replay import Playback

    there = {
        step.place
        for script in calls.values()
        for made in script.steps
        for step in made.all()
        if step.name
    }
    if given:
        found = [_frame(each, run_id) for each in given]
        for place, word in zip(found, given, strict=True):
            if place not in there:
                raise CannotError(f"--stops {word}: there is no such call; name RUN#FRAME.")
        return sorted(set(found))
    labelled = [
        f"{run}#{row.number}"
        for run in calls
        for row in Playback(index, run).outline.rows
        if row.label == "right"
    ]
    if not labelled:
        raise CannotError(
            "Say what should have been stopped: --stops FRAME, or first `saferun run label "
            "RUN#FRAME right`."
        )
    return labelled


def _frame(given: str, run_id: str) -> str:
    found = _FRAME.fullmatch(given)
    if found is None:
        raise CannotError(f"--stops {given!r} is no frame; write its number, or RUN#FRAME.")
    return f"{found[1] or run_id}#{found[2]}"


def _lines(
    run_id: str, test: Path, agent: Agent | None, stops: Sequence[str], calls: "dict[str, Script]"
) -> Iterator[str]:
    ran = f"saferun run export {quote(run_id)} --pytest {quote(near(test))} --for full"
    options = [] if agent is None else [f"--agent {agent}"]
    options += [
        f"--stops {quote(run)}#{frame}"
        for run, _, frame in (each.rpartition("#") for each in stops)
    ]
    yield f'"""Run {_said(run_id)}: its code does what it did, and what went wrong is stopped now.'
    yield ""
    yield f"Made by `{_said(ran)}`"
    yield f"with `{_said(' '.join(options))}`."
    yield '"""'
    yield ""
    yield "from pathlib import Path"
    yield ""
    if agent is not None:
        # By its whole name: whatever it is called, it is no name of this file, and no test.
        yield f"import {agent.module}"
        yield ""
    yield "from saferun.testing import redecided"
    yield ""
    yield f"INCIDENT = Path(__file__).with_name({_literal(incident_of(test).name)})"
    yield ""
    yield ""
    from saferun.replay.rerun import FIRST

    code = "agent" if agent is None else f"{agent.module}.{agent.function}"
    if agent is None:
        yield "def agent():"
        yield '    raise NotImplementedError("call here what was called then: your agent")'
        yield ""
        yield ""
    yield "def test_the_code_does_what_it_did(saferun_rerun):"
    yield "    again = saferun_rerun(INCIDENT)"
    yield f"    again.make({code})"
    yield "    assert again.decisions == {"
    for script in calls.values():
        for step in script.steps:
            # What another program did that has resumed a call is not the agent's to do again.
            if step.kind == "call" and step.program == FIRST:
                yield f"        {_literal(step.place)}: {_literal(step.decided)},"
    yield "    }"
    yield ""
    yield ""
    yield "def test_the_policy_stops_what_went_wrong_and_nothing_else():"
    yield f"    stops = [{', '.join(map(_literal, stops))}]"
    yield "    now = redecided(INCIDENT, stops=stops)"
    yield "    assert [each for each in stops if not now[each].stopped] == []"
    yield '    assert [each for each in now.values() if each.finding == "failed"] == []'


def _literal(text: str) -> str:
    """A text as Python has it, in ASCII: names of runs and tools may hold anything."""
    return '"' + _words(text).replace('"', '\\"') + '"'


def _said(text: str) -> str:
    return _words(text).replace('"', "'")


def _words(text: str) -> str:
    return text.encode("unicode_escape", "backslashreplace").decode("ascii")
