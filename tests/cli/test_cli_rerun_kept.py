"""`saferun run rerun --keep`: what the code did now, kept as a run and compared with the record."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from cli.project import lines
from guarding import observing
from saferun import SafeRunError
from saferun.store import Store

AGENT = """\
import saferun
from saferun import guard


@guard
def look_up(order: str) -> dict:
    return {"order": order, "paid": 40}


@guard
def refund(order: str, amount: int) -> str:
    return "done"


def main() -> None:
    with saferun.run(agent="support", prompt="Refund A-17.", run_id="ticket-1") as run:
        run.user("I was charged twice.")
        found = look_up("A-17")
        run.model("I refund it.", model="small")
        refund("A-17", found["paid"])
        with saferun.run(agent="mailer", run_id="mail-1"):
            look_up("mail")


if __name__ == "__main__":
    main()
"""

Run = Callable[..., Result]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    Path("agent.py").write_text(AGENT, encoding="utf-8")
    runpy.run_path("agent.py", run_name="__main__")
    observing().store.flush()
    return [sys.executable, "agent.py"]


def change(old: str, new: str) -> None:
    assert old in AGENT
    Path("agent.py").write_text(AGENT.replace(old, new), encoding="utf-8")


def again(saferun: Run, program: list[str], run: str = "ticket-1") -> Result:
    return saferun("run", "rerun", run, "--keep", "kept", "--", *program)


def compared(saferun: Run, *args: str) -> dict:
    result = saferun("run", "diff", *args, "--json")
    [told] = lines(result)
    assert result.exit_code == int(told["divergence"] is not None), result.stderr
    return told


def test_of_code_that_was_not_changed_the_same_run_is_kept(saferun, program) -> None:
    result = again(saferun, program)
    assert result.exit_code == 0
    assert "kept  saferun run diff ticket-1 kept" in result.stdout
    told = compared(saferun, "ticket-1", "kept")
    assert (told["one"], told["other"], told["same"]) == ("ticket-1", "ticket-1", 4)
    assert told["divergence"] is None


CHANGES = [
    # An argument, another message, a model's words, an order, one call more, one less, one renamed.
    ('found["paid"])', 'found["paid"] // 2)', {"one": 4, "other": 4, "differs": ["args"]}),
    ("charged twice", "charged thrice", {"one": 1, "other": 1, "differs": ["said"]}),
    ('"I refund it."', '"I keep it."', {"one": 3, "other": 3, "differs": ["said"]}),
    ('look_up("A-17")', 'look_up("A-18")', {"one": 2, "other": 2, "differs": ["args"]}),
    (
        '        refund("A-17", found["paid"])\n',
        '        look_up("A-17")\n',
        {"one": 4, "other": None, "differs": []},
    ),
    (
        '        run.model("I refund it.", model="small")\n',
        "",
        {"one": 3, "other": None, "differs": []},
    ),
    (
        '        run.user("I was charged twice.")\n',
        '        refund("A-17", 1)\n        run.user("I was charged twice.")\n',
        {"one": 1, "other": None, "differs": []},
    ),
]


@pytest.mark.parametrize(("old", "new", "divergence"), CHANGES)
def test_where_the_code_parts_from_the_record_is_where_the_runs_do(
    saferun, program, old, new, divergence
) -> None:
    change(old, new)
    assert again(saferun, program).exit_code == 1
    assert compared(saferun, "ticket-1", "kept")["divergence"] == divergence


def test_what_the_code_did_instead_is_shown(saferun, program) -> None:
    change('found["paid"])', 'found["paid"] // 2)')
    again(saferun, program)
    result = saferun("run", "diff", "ticket-1", "kept")
    assert "✕ They part at frame 4 | frame 4:" in result.stdout
    assert "amount  40 → 20" in result.stdout
    assert "the rerun was stopped here: nothing came of it" in result.stdout
    change('"I refund it."', '"I keep it."')
    again(saferun, program)
    said = saferun("run", "diff", "ticket-1", "kept").stdout
    assert "I refund it." in said
    assert "I keep it." in said


def test_another_error_at_the_end_is_told(saferun, program) -> None:
    last = 'look_up("mail")\n'
    change(last, f"{last}        raise ValueError\n")
    assert again(saferun, program).exit_code == 1
    result = saferun("run", "diff", "ticket-1", "kept")
    assert result.exit_code == 1
    assert "✕ They part at their ends: ends | ends with ValueError" in result.stdout
    told = saferun("run", "diff", "ticket-1", "kept", "--json")
    assert lines(told)[0]["ends"] == [None, "ValueError"]


def test_a_run_below_is_kept_too(saferun, program) -> None:
    change('look_up("mail")', 'look_up("post")')
    assert again(saferun, program).exit_code == 1
    assert compared(saferun, "ticket-1", "kept")["divergence"] is None
    told = compared(saferun, "mail-1", "kept")
    assert (told["other"], told["divergence"]["differs"]) == ("mail-1", ["args"])


def test_a_kept_run_is_looked_at_as_any_other(saferun, program) -> None:
    change('found["paid"])', 'found["paid"] // 2)')
    again(saferun, program)
    store = f"sqlite:///{Path('kept/rerun.db').absolute()}"
    result = saferun("run", "show", "ticket-1", "--store", store)
    assert result.exit_code == 0, result.stderr
    assert "look_up" in result.stdout
    assert saferun("ledger", "verify", "--store", store).exit_code == 64


def test_an_incident_file_is_compared_with_what_is_kept_of_it(saferun, program) -> None:
    assert saferun("run", "export", "ticket-1", "-o", "it.saferun", "--for", "full").exit_code == 0
    assert compared(saferun, "ticket-1", "it.saferun")["same"] == 4
    Path(".saferun").rename("gone")
    change('found["paid"])', 'found["paid"] // 2)')
    assert again(saferun, program, "it.saferun").exit_code == 1
    assert compared(saferun, "it.saferun", "kept")["divergence"]["one"] == 4
    assert not Path(".saferun").exists()


def test_one_rerun_takes_the_place_of_another_and_of_nothing_else(saferun, program) -> None:
    again(saferun, program)
    compared(saferun, "ticket-1", "kept")
    change('found["paid"])', 'found["paid"] // 2)')
    again(saferun, program)
    assert compared(saferun, "ticket-1", "kept")["divergence"] is not None
    kept = Path("kept/rerun.db")
    kept.unlink()
    kept.write_bytes(Path(".saferun/saferun.db").read_bytes())
    result = again(saferun, program)
    assert result.exit_code >= 64
    assert "is no rerun that was kept" in result.stderr
    assert kept.exists()


def test_two_files_are_compared_without_a_store(saferun, program) -> None:
    for name in ("one", "other"):
        assert (
            saferun("run", "export", "ticket-1", "-o", f"{name}.saferun", "--for", "full").exit_code
            == 0
        )
    Path(".saferun").rename("gone")
    told = compared(saferun, "one.saferun", "other.saferun")
    assert (told["one"], told["other"], told["same"]) == ("ticket-1", "ticket-1", 4)
    assert saferun("run", "diff", "one.saferun", "nobody").exit_code >= 64


def test_no_gate_takes_a_kept_run_for_a_store(saferun, program) -> None:
    again(saferun, program)
    with pytest.raises(SafeRunError):
        Store(f"sqlite:///{Path('kept/rerun.db').absolute()}", durability="process")


def test_it_says_in_its_document_where_it_is_kept(saferun, program) -> None:
    result = saferun("run", "rerun", "ticket-1", "--keep", "kept", "--json", "--", *program)
    assert json.loads(result.stdout)["kept"] == "kept"
