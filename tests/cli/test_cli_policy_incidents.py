"""`saferun policy test --incidents`: a folder of incident files as a suite of regressions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from typer.testing import Result

from cli.project import POLICY, lines, live
from incident.incidents import Hiding, incident, packed
from recording import indexed
from saferun import Denied, Gate, guard
from saferun.incident import pack
from saferun.store import Store

Run = Callable[..., Result]
FILE = Path("incidents/refunds.saferun")

STRICT = POLICY.replace("maximum: 100000}", "maximum: 3000}")
LOOSE = POLICY.replace("maximum: 100000}", "maximum: 1000000}").partition("    rules:")[0]


@pytest.fixture
def dana(saferun: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, as somebody who is logged in."""
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    assert saferun("login", "dana", "--new").exit_code == 0
    FILE.parent.mkdir()
    return saferun


def export(saferun: Run, run: str = "r-refunds", file: Path = FILE) -> None:
    result = saferun("run", "export", run, "-o", str(file), "--for", "full")
    assert result.exit_code == 0, result.stderr


def tried(saferun: Run, *args: str) -> tuple[int, dict[str, Any]]:
    result = saferun("policy", "test", "--incidents", "incidents", "--json", *args)
    [told] = lines(result)
    return result.exit_code, told


def findings(told: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        f"{each['run']}#{each['frame']}": (each["finding"], each["why"]) for each in told["calls"]
    }


def test_by_the_policy_that_decided_all_is_as_it_was(dana, history) -> None:
    export(dana)
    code, told = tried(dana)
    assert (code, told["passed"], told["failed"], told["undecided"]) == (0, 3, 0, 0)
    assert [(each["recorded"], each["verdict"]) for each in told["calls"]] == [
        ("allow", "allow"),
        ("deny", "deny"),
        ("ask", "ask"),
    ]
    said = dana("policy", "test", "--incidents", "incidents").stdout
    assert "✓ incidents/refunds.saferun  3 calls, 2 stopped" in said
    assert "✓ 3 calls are as expected" in said


def test_what_is_labelled_right_to_stop_has_to_be_stopped(dana, history, policy) -> None:
    dana("run", "label", "r-refunds#2", "+")
    export(dana)
    code, told = tried(dana)
    assert code == 1
    assert findings(told)["r-refunds#2"] == (
        "failed",
        "it is right to stop it, says a label, and it is let through",
    )
    policy.write_text(STRICT)
    code, told = tried(dana)
    assert findings(told)["r-refunds#2"] == ("held", "")
    # And the one that people had said yes to is another matter.
    assert findings(told)["r-refunds#4"] == (
        "failed",
        "people said yes, and it is denied by refund.args",
    )


def test_what_is_labelled_a_false_alarm_has_to_be_let_through(dana, history, policy) -> None:
    dana("run", "label", "r-refunds#3", "-")
    export(dana)
    code, told = tried(dana)
    finding, why = findings(told)["r-refunds#3"]
    assert (code, finding) == (1, "failed")
    assert why.startswith("to stop it is a false alarm, says a label, and it is denied by ")
    policy.write_text(LOOSE)
    assert findings(tried(dana)[1])["r-refunds#3"] == ("held", "")


def test_what_nobody_labelled_goes_as_it_went(dana, history, policy) -> None:
    export(dana)
    policy.write_text(LOOSE)
    code, told = tried(dana)
    assert (code, findings(told)) == (
        1,
        {
            "r-refunds#2": ("held", ""),
            "r-refunds#3": ("failed", "it was stopped, and it is let through"),
            "r-refunds#4": ("failed", "people were asked, and nobody is"),
        },
    )
    policy.write_text(STRICT)
    assert findings(tried(dana)[1])["r-refunds#2"] == (
        "failed",
        "it ran, and it is denied by refund.args",
    )


def test_a_policy_in_shadow_stops_nothing(dana, history, policy) -> None:
    export(dana)
    policy.write_text(POLICY + "mode: shadow\n")
    code, told = tried(dana)
    assert code == 1
    why = "it was stopped, and it is let through: the policy is in shadow"
    assert findings(told)["r-refunds#3"] == ("failed", why)


def test_another_policy_may_be_named(dana, history) -> None:
    export(dana)
    Path("policies/other.yaml").write_text(LOOSE.replace("production", "other"))
    code, told = tried(dana, "other")
    assert code == 1
    assert {each["policy"] for each in told["calls"]} == {"other"}


