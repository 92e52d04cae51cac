"""`saferun approval`: what waits for people, and their answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from cli.project import lines
from saferun import ApprovalPending, Gate, asking, guard
from saferun.approval import Request

Run = Callable[..., Result]

CONFIG = """\
durability = "process"

[approval]
break_glass = ["erin"]

[people.dana]
[people.erin]
[people.vic]
role = "viewer"

[groups]
finance = ["dana", "erin", "vic"]
"""

POLICY = """\
version: 1
name: shop
tools:
  refund:
    effect: write
    args:
      order_id: {type: string, maxLength: 100000}
      amount: {type: integer, minimum: 1, maximum: 100000}
    rules:
      - id: big
        ask: [finance]
        edits: [amount]
        args: {amount: {minimum: 20001}}
        message: Refunds above $200 need finance.
      - id: huge
        ask: [finance]
        approvals: 2
        args: {amount: {minimum: 50001}}
  wipe:
    effect: destructive
    args: {folder: {type: string}}
    default: ask
"""


class Quiet:
    """A channel that tells nobody: people look for themselves."""

    name = "quiet"

    def unreachable(self) -> str | None:
        return None

    def bring(self, request: Request, desk: object, receipt: str | None) -> str:
        return receipt or "there"


class Shop:
    """An agent that leaves its calls behind, and the tool that notes what it is called with."""

    def __init__(self) -> None:
        self.gate = Gate(policy="shop", approvals=Quiet())
        self.ran: list[dict[str, Any]] = []

        def refund(order_id: str, amount: int) -> dict[str, Any]:
            self.ran.append({"order_id": order_id, "amount": amount})
            return self.ran[-1]

        def wipe(folder: str) -> str:
            return folder

        # The function of the module from which the calls that it leaves are made.
        refund.__module__, refund.__qualname__ = "tools", "refund"
        self.refund = guard(refund, gate=self.gate, on_ask="suspend")
        self.wipe = guard(wipe, gate=self.gate, on_ask="suspend")

    def left(self, amount: int = 25_000, order_id: str = "A-17", run: str = "r-1") -> str:
        about = {"agent": "support", "user": "maria", "prompt": "Both chairs broke."}
        with (
            self.gate.run(run_id=run, **about),
            pytest.raises(ApprovalPending) as pending,
        ):
            self.refund(order_id, amount)
        return pending.value.approval_id


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saferun: Run) -> Shop:
    Path("saferun.toml").write_text(CONFIG, "utf-8")
    Path("policies").mkdir()
    Path("policies/shop.yaml").write_text(POLICY, "utf-8")
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    return Shop()


@pytest.fixture
def dana(shop: Shop, saferun: Run) -> Shop:
    """The shop, and Dana alone is logged in."""
    shop.gate.store.flush()
    assert saferun("login", "dana", "--new").exit_code == 0
    return shop


def one(saferun: Run, request: str) -> Any:
    [told] = lines(saferun("approval", "show", request, "--json"))
    return told


# Looking.


def test_where_nothing_waits_it_says_so(saferun, shop) -> None:
    shop.gate.store.flush()
    result = saferun("approval", "list")
    assert (result.exit_code, result.stdout) == (0, "Nothing waits for people.\n")


def test_what_waits_is_listed_in_a_line_each(saferun, shop) -> None:
    first, second = shop.left(), shop.left(60_000)
    said = saferun("approval", "list").stdout.splitlines()
    assert len(said) == 3
    assert first[:10] in said[1]
    assert second[:10] in said[2]
    assert "2 of fin" in said[2]
    assert all(len(line) <= 80 for line in said)


def test_for_programs_it_is_a_document_a_line(saferun, shop) -> None:
    request = shop.left()
    [told] = lines(saferun("approval", "list", "--json"))
    assert (told["id"], told["state"], told["tool"]) == (request, "pending", "refund")
    assert told["args"] == {"order_id": "A-17", "amount": 25_000}
    assert told["deadline"] - told["asked"] == 900_000_000
    assert len(told["digest"]) == 32
    assert told["demands"] == [{"rule": "big", "of": ["finance"], "edits": ["amount"]}]


def test_one_that_is_shown_says_what_would_run_and_why_and_who_is_asked(saferun, shop) -> None:
    said = saferun("approval", "show", shop.left()).stdout
    for words in (
        "? pending  refund",
        "support for maria",
        "Both chairs broke.",
        "25000",
        "Refunds above $200 need finance. (big)",
        "needs       finance",
        "may change  amount",
    ):
        assert words in said


def test_hostile_text_is_shown_inert_and_whole(saferun, shop) -> None:
    request = shop.left(order_id="\x1b[2J\u202e" + "x" * 50_000)
    for result in (saferun("approval", "show", request), saferun("approval", "list")):
        assert "\x1b" not in result.stdout
        assert "\u202e" not in result.stdout
    said = saferun("approval", "show", request, "--whole").stdout
    assert "\\u001b[2J\\u202e" in said
    assert said.count("x") >= 50_000


def test_a_text_and_a_number_are_shown_as_two_things(saferun, shop) -> None:
    request = shop.left(order_id="25000")
    said = saferun("approval", "show", request).stdout.splitlines()
    assert [line.split() for line in said if "25000" in line] == [
        ["order_id", '"25000"'],
        ["amount", "25000"],
        # Why it is asked.
        ["args.amount", ">=", "20001:", "25000"],
    ]


@pytest.mark.parametrize("answer", [("approve",), ("approve", "--break-glass", "--reason", "x")])
def test_what_show_cuts_is_approved_by_the_digest_that_ends_the_whole(
    saferun, dana, answer
) -> None:
    saferun("login", "erin", "--new")
    request = dana.left(order_id="x" * 4_000)
    digest = one(saferun, request)["digest"]
    assert digest not in saferun("approval", "show", request).stdout
    answer = ("approval", *answer, request, "--as", "erin")
    unseen = saferun(*answer)
    assert (unseen.exit_code, "--whole" in unseen.stderr) == (64, True)
    for wrong in ("", digest[:15], "0" * 64):
        refused = saferun(*answer, "--seen", wrong)
        assert (refused.exit_code, one(saferun, request)["state"]) == (64, "pending")
    assert saferun("approval", "show", request, "--whole").stdout.endswith(f"digest  {digest}\n")
    assert saferun(*answer, "--seen", digest[:16]).exit_code == 0


def test_what_is_cut_can_be_rejected(saferun, dana) -> None:
    assert saferun("approval", "reject", dana.left(order_id="x" * 4_000)).exit_code == 0


def test_any_beginning_of_an_id_that_is_unique_will_do(saferun, shop, monkeypatch) -> None:
    ids = iter(["a-5d1e0c4f7a9b2e386f01", "a-5d1f0c4f7a9b2e386f02"])
    monkeypatch.setattr(asking, "new_id", lambda: next(ids))
    request = shop.left()
    assert request in saferun("approval", "show", request[:3]).stdout
    shop.left(26_000)
    several = saferun("approval", "show", "a-5d1")
    assert several.exit_code == 64
    assert "Several requests begin with 'a-5d1'" in several.stderr


@pytest.mark.parametrize("begins", ["", "a", "a-"])
def test_what_every_id_begins_with_names_none_also_where_there_is_one(
    saferun, dana, begins
) -> None:
    request = dana.left()
    for command in ("show", "approve", "reject"):
        result = saferun("approval", command, begins)
        assert result.exit_code == 64
        assert "says no request" in result.stderr
    assert one(saferun, request)["state"] == "pending"


def test_a_request_whose_key_is_gone_says_that_nobody_can_answer_it(saferun, dana) -> None:
    request = dana.left()
    Path(dana.gate.store.path.parent, "keys", "requests", f"{request}.key").unlink()
    shown = saferun("approval", "show", request).stdout
    assert "cannot be read any more, so nobody can answer it" in shown
    assert "asked 1970" not in shown
    assert "asked 20" in shown


def test_an_id_that_nobody_knows_is_an_error_and_no_answer(saferun, dana) -> None:
    for command in ("show", "approve", "reject"):
        result = saferun("approval", command, "a-nobody")
        assert result.exit_code == 64
        assert "There is no request 'a-nobody'" in result.stderr


def test_without_a_store_nothing_waits_anywhere(saferun) -> None:
    result = saferun("approval", "show", "a-1")
    assert result.exit_code == 64
    assert "There is no store" in result.stderr


# Answering.


def test_a_yes_counts_and_exits_0(saferun, dana) -> None:
    request = dana.left()
    result = saferun("approval", "approve", request, "--reason", "It is broken.")
    assert (result.exit_code, result.stdout) == (0, "✓ approved, by dana\n")
    told = one(saferun, request)
    assert (told["state"], told["by"], told["reason"]) == ("approved", "dana", "It is broken.")
    assert told["votes"][0]["channel"] == "command line"


def test_a_no_counts_and_exits_0(saferun, dana) -> None:
    request = dana.left()
    result = saferun("approval", "reject", request, "--reason", "Not twice.")
    assert (result.exit_code, result.stdout) == (0, "✕ rejected, by dana\n")
    assert one(saferun, request)["state"] == "rejected"


def test_an_answer_that_comes_too_late_exits_1(saferun, dana) -> None:
    request = dana.left()
    saferun("approval", "approve", request)
    late = saferun("approval", "reject", request)
    assert late.exit_code == 1
    assert late.stderr == "saferun: That does not count: it is approved already.\n"


def test_who_may_not_answer_exits_1(saferun, dana) -> None:
    request = dana.left()
    saferun("login", "vic", "--new")
    result = saferun("approval", "approve", request, "--as", "vic")
    assert result.exit_code == 1
    assert "vic may look and not answer" in result.stderr
    assert one(saferun, request)["state"] == "pending"


def test_a_secret_that_is_not_theirs_exits_1_and_counts_for_nothing(
    saferun, dana, tmp_path
) -> None:
    request = dana.left()
    (tmp_path / "login" / "dana.secret").write_text("guess\n", "ascii")
    for command in (
        ("approve", request),
        ("reject", request),
        ("edit", request, "amount=21000", "--revision", "0"),
    ):
        result = saferun("approval", *command)
        assert result.exit_code == 1
        assert "secret" in result.stderr
        assert ".." not in result.stderr
    assert one(saferun, request)["state"] == "pending"


def test_who_is_not_logged_in_is_told_how_to(saferun, shop) -> None:
    result = saferun("approval", "approve", shop.left())
    assert result.exit_code == 64
    assert "saferun login NAME --new" in result.stderr


def test_where_it_takes_several_it_says_how_many_more(saferun, dana) -> None:
    request = dana.left(60_000)
    result = saferun("approval", "approve", request)
    assert (result.exit_code, result.stdout) == (0, "✓ noted; it still takes 1 of finance\n")
    saferun("login", "erin", "--new")
    assert saferun("approval", "approve", request, "--as", "erin").stdout == (
        "✓ approved, by erin\n"
    )


def test_an_answer_for_programs_is_one_document(saferun, dana) -> None:
    request = dana.left()
    [told] = lines(saferun("approval", "approve", request, "--json"))
    assert (told["counted"], told["why"], told["request"]["state"]) == (True, None, "approved")
    [late] = lines(saferun("approval", "approve", request, "--json"))
    assert (late["counted"], late["why"]) == (False, "it is approved already")


def test_one_person_breaks_the_glass_with_a_reason(saferun, dana) -> None:
    request = dana.left(60_000)
    saferun("login", "erin", "--new")
    answer = ("approval", "approve", request, "--break-glass", "--as", "erin")
    assert saferun(*answer).exit_code == 1
    assert saferun(*answer, "--reason", "The shop is on fire.").exit_code == 0
    assert "breaking the glass" in saferun("run", "show", "r-1").stdout


# A secret that somebody else may have.


def test_a_withdrawn_secret_answers_nothing_and_the_ledger_says_who_withdrew_it(
    saferun, dana, tmp_path
) -> None:
    request, file = dana.left(), tmp_path / "login" / "dana.secret"
    stolen = file.read_bytes()
    assert saferun("login", "dana", "--revoke").exit_code == 0
    assert not file.exists()
    file.write_bytes(stolen)
    file.chmod(0o600)
    assert saferun("approval", "approve", request).exit_code == 1
    again = saferun("login", "dana", "--new")
    assert again.exit_code != 0
    assert "withdrawn" in again.stderr
    file.unlink()
    assert saferun("login", "dana", "--new").exit_code == 0
    assert saferun("approval", "approve", request).exit_code == 0
    found = saferun("ledger", "search", "--kind", "approval", "--json").stdout
    assert "the secret of dana" in found


def test_only_an_admin_withdraws_the_secret_of_somebody_else(saferun, dana) -> None:
    saferun("login", "erin", "--new")
    assert saferun("login", "dana", "--revoke", "--as", "erin").exit_code == 64
    config = CONFIG.replace("[people.erin]", '[people.erin]\nrole = "admin"')
    Path("saferun.toml").write_text(config, "utf-8")
    assert saferun("login", "dana", "--revoke", "--as", "erin").exit_code == 0
    assert saferun("login", "dana", "--revoke", "--as", "erin").exit_code == 1


# Edits.


def test_an_edit_is_a_new_revision_that_waits_for_a_yes(saferun, dana) -> None:
    request = dana.left()
    result = saferun("approval", "edit", request, "amount=21000", "--revision", "latest")
    assert result.exit_code == 0
    told = one(saferun, request)
    assert (told["revision"], told["state"], told["args"]["amount"]) == (1, "pending", 21_000)
    stale = saferun("approval", "approve", request, "--revision", "0")
    assert stale.exit_code == 1
    assert "changed since it was shown" in stale.stderr


def test_an_edit_says_which_revision_it_changes(saferun, dana) -> None:
    request = dana.left()
    change = ("approval", "edit", request, "amount=21000")
    for options in ((), ("--revision", "x"), ("--revision", "-1")):
        assert saferun(*change, *options).exit_code == 64
    assert saferun(*change, "--revision", "0").exit_code == 0
    late = saferun("approval", "edit", request, "amount=22000", "--revision", "0")
    assert (late.exit_code, "changed since it was shown" in late.stderr) == (1, True)


def test_nobody_approves_whatever_is_the_latest(saferun, dana) -> None:
    request = dana.left()
    result = saferun("approval", "approve", request, "--revision", "latest")
    assert (result.exit_code, one(saferun, request)["state"]) == (64, "pending")


@pytest.mark.parametrize(
    ("change", "status", "why"),
    [
        ("amount=100001", 1, "policy denies it"),
        ("order_id=A-18", 1, "may not be changed"),
        ("amount=25000", 1, "nothing is changed"),
        ("amount=" + "[" * 100_000, 1, "policy denies it"),
        ("amount", 64, "Write ARG=VALUE"),
        ("price=3", 64, "of the arguments"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(saferun, dana, change, status, why) -> None:
    request = dana.left()
    result = saferun("approval", "edit", request, change, "--revision", "0")
    assert result.exit_code == status
    assert why in result.stderr
    assert one(saferun, request)["revision"] == 0


def test_what_ran_is_shown_as_it_ran(saferun, dana) -> None:
    import saferun as library

    request = dana.left()
    saferun("approval", "edit", request, "amount=21000", "--revision", "latest")
    unseen = saferun("approval", "approve", request)
    assert (unseen.exit_code, "--revision 1" in unseen.stderr) == (64, True)
    saferun("approval", "approve", request, "--revision", "1")
    library.resume(request, dana.refund)
    dana.gate.store.flush()
    told = one(saferun, request)
    assert (told["state"], told["args"]["amount"]) == ("succeeded", 21_000)
    said = saferun("run", "show", "r-1").stdout
    assert "changed  by dana after" in said
    assert "asked, approved by dana" in said


# Grants.


@pytest.mark.parametrize(
    ("options", "run", "calls"),
    [
        (("--also", "run"), "r-1", "the very same"),
        (("--also", "30m"), "any", "the very same"),
        (("--also", "90s", "--where", "order_id"), "any", "same order_id"),
    ],
)
def test_a_yes_may_let_further_calls_run(saferun, dana, options, run, calls) -> None:
    request = dana.left()
    [told] = lines(saferun("approval", "approve", request, *options, "--json"))
    said = saferun("approval", "grants").stdout
    assert told["grant"][:10] in said
    assert run in said
    assert calls in said
    [listed] = lines(saferun("approval", "grants", "--json"))
    assert (listed["id"], listed["by"]) == (told["grant"], "dana")


@pytest.mark.parametrize("also", ["2h", "61m", "forever", "0m", "-3m"])
def test_a_grant_is_for_an_hour_at_most(saferun, dana, also) -> None:
    request = dana.left()
    assert saferun("approval", "approve", request, f"--also={also}").exit_code in (1, 64)
    assert one(saferun, request)["state"] == "pending"


def test_where_goes_with_also(saferun, dana) -> None:
    result = saferun("approval", "approve", dana.left(), "--where", "order_id")
    assert result.exit_code == 64
    assert "--where goes with --also" in result.stderr


def test_there_is_no_grant_for_what_cannot_be_undone(saferun, dana) -> None:
    with dana.gate.run(agent="support"), pytest.raises(ApprovalPending) as pending:
        dana.wipe("/srv")
    result = saferun("approval", "approve", pending.value.approval_id, "--also", "run")
    assert result.exit_code == 1
    assert "cannot be undone" in result.stderr


def test_a_grant_is_taken_back_once(saferun, dana) -> None:
    [told] = lines(saferun("approval", "approve", dana.left(), "--also", "30m", "--json"))
    taken = saferun("approval", "revoke", told["grant"][:8])
    assert (taken.exit_code, taken.stdout) == (0, "✓ refund is asked about again\n")
    again = saferun("approval", "revoke", told["grant"])
    assert again.exit_code == 1
    assert "that still holds" in again.stderr
    assert saferun("approval", "grants").stdout.startswith("There are no grants")


def test_a_grant_is_not_taken_back_by_a_secret_that_is_not_theirs(saferun, dana, tmp_path) -> None:
    [told] = lines(saferun("approval", "approve", dana.left(), "--also", "30m", "--json"))
    (tmp_path / "login" / "dana.secret").write_text("guess\n", "ascii")
    assert saferun("approval", "revoke", told["grant"]).exit_code == 1
    assert len(lines(saferun("approval", "grants", "--json"))) == 1


# Resuming.

MODULE = """\
from saferun import guard


