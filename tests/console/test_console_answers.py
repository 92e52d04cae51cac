"""What is done by the forms of a request: what counts, and what is refused and why."""

import pytest

from console.asking import ARGS, Browser, ask, enrolled, stands
from guarding import entries
from saferun import Gate
from saferun.console import NOBODY, Console


@pytest.fixture
def dana(gate: Gate, console: Console) -> Browser:
    return Browser(console, enrolled(gate, "dana"))


def events(gate: Gate) -> list[str]:
    return [entry["event"] for entry in entries(gate, "approval")]


def test_an_approved_call_runs_once_with_what_was_shown(gate: Gate, dana: Browser) -> None:
    request = ask(gate)
    answer = dana.answer(request, "approve")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/requests/{request.id}")
    assert (
        "The call may run once, exactly as it was shown."
        in dana.get(f"/requests/{request.id}").text
    )
    now = stands(gate, request)
    assert (now.state, now.by) == ("approved", "dana")
    entry = entries(gate, "approval")[-1]
    assert (entry["by"], entry["channel"]) == ("dana", "console")
    call = gate.taken_up(request.id)
    assert gate.check(call, resumes=request.id).starts
    assert not gate.check(call, resumes=request.id).starts


def test_a_rejection_needs_a_reason_and_keeps_it(gate: Gate, dana: Browser) -> None:
    request = ask(gate)
    refused = dana.answer(request, "reject", reason="  ")
    assert refused.status_code == 422
    assert stands(gate, request).state == "pending"
    assert dana.answer(request, "reject", reason="Charged once only.").status_code == 303
    now = stands(gate, request)
    assert (now.state, now.by, now.reason) == ("rejected", "dana", "Charged once only.")
    page = dana.get(f"/requests/{request.id}").text
    assert "answered by dana: “Charged once only.”" in page
    assert '<form method="post" action="/requests/' not in page


def test_it_takes_as_many_as_the_rule_says_and_each_counts_once(
    gate: Gate, console: Console, dana: Browser
) -> None:
    request = ask(gate, "wipe", folder="/srv")
    assert dana.answer(request, "approve").status_code == 303
    page = dana.get(f"/requests/{request.id}").text
    assert "It takes more people than you." in page
    assert "<b>dana</b> said yes" in page
    assert "lacks finance" in page
    dana.answer(request, "approve")
    assert stands(gate, request).state == "pending"
    Browser(console, enrolled(gate, "erik")).answer(request, "approve")
    assert stands(gate, request).state == "approved"


@pytest.mark.parametrize(
    ("person", "why"),
    [
        ("alma", "alma is not among those who are asked (finance)"),
        ("maria", "maria is the one for whom it would run"),
        ("vera", "vera may look and not answer"),
        (None, "To answer, log in with your own secret"),
    ],
)
def test_who_may_not_answer_is_told_why_and_refused(
    gate: Gate, console: Console, person: str | None, why: str
) -> None:
    request = ask(gate)
    browser = Browser(console, NOBODY if person is None else enrolled(gate, person))
    page = browser.get(f"/requests/{request.id}").text
    assert why in page
    assert 'value="approve"' not in page
    form = {**browser.form("/"), "revision": "0", "whole": "yes", "reason": "x"}
    for act in ("approve", "reject", "edit", "glass"):
        if (person, act) == ("alma", "glass"):
            continue
        answer = browser.post(f"/requests/{request.id}", {**form, "act": act, "edit-0": "30000"})
        assert answer.status_code in (403, 409)
    now = stands(gate, request)
    assert (now.state, now.revision, now.votes) == ("pending", 0, ())


def test_an_edit_is_asked_of_policy_and_voids_earlier_votes(gate: Gate, dana: Browser) -> None:
    request = ask(gate)
    answer = dana.answer(request, "edit", **{"edit-0": "30000", "edit-1": '"EUR"', "edit-2": ""})
    assert answer.status_code == 303
    now = stands(gate, request)
    assert now.question.args == {**ARGS, "amount": 30_000, "currency": "EUR"}
    assert (now.revision, now.state) == (1, "pending")