@pytest.mark.parametrize("where", [0, 40, 700, -30])
def test_a_file_that_was_edited_is_an_error_by_its_name(dana, history, where) -> None:
    export(dana)
    data = bytearray(FILE.read_bytes())
    data[where] ^= 1
    Path("incidents/<b>edited.saferun").write_bytes(data)
    Path("incidents/none.saferun").write_bytes(b"none\x1b[31m")
    code, told = tried(dana)
    assert (code, told["passed"]) == (1, 3)
    assert [each["path"] for each in told["faults"]] == [
        "incidents/<b>edited.saferun",
        "incidents/none.saferun",
    ]
    result = dana("policy", "test", "--incidents", "incidents", "--junit", "report.xml")
    assert "✕ incidents/<b>edited.saferun: error: " in result.stdout
    assert "✕ 2 files cannot be used" in result.stdout
    assert "\x1b" not in result.stdout
    suites = ET.parse("report.xml").getroot()
    assert [(each.get("tests"), each.get("errors")) for each in suites] == [
        ("3", "0"),
        ("1", "1"),
        ("1", "1"),
    ]


def test_what_nobody_can_decide_is_said_and_is_no_pass(dana, history, database) -> None:
    def hidden(entry):
        if "args" not in entry.fields or entry.fields.get("digest") is None:
            return entry
        return msgspec.structs.replace(entry, fields={**entry.fields, "args": {"amount": 1}})

    with indexed(database) as index:
        pack(index, history, FILE, redact=Hiding(hidden))
    result = dana("policy", "test", "--incidents", "incidents", "--junit", "report.xml")
    assert result.exit_code == 0
    assert "… incidents/refunds.saferun  3 calls, 0 stopped, 3 cannot be decided" in result.stdout
    assert "… 3 calls cannot be decided, and count as nothing" in result.stdout
    assert "✓" not in result.stdout
    [suite] = ET.parse("report.xml").getroot()
    assert (suite.get("skipped"), suite.get("failures")) == ("3", "0")
    assert "cannot decide: its arguments are redacted" in ET.tostring(suite, "unicode")


def test_what_was_left_out_of_a_file_is_said(dana, history, database) -> None:
    with indexed(database) as index:
        kept = lambda entry: None if entry.fields.get("verdict") == "deny" else entry
        pack(index, history, FILE, redact=Hiding(kept))
    code, told = tried(dana)
    assert (code, told["passed"], told["left_out"]) == (0, 2, 1)
    said = dana("policy", "test", "--incidents", "incidents").stdout
    assert "2 calls, 1 stopped, 1 entry is not in the file" in said


def test_what_was_labelled_and_cannot_be_decided_fails(dana, policy) -> None:
    text = POLICY.replace("    rules:", "    sensitive: [args.order_id]\n    rules:")
    policy.write_text(text)
    live("r-refunds")
    dana("run", "label", "r-refunds#3", "+")
    export(dana)
    code, told = tried(dana)
    assert (code, told["failed"], told["undecided"]) == (1, 1, 2)
    assert "a person has said what has to become of it" in findings(told)["r-refunds#3"][1]


def test_whom_a_redacted_run_was_for_is_not_believed(dana, database, policy) -> None:
    asks = "inputs: {user.tier: string}\n" + POLICY + '        when: user.tier != "gold"\n'
    policy.write_text(asks)
    live("r-refunds", user={"id": "maria", "tier": "basic"})

    def renamed(entry):
        if entry.kind != "run" or "user" not in entry.fields:
            return entry
        user = {"id": "user-1", "tier": "gold"}
        return msgspec.structs.replace(entry, fields={**entry.fields, "user": user})

    with indexed(database) as index:
        pack(index, "r-refunds", FILE, redact=Hiding(renamed))
    assert findings(tried(dana)[1])["r-refunds#4"] == (
        "undecided",
        "user.tier is not known of the run",
    )


def test_what_a_redacted_run_was_asked_for_is_not_believed(dana, database, policy) -> None:
    policy.write_text(POLICY + "        when: '!run.said.contains(\"pay\")'\n")
    live("r-refunds", prompt="Please pay.")

    def reworded(entry):
        if entry.kind != "run" or "prompt" not in entry.fields:
            return entry
        return msgspec.structs.replace(entry, fields={**entry.fields, "prompt": "No."})

    with indexed(database) as index:
        pack(index, "r-refunds", FILE, redact=Hiding(reworded))
    assert findings(tried(dana)[1])["r-refunds#4"] == (
        "undecided",
        "run.said is not known of the run",
    )