@guard(policy="shop", on_ask="suspend")
def refund(order_id: str, amount: int) -> dict:
    return {"order_id": order_id, "amount": amount}
"""


def test_a_call_that_was_left_is_made_once(shell, saferun, dana) -> None:
    Path("tools.py").write_text(MODULE, "utf-8")
    request = dana.left()
    dana.gate.close()
    waits = shell("approval", "resume", request, "tools:refund")
    assert (waits.returncode, b"waits for a person" in waits.stderr) == (2, True)
    saferun("approval", "approve", request)
    for _ in range(2):
        done = shell("approval", "resume", request[:9], "tools:refund", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["result"] == {"order_id": "A-17", "amount": 25_000}
    starts = [
        each
        for each in lines(saferun("ledger", "search", "--kind", "decision", "--json"))
        if each["verdict"] == "allow"
    ]
    assert len(starts) == 1


def test_a_call_is_not_made_with_another_function_than_the_one_that_was_asked_about(
    shell, saferun, dana
) -> None:
    Path("tools.py").write_text(MODULE, "utf-8")
    Path("others.py").write_text(MODULE, "utf-8")
    request = dana.left()
    saferun("approval", "approve", request)
    dana.gate.close()
    result = shell("approval", "resume", request, "others:refund")
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"asked about for another function" in result.stderr
    assert shell("approval", "resume", request, "tools:refund").returncode == 0


def test_a_call_that_was_rejected_is_not_made(shell, saferun, dana) -> None:
    Path("tools.py").write_text(MODULE, "utf-8")
    request = dana.left()
    saferun("approval", "reject", request)
    dana.gate.close()
    result = shell("approval", "resume", request, "tools:refund")
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"said no" in result.stderr


@pytest.mark.parametrize("tool", ["tools", "tools:", "nowhere:refund", "tools:other"])
def test_a_tool_that_cannot_be_found_is_an_error(shell, dana, tool) -> None:
    Path("tools.py").write_text(MODULE, "utf-8")
    request = dana.left()
    dana.gate.close()
    assert shell("approval", "resume", request, tool).returncode == 64


# What other commands say of it.


def test_a_run_shows_votes_refusals_and_what_they_come_to(saferun, dana) -> None:
    request = dana.left(60_000)
    saferun("approval", "approve", request)
    saferun("login", "vic", "--new")
    saferun("login", "erin", "--new")
    said = saferun("run", "show", "r-1").stdout
    assert "asked, 1 yes so far" in said
    saferun("approval", "approve", request, "--as", "vic")
    saferun("approval", "approve", request, "--as", "erin")
    said = " ".join(saferun("run", "show", "r-1").stdout.split())
    assert "asked finance; 2 of finance" in said
    assert "answer yes by dana after" in said
    assert "did not count, since vic may look and not answer" in said
    assert "answer approved by erin after" in said


def test_a_call_that_runs_by_a_grant_says_so(saferun, dana) -> None:
    [told] = lines(saferun("approval", "approve", dana.left(), "--also", "30m", "--json"))
    with dana.gate.run(run_id="r-2", agent="support", user="maria"):
        dana.refund("A-17", 25_000)
    said = saferun("run", "show", "r-2").stdout
    assert "allowed by grant" in said
    assert told["grant"] in said


def test_a_search_says_who_has_done_what(saferun, dana) -> None:
    request = dana.left()
    saferun("approval", "edit", request, "amount=100001", "--revision", "0")
    saferun("approval", "approve", request, "--also", "run", "--reason", "It is broken.")
    said = " ".join(saferun("ledger", "search", "--kind", "approval").stdout.split())
    for words in ("✓ granted", "✓ approved", "✕ refused", "policy d", "by dana"):
        assert words in said


# What doctor says.


def looked(saferun: Run) -> dict[str, list[tuple[str, str]]]:
    [told] = lines(saferun("doctor", "--json"))
    found: dict[str, list[tuple[str, str]]] = {}
    for check in told["checks"]:
        found.setdefault(check["name"], []).append((check["state"], check["found"]))
    return found


def test_doctor_says_how_many_may_be_asked(saferun, shop) -> None:
    assert looked(saferun)["people"] == [("ok", "3 people and 1 group may be asked")]


def test_doctor_finds_a_name_that_means_nobody(saferun, shop) -> None:
    policy = Path("policies/shop.yaml")
    policy.write_text(policy.read_text("utf-8").replace("[finance]", "[auditors]", 1), "utf-8")
    found = looked(saferun)["people"]
    assert [state for state, _ in found] == ["error"]
    assert "the rule big of policies/shop.yaml asks auditors" in found[0][1]
    assert saferun("doctor").exit_code == 1


def test_doctor_warns_where_there_are_too_few(saferun, shop) -> None:
    config = CONFIG.replace('["dana", "erin", "vic"]', '["dana"]')
    Path("saferun.toml").write_text(config, "utf-8")
    [(state, found)] = looked(saferun)["people"]
    assert (state, "wants 2 to approve, of 1" in found) == ("warning", True)


def test_doctor_warns_where_all_who_are_known_are_too_few(saferun, shop) -> None:
    policy = Path("policies/shop.yaml")
    asks = POLICY.replace("ask: [finance]", "ask: true", 1).replace(
        "ask: true", "ask: true\n        approvals: 3", 1
    )
    policy.write_text(asks, "utf-8")
    [(state, found)] = looked(saferun)["people"]
    assert (state, "wants 3 to approve, of 2" in found) == ("warning", True)


def test_doctor_warns_of_members_of_a_group_whom_nobody_knows(saferun, shop) -> None:
    Path("saferun.toml").write_text(CONFIG.replace('"vic"]', '"zoe"]'), "utf-8")
    [(state, found)] = looked(saferun)["people"]
    assert (state, found) == ("warning", "zoe of the group finance stands under no [people]")


def test_doctor_tells_what_waits_and_what_is_granted(saferun, dana) -> None:
    saferun("approval", "approve", dana.left(), "--also", "30m")
    dana.left(26_000)
    found = looked(saferun)
    assert found["requests"][0][1].startswith("1 request waits for people, the oldest for ")
    assert found["grants"][0][1].startswith("1 grant is in force")


def test_doctor_tells_what_could_not_be_brought(saferun, dana) -> None:
    from saferun.store import Delivered

    request = dana.left()
    dana.gate.store.claim(request, "letters")
    failed = Delivered(request=request, channel="letters", shown=-1, failed="no such host", again=1)
    dana.gate.store.commit(failed)
    [_, (state, found)] = looked(saferun)["requests"]
    assert state == "warning"
    assert found == f"{request} could not be brought by letters: no such host"


# Whose grant it is.


def test_a_grant_is_taken_back_by_its_giver_or_an_admin_and_nobody_else(saferun, dana) -> None:
    Path("saferun.toml").write_text(CONFIG + "[people.alma]\nrole = 'admin'\n", "utf-8")
    [told] = lines(saferun("approval", "approve", dana.left(), "--also", "30m", "--json"))
    assert saferun("login", "erin", "--new").exit_code == 0
    assert saferun("login", "alma", "--new").exit_code == 0
    refused = saferun("approval", "revoke", told["grant"], "--as", "erin")
    assert refused.exit_code == 1
    assert "only who has given a grant, or an admin, takes it back" in refused.stderr
    assert saferun("approval", "revoke", told["grant"], "--as", "alma").exit_code == 0


def test_a_request_is_shown_with_the_conditions_for_which_policy_asks(saferun, dana) -> None:
    request = dana.left()
    assert "args.amount >= 20001: 25000" in saferun("approval", "show", request).stdout
    [each] = one(saferun, request)["because"]
    assert each == {"rule": "big", "text": "args.amount >= 20001", "saw": "25000"}


def test_a_list_that_is_cut_says_how_many_more_there_are(saferun, dana, monkeypatch) -> None:
    from saferun.store import requests

    for run in ("r-1", "r-2", "r-3"):
        dana.left(run=run)
    assert saferun("approval", "list").stderr == ""
    monkeypatch.setattr(requests, "MOST", 2)
    told = saferun("approval", "list", "--json")
    assert len(lines(told)) == 2
    assert "the first 2 to end; 1 more wait behind them" in told.stderr