@pytest.mark.parametrize(
    ("field", "entered", "why"),
    [
        ("edit-0", "many", "Enter a number."),
        ("edit-0", "1.5", "Enter a whole number."),
        ("edit-0", "9" * 400, "Enter a number."),
        ("edit-0", "-5", "amount"),
        ("edit-0", "95000", "Nobody refunds more than $900."),
        ("edit-1", '"GBP"', "Choose one of those."),
    ],
)
def test_an_edit_that_cannot_be_is_told_beside_its_field_and_changes_nothing(
    gate: Gate, dana: Browser, field: str, entered: str, why: str
) -> None:
    request = ask(gate)
    answer = dana.answer(request, "edit", **{field: entered})
    assert answer.status_code in (409, 422)
    assert why in answer.text
    assert '<details class="edit" open>' in answer.text
    if "$900" not in why:
        said = answer.text.split(f'id="{field}-error">', 1)[1].split("<", 1)[0]
        assert why in said
    assert stands(gate, request).revision == 0


def test_an_edit_of_an_argument_that_may_not_be_changed_is_none(gate: Gate, dana: Browser) -> None:
    request = ask(gate)
    dana.answer(request, "edit", order_id="B-1", **{"edit-7": "x", "edit-0": "25000"})
    assert stands(gate, request).question.args == ARGS


def test_a_stale_tab_is_refused_and_what_has_changed_is_marked(
    gate: Gate, console: Console, dana: Browser
) -> None:
    request = ask(gate)
    path = f"/requests/{request.id}"
    old = dana.form(path)
    Browser(console, enrolled(gate, "erik")).answer(request, "edit", **{"edit-0": "30000"})
    answer = dana.post(path, {**old, "act": "approve"})
    assert answer.status_code == 409
    assert "changed since it was shown" in answer.text
    [changed] = answer.text.split('<tr class="changed">')[1:]
    assert "amount" in changed.split("</tr>")[0]
    assert "30000" in changed.split("</tr>")[0]
    assert stands(gate, request).state == "pending"
    assert dana.answer(request, "approve").status_code == 303


def test_an_answer_after_another_says_what_has_become_of_it(
    gate: Gate, console: Console, dana: Browser
) -> None:
    request = ask(gate)
    path = f"/requests/{request.id}"
    old = dana.form(path)
    Browser(console, enrolled(gate, "erik")).answer(request, "reject", reason="No.")
    answer = dana.post(path, {**old, "act": "approve"})
    assert answer.status_code == 409
    assert "It is rejected already." in answer.text
    assert stands(gate, request).state == "rejected"


def test_one_person_breaks_the_glass_with_a_reason(gate: Gate, console: Console) -> None:
    request = ask(gate)
    browser = Browser(console, enrolled(gate, "alma"))
    assert "Break the glass" in browser.get(f"/requests/{request.id}").text
    form = {**browser.form(f"/requests/{request.id}"), "revision": "0", "whole": "yes"}
    said = {**form, "act": "glass"}
    assert browser.post(f"/requests/{request.id}", {**said, "reason": ""}).status_code == 422
    done = browser.post(f"/requests/{request.id}", {**said, "reason": "The site is down."})
    assert done.status_code == 303
    entry = entries(gate, "approval")[-1]
    assert (entry["event"], entry["glass"], entry["by"]) == ("approved", True, "alma")


def test_the_inbox_tells_everybody_that_the_glass_was_broken(
    gate: Gate, console: Console, dana: Browser
) -> None:
    request = ask(gate)
    assert "broke the glass" not in dana.get("/").text
    Browser(console, enrolled(gate, "alma")).answer(request, "glass", reason="<b>fire</b>")
    for path in ("/", "/inbox", f"/requests/{request.id}"):
        text = dana.get(path).text
        assert "alma broke the glass: refund" in text
        assert "&lt;b&gt;fire&lt;/b&gt;" in text
    page = dana.get(f"/requests/{request.id}").text
    assert "alma broke the glass and answered for everybody else" in page