def test_what_a_switch_has_stopped_no_policy_can_tell(dana, policy) -> None:
    gate = Gate(policy="production")
    safe = guard(refund, gate=gate)
    with gate.run(run_id="r-stopped", agent="support"):
        safe("A-1", 10)
        stopped = dana("control", "stop", "--agent", "support", "--reason", "too many")
        assert stopped.exit_code == 0
        with pytest.raises(Denied):
            safe("A-2", 10)
    gate.close()
    export(dana, "r-stopped")
    code, told = tried(dana)
    assert (code, told["passed"], told["undecided"]) == (0, 1, 1)
    assert "such as a switch" in told["calls"][1]["why"]


def refund(order_id: str, amount: int, currency: str = "USD") -> str:
    return "done"


def test_a_limit_of_the_run_is_counted_again_with_the_runs_within_it(dana, policy) -> None:
    limited = POLICY + "limits: [{id: few, max: 2, per: run}]\n"
    policy.write_text(limited)
    gate = Gate(policy="production")
    safe = guard(refund, gate=gate)
    with gate.run(run_id="r-top", agent="support"):
        safe("A-1", 10)
        with gate.run(run_id="r-below", agent="helper"):
            safe("A-2", 10)
            with pytest.raises(Denied):
                safe("A-3", 10)
    gate.close()
    export(dana, "r-top")
    code, told = tried(dana)
    assert (code, told["passed"]) == (0, 3)
    assert told["calls"][2]["control"] == "few"
    policy.write_text(limited.replace("max: 2", "max: 3"))
    why = "it was stopped, and it is let through"
    assert findings(tried(dana)[1])["r-below#2"] == ("failed", why)


@pytest.mark.parametrize("name", ["../secret", "gone", "production.test"])
def test_a_policys_name_in_a_file_is_no_path(dana, history, policy, name) -> None:
    Path("secret.yaml").write_text(LOOSE)

    # A file that is in order, and says what whoever wrote it wanted.
    def renamed(entry):
        if "policy" not in entry.fields:
            return entry
        other = {**entry.fields["policy"], "name": name}
        return msgspec.structs.replace(entry, fields={**entry.fields, "policy": other})

    with indexed(Path(".saferun/saferun.db")) as index:
        pack(index, history, FILE, redact=Hiding(renamed))
    code, told = tried(dana)
    assert (code, told["undecided"]) == (0, 3)
    assert f"the policy {name!r} decided on it then" in told["calls"][0]["why"]


def test_a_key_that_was_kept_outside_has_to_vouch_for_every_file(dana, history) -> None:
    export(dana)
    Path("KEY").write_bytes(dana("ledger", "vkey").stdout_bytes)
    assert tried(dana, "--vkey", "KEY")[0] == 0
    other = Store(f"sqlite:///{Path('other/saferun.db').absolute()}", durability="process")
    incident(other)
    packed(other, Path("incidents/elsewhere.saferun"))
    packed(other, Path("incidents/unsigned.saferun"), signed=False)
    other.close()
    code, told = tried(dana, "--vkey", "KEY")
    assert (code, told["passed"]) == (1, 3)
    assert [each["path"] for each in told["faults"]] == [
        "incidents/elsewhere.saferun",
        "incidents/unsigned.saferun",
    ]


def test_the_folder_of_a_store_beside_them_is_no_incident(dana, history) -> None:
    export(dana)
    Path("incidents/.saferun").mkdir()
    assert tried(dana)[0] == 0


def test_calls_are_chosen_by_name(dana, history) -> None:
    export(dana)
    assert [each["frame"] for each in tried(dana, "-k", "refunds#3")[1]["calls"]] == [3]
    assert dana("policy", "test", "--incidents", "incidents", "-k", "zzz").exit_code == 64


def test_where_no_call_is_labelled_at_all_that_is_no_pass(dana, history, policy) -> None:
    export(dana)
    result = dana("policy", "test", "--incidents", "incidents", "--labelled")
    assert (result.exit_code, result.stdout) == (64, "")
    assert "No call in incidents is labelled" in result.stderr


def test_of_what_nobody_labelled_nothing_need_be_expected(dana, history, policy) -> None:
    dana("run", "label", "r-refunds#3", "+")
    export(dana)
    policy.write_text(STRICT)
    code, told = tried(dana, "--labelled")
    assert (code, [each["frame"] for each in told["calls"]]) == (0, [3])


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--incidents", "nowhere"), "There is no folder nowhere"),
        (("--incidents", "incidents"), "There is no incident file in incidents"),
        (("--incidents", "incidents", "--mutate"), "for test files alone"),
        (("--vkey", "KEY"), "go with --incidents"),
        (("--labelled",), "go with --incidents"),
    ],
)
def test_what_cannot_be_tried_is_a_mistake(dana, policy, args, why) -> None:
    result = dana("policy", "test", *args)
    assert result.exit_code == 64
    assert why in result.stderr
