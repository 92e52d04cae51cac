"""`saferun policy backtest` and `saferun run import`."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.project import lines
from saferun import Denied, Gate, guard
from saferun.cli.run_import import run_id
from storing import audit, kinds

STRICT = """\
version: 1
name: strict
default: deny
inputs: {user.tier: string}
tools:
  refund:
    effect: write
    args:
      order_id: {type: string}
      amount: {type: integer}
      currency: {type: string, default: USD}
    rules:
      - {id: small-only, deny: true, args: {amount: {minimum: 1001}}}
      - {id: gold-only, ask: [finance], when: 'user.tier != "gold"'}
"""

FIELDS = [
    *("run_id", "index", "call_id", "tool", "verdict", "rules", "control", "recorded", "missing"),
]


def refund(amount: int, call_id: str = "call_0") -> list[dict[str, Any]]:
    arguments = json.dumps({"order_id": "A-17", "amount": amount})
    call = {"id": call_id, "function": {"name": "refund", "arguments": arguments}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "paid"},
    ]


def write(file: Path, *runs: dict[str, Any]) -> Path:
    file.write_text("\n".join(json.dumps(run) for run in runs), encoding="utf-8")
    return file


@pytest.fixture
def strict(policy: Path) -> Path:
    policy.with_name("strict.yaml").write_text(STRICT, encoding="utf-8")
    return policy


@pytest.fixture
def trace(strict: Path) -> Path:
    gold = {"id": "mia", "tier": "gold"}
    return write(
        Path("runs.jsonl"),
        {
            "run_id": "t-1",
            "agent": "support",
            "user": gold,
            "messages": [*refund(500), *refund(4_000)],
            "labels": {"attacked": True, "malicious_calls": []},
        },
        {"run_id": "t-2", "agent": "other", "user": "zoe", "messages": refund(500)},
    )


def test_a_trace_has_a_line_for_every_call_and_a_summary(saferun, trace) -> None:
    result = saferun("policy", "backtest", "strict", "--trace", str(trace), "--json")
    *calls, last = lines(result)
    assert result.exit_code == 0
    assert [list(each) for each in calls] == [FIELDS] * 3
    assert [each["verdict"] for each in calls] == ["allow", "deny", "unknown"]
    assert [each["index"] for each in calls] == [0, 1, 0]
    assert calls[1]["rules"] == ["small-only"]
    assert calls[2]["missing"] == ["user.tier"]
    assert last["summary"]["verdicts"] == {"allow": 1, "ask": 0, "deny": 1, "unknown": 1}


def test_several_traces_are_read_one_after_the_other(saferun, trace) -> None:
    again = ("--trace", str(trace), "--trace", str(trace))
    *calls, _ = lines(saferun("policy", "backtest", "strict", *again, "--json"))
    assert [each["run_id"] for each in calls] == ["t-1", "t-1", "t-2"] * 2


def test_what_is_known_of_the_users_is_given_on_the_command_line(saferun, trace) -> None:
    known = ("--trace", str(trace), "--user", "tier=silver", "--json")
    *calls, _ = lines(saferun("policy", "backtest", "strict", *known))
    assert [each["verdict"] for each in calls] == ["allow", "deny", "ask"]


def test_what_is_known_of_the_runs_is_given_in_a_file(saferun, trace) -> None:
    Path("known.json").write_text('{"user": {"tier": "silver"}}', encoding="utf-8")
    known = ("--trace", str(trace), "--context", "known.json", "--json")
    *calls, _ = lines(saferun("policy", "backtest", "strict", *known))
    assert calls[-1]["verdict"] == "ask"


@pytest.mark.parametrize("only", [("--run", "t-2"), ("--agent", "other")])
def test_one_run_or_agent_can_be_asked_for(saferun, trace, only) -> None:
    told = saferun("policy", "backtest", "strict", "--trace", str(trace), *only, "--json")
    assert [each["run_id"] for each in lines(told)[:-1]] == ["t-2"]


def test_the_history_is_compared_with_what_was_recorded(saferun, strict, history) -> None:
    *calls, last = lines(saferun("policy", "backtest", "strict", "--user", "tier=gold", "--json"))
    assert [each["recorded"] for each in calls] == ["allow", "deny", "ask"]
    assert [each["verdict"] for each in calls] == ["deny", "deny", "deny"]
    assert last["summary"]["newly"] == {"allowed": 0, "asked": 0, "denied": 2}


def test_the_history_since_a_time_is_what_was_decided_since(saferun, strict, history) -> None:
    recent = lines(saferun("policy", "backtest", "strict", "--since", "1h", "--json"))
    future = lines(saferun("policy", "backtest", "strict", "--since", "2999-01-01", "--json"))
    assert (len(recent), len(future)) == (4, 1)


def test_the_page_says_what_changes_by_which_rule_and_where(saferun, strict, history) -> None:
    said = saferun("policy", "backtest", "strict", "--user", "tier=gold").stdout
    assert "3 calls of 1 run  by strict @ " in said
    assert "✕ 3 denied" in said
    assert "Of 3 recorded verdicts, 2 newly denied." in said
    assert "small-only" in said
    assert "r-refunds  2 newly denied" in said


def test_the_page_says_what_cannot_be_decided_and_for_want_of_what(saferun, trace) -> None:
    said = saferun("policy", "backtest", "strict", "--trace", str(trace)).stdout
    assert "user.tier  1 call" in said
    assert "false alarms  1 of 2 harmless calls" in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--user", "gold"), "--user 'gold' is not of the form KEY=VALUE"),
        (("--since", "soon"), "--since 'soon' is no time"),
        (("--since", "1d", "--trace", "runs.jsonl"), "A trace has no times"),
        (("--trace", "nowhere.jsonl"), "nowhere.jsonl: it cannot be read"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(saferun, trace, history, options, sentence) -> None:
    result = saferun("policy", "backtest", "strict", *options)
    assert result.exit_code == 64
    assert sentence in " ".join(result.stderr.split())


def test_an_imported_run_is_listed_and_shown_as_such(saferun, trace) -> None:
    assert saferun("run", "import", str(trace)).exit_code == 0
    second, first = lines(saferun("run", "list", "--json"))
    assert first["run_id"].startswith("import/")
    assert first["run_id"].endswith("/t-1")
    assert first["imported"].startswith(first["run_id"].split("/")[1])
    assert second["frames"] == 1
    said = saferun("run", "show", first["run_id"]).stdout
    assert "↓ refund  imported" in said
    assert 'amount=500  order_id="A-17"' in said
    assert '"paid"' in said


def test_an_imported_file_leaves_a_ledger_that_verifies(saferun, trace, database) -> None:
    saferun("run", "import", str(trace))
    report = audit(database)
    assert (report.problem, report.dangling) == (None, 0)
    assert kinds(database) == ["ledger", "run", "call", "call", "run", "call"]


def test_a_file_that_is_there_already_adds_nothing(saferun, trace, database) -> None:
    saferun("run", "import", str(trace))
    before = kinds(database)
    [told] = lines(saferun("run", "import", str(trace), "--json"))
    assert (told["runs"], told["known"]) == (0, 2)
    assert kinds(database) == before


def test_a_file_with_a_bad_line_is_not_imported_at_all(saferun, trace, database) -> None:
    trace.write_text(trace.read_text(encoding="utf-8") + "\n{", encoding="utf-8")
    result = saferun("run", "import", str(trace))
    assert (result.exit_code, "runs.jsonl:3" in result.stderr) == (64, True)
    assert not database.exists()


def test_secrets_in_a_file_do_not_reach_the_ledger(saferun, policy, database) -> None:
    said = [{"role": "user", "content": "my password: hunter2hunter2"}]
    saferun("run", "import", str(write(Path("s.jsonl"), {"run_id": "s", "messages": said})))
    for part in database.parent.glob("saferun.db*"):
        assert not part.is_file() or b"hunter2hunter2" not in part.read_bytes()


def test_imported_calls_are_backtested_with_nothing_to_compare_with(saferun, trace) -> None:
    saferun("run", "import", str(trace))
    *calls, _ = lines(saferun("policy", "backtest", "strict", "--json"))
    assert [each["verdict"] for each in calls] == ["allow", "deny", "unknown"]
    assert [each["recorded"] for each in calls] == [None] * 3


def test_no_live_run_goes_on_with_an_imported_one(saferun, trace) -> None:
    saferun("run", "import", str(trace))
    taken = lines(saferun("run", "list", "--json"))[0]["run_id"]
    gate = Gate(policy="production")

    def refund(order_id: str, amount: int, currency: str = "USD") -> str:
        raise AssertionError

    with pytest.raises((Denied, ValueError)), gate.run(run_id=taken, user="zoe", agent="other"):
        guard(refund, gate=gate)("A-17", 500)
    gate.close()


def test_what_an_id_should_not_hold_is_replaced_and_ids_stay_apart() -> None:
    taken: set[str] = set()
    digest = "0123456789abcdef"
    assert run_id(digest, "a/b", 1, taken) == "import/01234567/a/b"
    assert run_id(digest, "a/b", 2, taken) == "import/01234567/a/b~2"
    assert run_id(digest, "a\x1b[2J", 3, taken) == "import/01234567/a__2J~3"
    assert len(run_id(digest, "x" * 5_000, 4, taken)) <= 200


def test_what_is_in_shadow_is_counted_and_changes_nothing(saferun, trace) -> None:
    tried = STRICT.replace(
        "    rules:\n", "    limits: [{id: one, max: 1, per: all, mode: shadow}]\n    rules:\n"
    )
    tried = tried.replace("id: small-only, deny: true", "id: small-only, mode: shadow, deny: true")
    Path("policies/tried.yaml").write_text(tried, encoding="utf-8")
    *calls, last = lines(saferun("policy", "backtest", "tried", "--trace", str(trace), "--json"))
    assert {rule for call in calls for rule in call["rules"]}.isdisjoint(("one", "small-only"))
    assert last["summary"]["shadow"].keys() == {"one", "small-only"}
    page = saferun("policy", "backtest", "tried", "--trace", str(trace)).stdout
    assert "In shadow, and would have spoken on" in page