def test_nobody_else_breaks_the_glass(gate: Gate, dana: Browser) -> None:
    request = ask(gate)
    assert "Break the glass" not in dana.get(f"/requests/{request.id}").text
    answer = dana.answer(request, "glass", reason="Because.")
    assert "dana may not break the glass" in answer.text
    assert stands(gate, request).state == "pending"


def test_a_yes_can_hold_for_further_calls_and_be_taken_back(
    gate: Gate, console: Console, dana: Browser
) -> None:
    request = ask(gate)
    dana.answer(request, "approve", **{"for": "10", "by": ["order_id", "currency"]})
    page = dana.get("/grants").text
    assert "the same order_id, currency, in any run" in page
    erik = Browser(console, enrolled(gate, "erik"))
    assert "Take back" not in erik.get("/grants").text
    from saferun.store import Requests

    with Requests(gate.store.path) as requests:
        [grant] = requests.grants(gate.store.now())
    erik.post("/grants", {**erik.form("/"), "grant": grant.id})
    assert "Only who has given a grant" in erik.get("/grants").text
    dana.post("/grants", {**dana.form("/"), "grant": grant.id})
    assert "Taken back" in dana.get("/grants").text
    dana.post("/grants", {**dana.form("/"), "grant": grant.id})
    assert "no such grant that still holds" in dana.get("/grants").text


def test_an_admin_takes_back_what_others_have_granted(
    gate: Gate, console: Console, dana: Browser
) -> None:
    dana.answer(ask(gate), "approve", **{"for": "run"})
    alma = Browser(console, enrolled(gate, "alma"))
    alma.post("/grants", alma.form("/grants"))
    assert "Taken back" in alma.get("/grants").text


def test_what_cannot_be_undone_is_granted_once_alone(gate: Gate, dana: Browser) -> None:
    request = ask(gate, "wipe", folder="/srv")
    assert "further calls" not in dana.get(f"/requests/{request.id}").text
    answer = dana.answer(request, "approve", **{"for": "60"})
    assert "asked about each time" in answer.text
    assert stands(gate, request).votes == ()


@pytest.mark.parametrize("wanted", ["9999", "-1", "forever", "10.5"])
def test_a_grant_of_another_length_is_none(gate: Gate, dana: Browser, wanted: str) -> None:
    request = ask(gate)
    assert dana.answer(request, "approve", **{"for": wanted}).status_code == 400
    assert stands(gate, request).state == "pending"


@pytest.mark.parametrize("method", ["get", "head"])
def test_no_page_that_is_only_read_answers_anything(
    gate: Gate, console: Console, dana: Browser, method: str
) -> None:
    request = ask(gate)
    form = {**dana.form(f"/requests/{request.id}"), "act": "approve"}
    for path in (f"/requests/{request.id}", "/grants", "/logout", "/", "/login", "/enter"):
        getattr(dana.client, method)(path, params=form)
    assert events(gate) == ["requested"]
    assert dana.get("/").status_code == 200


@pytest.mark.parametrize("act", ["", "approved", "APPROVE", "delete"])
def test_an_answer_that_is_none_changes_nothing(gate: Gate, dana: Browser, act: str) -> None:
    request = ask(gate)
    assert dana.answer(request, act).status_code == 400
    assert stands(gate, request).state == "pending"


@pytest.mark.parametrize("revision", ["", "-1", "1", "x", "9" * 50])
def test_a_form_that_has_seen_another_revision_counts_for_nothing(
    gate: Gate, dana: Browser, revision: str
) -> None:
    request = ask(gate)
    assert dana.answer(request, "approve", revision=revision).status_code == 409
    assert stands(gate, request).state == "pending"


def test_a_page_says_which_condition_asks_and_what_it_saw(gate: Gate, dana: Browser) -> None:
    assert "args.amount &gt;= 20001: 25000" in dana.get(f"/requests/{ask(gate).id}").text


def test_an_inbox_that_is_cut_says_how_many_more_there_are(
    gate: Gate, dana: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        ask(gate, run=f"r-{number}")
    assert "more wait" not in dana.get("/").text
    monkeypatch.setattr("saferun.console.inbox.LISTED", 1)
    for path in ("/", "/inbox"):
        assert "2 more wait" in dana.get(path).text
