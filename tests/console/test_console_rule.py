"""From a frame to a rule in the console, near misses to label, and rules in shadow."""

import contextlib
import html
import re
import shlex
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from console.asking import WORLD, Browser, enrolled
from saferun import Denied, Gate, amending, config, files, guard, policy
from saferun.console import NOBODY, Console, Who, near, rule, shadow, workroom
from saferun.ledger import LabelEntry, parse
from saferun.store import Reader

HOSTILE = "<img src=x onerror=alert(1)>\u202egnp"

SHOP = """\
# Who may refund what.
version: 1
name: shop
tools:
  refund:
    effect: write
    args:
      order: {type: string}   # A-17
      amount: {type: integer, minimum: 1}
    rules:
      - id: never
        deny: true
        when: args.order == "Z-0"

      # more to come
"""
OWN = "refund-amount-above"


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A shop of which one run refunded far more than the others, and its console."""
    Path("saferun.toml").write_text(WORLD, encoding="utf-8")
    Path("policies").mkdir()
    file().write_text(SHOP, encoding="utf-8")
    gate = Gate(policy="shop", settings=config.load())
    for number in range(6):
        refunded(gate, f"r-{number}", 10 * (number % 3) + 10)
    refunded(gate, "r-bad", 9_000)
    yield gate
    gate.close()


def file() -> Path:
    return Path("policies/shop.yaml")


def cases() -> Path:
    return Path("policies/shop.test.yaml")


def refunded(gate: Gate, run: str, amount: int, order: str = "A-1") -> None:
    def paid(order: str, amount: int) -> str:
        return "paid"

    with gate.run(run_id=run, agent="support", user="maria"):
        guard(paid, gate=gate, name="refund")(order, amount)
    gate.store.flush()


def visitor(gate: Gate, console: Console, person: str) -> Browser:
    return Browser(console, enrolled(gate, person))


@pytest.fixture
def alma(gate: Gate, console: Console) -> Browser:
    return visitor(gate, console, "alma")


@pytest.fixture
def dana(gate: Gate, console: Console) -> Browser:
    return visitor(gate, console, "dana")


@pytest.fixture
def vera(gate: Gate, console: Console) -> Browser:
    return visitor(gate, console, "vera")


def words(page: str) -> str:
    """What stands on a page, without its markup."""
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())


def made(page: str, **more: Any) -> dict[str, str]:
    """What the form sends that puts the rule into the file."""
    form = re.search(r'<form method="post" action="/rule">(.*?)</form>', page, re.DOTALL)
    assert form is not None, words(page)
    found = re.findall(r'name="(\w+)" value="([^"]*)"', form[1])
    return {name: html.unescape(value) for name, value in found} | more


FRAME = "/rule?id=r-bad&frame=1"


def labels(gate: Gate) -> list[LabelEntry]:
    with Reader(gate.store.path) as reader:
        bodies = reader.bodies(range(reader.head().size))
        made = [parse(body).entry for body in bodies]
    return [each for each in made if isinstance(each, LabelEntry)]


# A rule from a frame.


def test_a_frame_leads_to_rules_with_what_each_would_have_done(vera: Browser) -> None:
    assert 'data-rule href="/rule?id=r-bad&amp;frame=1"' in vera.get("/run?id=r-bad").text
    answer = vera.get(FRAME)
    said = words(answer.text)
    assert answer.status_code == 200
    assert "when: args.amount > 30" in said
    assert "Over 7 recorded calls of refund" in said
    assert "1 newly denied 0 newly asked 0 newly allowed 0 cannot decide" in said
    assert "0 of 6 that were fine" in said
    assert "nobody has labelled a hit" in said
    assert "r-bad #1 · the incident" in said
    assert "☑ the rule asks for amount" in said


def test_the_change_of_both_files_stands_on_the_page_and_in_the_patch(vera: Browser) -> None:
    page = words(vera.get(FRAME).text)
    assert "policies/shop.yaml" in page
    assert f"+ new - id: {OWN}" in page
    assert "policies/shop.test.yaml" in page
    patch = vera.get(f"/rule/patch?id=r-bad&frame=1&rule={OWN}")
    assert patch.headers["content-disposition"] == 'attachment; filename="rule.patch"'
    assert patch.text.startswith("--- a/policies/shop.yaml\n+++ b/policies/shop.yaml\n")
    assert "--- /dev/null\n+++ b/policies/shop.test.yaml\n" in patch.text
    assert vera.get("/rule/patch?id=r-bad&frame=1&rule=another").status_code == 404


def test_an_admin_puts_the_rule_in_beside_its_comments_with_a_case(alma: Browser) -> None:
    answer = alma.post("/rule", made(alma.get(FRAME).text))
    assert (answer.status_code, answer.headers["location"]) == (303, "/shadow")
    assert "in shadow: it stops nothing yet" in alma.get("/shadow").text
    text = file().read_text(encoding="utf-8")
    assert "order: {type: string}   # A-17" in text
    assert f"      - id: {OWN}\n" in text
    assert "        mode: shadow\n\n      # more to come\n" in text
    assert "refund as in r-bad#1 meets" in cases().read_text(encoding="utf-8")


def test_another_rule_than_the_first_is_put_in_where_it_is_chosen(alma: Browser) -> None:
    link = re.findall(r'<li><a href="(/rule\?[^"]*rule=[^"]*)"', alma.get(FRAME).text)[0]
    page = alma.get(html.unescape(link)).text
    sent = made(page)
    assert sent["rule"] != OWN
    assert alma.post("/rule", sent).status_code == 303
    assert f"id: {sent['rule']}\n" in file().read_text(encoding="utf-8")


def test_a_rule_may_ask_people_and_not_deny(alma: Browser) -> None:
    page = alma.get(f"{FRAME}&then=finance").text
    assert "ask: [finance]" in words(page)
    assert "1 newly asked" in words(page)
    assert alma.post("/rule", made(page)).status_code == 303
    assert "ask: [finance]" in file().read_text(encoding="utf-8")


@pytest.mark.parametrize("person", ["dana", "vera"])
def test_nobody_but_an_admin_changes_a_policy(gate: Gate, console: Console, person: str) -> None:
    sent = made(visitor(gate, console, "alma").get(FRAME).text)
    browser = visitor(gate, console, person)
    page = browser.get(FRAME).text
    assert "Write it in shadow" not in page
    assert f"{person} may look, and take the patch; a policy is changed by an admin." in page
    csrf = browser.form("/grants")["csrf"]
    answer = browser.post("/rule", {**sent, "csrf": csrf})
    assert answer.status_code == 403
    assert file().read_text(encoding="utf-8") == SHOP


def test_an_admin_without_a_secret_of_their_own_changes_nothing(console: Console) -> None:
    browser = Browser(console, Who("alma", "admin"))
    page = browser.get(FRAME).text
    assert "log in with your own secret" in page
    assert "Write it in shadow" not in page


def test_a_form_of_no_page_of_this_session_changes_nothing(alma: Browser) -> None:
    sent = made(alma.get(FRAME).text, csrf="another")
    assert alma.post("/rule", sent).status_code == 403
    own = made(alma.get(FRAME).text)
    assert alma.post("/rule", own, origin="https://a.example").status_code == 403
    assert file().read_text(encoding="utf-8") == SHOP
    assert alma.get(f"/rule?{'&'.join(f'{k}={v}' for k, v in sent.items())}").status_code == 200
    assert file().read_text(encoding="utf-8") == SHOP


def test_nothing_is_written_over_what_has_changed_since_the_page(alma: Browser) -> None:
    sent = made(alma.get(FRAME).text)
    changed = SHOP + "# somebody else\n"
    file().write_text(changed, encoding="utf-8")
    answer = alma.post("/rule", sent)
    assert answer.status_code == 409
    assert "has changed since this page was shown, and nothing was written" in words(answer.text)
    assert file().read_text(encoding="utf-8") == changed
    assert not cases().exists()


def test_a_change_far_from_the_rule_is_a_change_since_the_page(alma: Browser) -> None:
    far = SHOP.replace("# Who may refund what.\n", "# Who may refund what.\n" + "# -\n" * 20)
    file().write_text(far, encoding="utf-8")
    sent = made(alma.get(FRAME).text)
    changed = far.replace("# Who may", "# Who can")
    file().write_text(changed, encoding="utf-8")
    assert alma.post("/rule", sent).status_code == 409
    assert file().read_text(encoding="utf-8") == changed


def test_where_the_tests_cannot_be_written_the_policy_stays_as_it_was(
    alma: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, drafted = made(alma.get(FRAME).text), files.drafted

    def full(path: Path, data: bytes, *, mode: int) -> Path:
        if path.name.endswith(".test.yaml"):
            raise OSError(28, "No space left on device")
        return drafted(path, data, mode=mode)

    monkeypatch.setattr(files, "drafted", full)
    answer = alma.post("/rule", sent)
    assert answer.status_code == 409
    assert "No space left on device. Nothing was changed." in words(answer.text)
    assert file().read_text(encoding="utf-8") == SHOP
    assert [each.name for each in Path("policies").iterdir()] == ["shop.yaml"]


def test_where_the_tests_cannot_be_put_in_place_the_policy_is_put_back(
    alma: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, move = made(alma.get(FRAME).text), files.move

    def refused(path: Path, to: Path) -> None:
        if to.name.endswith(".test.yaml"):
            raise OSError(13, "Permission denied")
        move(path, to)

    monkeypatch.setattr(files, "move", refused)
    assert alma.post("/rule", sent).status_code == 409
    assert file().read_text(encoding="utf-8") == SHOP
    assert [each.name for each in Path("policies").iterdir()] == ["shop.yaml"]


def test_a_case_is_readable_by_no_more_people_than_its_policy(alma: Browser) -> None:
    file().chmod(0o600)
    assert alma.post("/rule", made(alma.get(FRAME).text)).status_code == 303
    assert [stat.S_IMODE(each.stat().st_mode) for each in (file(), cases())] == [0o600, 0o600]


@pytest.fixture
def base() -> Path:
    """A file that the policy includes, with the entry of the tool."""
    base = Path("policies/base/base.yaml")
    base.parent.mkdir()
    tools = SHOP.partition("name: shop\n")[2]
    base.write_text(tools, encoding="utf-8")
    file().write_text("version: 1\nname: shop\ninclude: [base/base.yaml]\n", encoding="utf-8")
    return base


def test_a_rule_of_an_included_file_is_shown_and_the_path_of_that_file_is_not(
    gate: Gate, base: Path, alma: Browser
) -> None:
    page = alma.get(FRAME).text
    assert "The entry of refund stands in base/base.yaml" in page
    assert str(Path.cwd()) not in page
    assert "Write it in shadow" not in page


def test_what_an_included_file_says_by_now_counts(gate: Gate, base: Path, alma: Browser) -> None:
    alma.get(FRAME)
    text = base.read_text(encoding="utf-8")
    base.write_text(text.replace('args.order == "Z-0"', "args.amount > 100"), encoding="utf-8")
    assert "policies/shop.yaml denies it as it is: never" in words(alma.get(FRAME).text)
    base.write_text(f"{text}nonsense: 1\n", encoding="utf-8")
    answer = alma.get(FRAME)
    assert answer.status_code == 200
    assert "base/base.yaml:1" in answer.text


def test_a_rule_in_shadow_of_an_included_file_is_not_offered_to_be_enforced(
    gate: Gate, base: Path, alma: Browser
) -> None:
    text = base.read_text(encoding="utf-8")
    base.write_text(text.replace("deny: true", "deny: true\n        mode: shadow"), "utf-8")
    page = alma.get("/shadow").text
    assert "in an included file; edit it there" in page
    assert "Enforce" not in page


def test_where_the_configuration_cannot_be_read_nobody_changes_a_policy(
    gate: Gate, alma: Browser, dana: Browser
) -> None:
    sent, label = made(alma.get(FRAME).text), dana.form(FRAME) | {"mark": "right"}
    stop = alma.form("/controls") | {"scope": "all", "reason": "x"}
    Path("saferun.toml").write_text("[[", encoding="utf-8")
    for browser, path, form in ((alma, "/rule", sent), (dana, "/label", label)):
        assert browser.post(path, form).status_code == 409
    assert alma.post("/controls", stop).status_code == 409
    assert file().read_text(encoding="utf-8") == SHOP
    assert labels(gate) == []
    assert alma.post("/logout", stop).status_code == 303


def test_where_versions_are_published_the_page_says_the_commands(gate: Gate) -> None:
    Path("saferun.toml").write_text(f'policies = "store"\n{WORLD}', encoding="utf-8")
    console = Console(gate.store, config.load())
    alma = Browser(console, enrolled(gate, "alma"))
    page = words(alma.get(FRAME).text)
    assert "Write it in shadow" not in page
    write = f"saferun policy suggest 'r-bad#1' --policy shop --write {OWN}"
    assert f"{write} , then saferun policy publish shop" in page
    sent = {"id": "r-bad", "frame": "1", "rule": OWN, "csrf": alma.form("/grants")["csrf"]}
    assert alma.post("/rule", sent).status_code == 409
    assert file().read_text(encoding="utf-8") == SHOP


def test_a_command_to_copy_runs_nothing_that_a_run_is_called(
    gate: Gate, alma: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, "is_writable", lambda path: False)
    refunded(gate, "x'; touch me #", 9_000)
    page = words(alma.get("/rule?id=x'; touch me %23&frame=1").text)
    command = re.search("By hand: (saferun .*?) Esc", page)
    assert command is not None
    assert shlex.split(command[1])[3] == "x'; touch me ##1"
    refunded(gate, "--help", 9_000)
    page = words(alma.get("/rule?id=--help&frame=1").text)
    assert "-- '--help#1'" in page


def test_where_the_file_cannot_be_written_the_page_says_the_command(
    alma: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, "is_writable", lambda path: False)
    page = words(alma.get(FRAME).text)
    assert "The file cannot be written from here. By hand: saferun policy suggest" in page
    assert "Write it in shadow" not in page


def test_what_the_policy_denies_already_needs_no_rule(gate: Gate, vera: Browser) -> None:
    with pytest.raises(Denied):
        refunded(gate, "r-z", 10, "Z-0")
    page = words(vera.get("/rule?id=r-z&frame=1").text)
    assert "policies/shop.yaml denies it as it is: never" in page


def test_a_policy_without_a_file_is_not_guessed(gate: Gate, vera: Browser) -> None:
    page = words(vera.get(f"{FRAME}&policy=elsewhere").text)
    assert "The policy elsewhere has no file in the folder; choose one that has." in page
    assert vera.get(f"{FRAME}&policy=../../etc/passwd").status_code == 200


def test_a_policy_that_does_not_load_is_told_without_its_path(vera: Browser) -> None:
    file().write_text(SHOP.replace("version: 1", "version: 9"), encoding="utf-8")
    page = vera.get(f"{FRAME}&policy=shop").text
    assert "Line 2" in page
    assert str(Path.cwd()) not in page


@pytest.mark.parametrize(
    "path",
    ["/rule", "/rule?id=r-bad&frame=99", "/rule?id=none&frame=1", "/rule?id=r-bad&frame=x"],
)
def test_what_is_no_call_has_no_page(vera: Browser, path: str) -> None:
    assert vera.get(path).status_code == 404


def test_labels_make_precision_and_those_of_just_now_count_at_once(dana: Browser) -> None:
    page = dana.get(FRAME).text
    sent = dana.form(FRAME) | {"mark": "right"}
    sent["back"] = html.unescape(sent["back"])
    answer = dana.post("/label", sent)
    assert answer.status_code == 303
    assert "nobody has labelled a hit" in words(page)
    page = dana.get(answer.headers["location"]).text
    assert "100% , 1 right of 1 labelled hit" in words(page)
    assert "to stop it is right" in words(page)


# Long work.


def test_what_takes_long_is_told_and_not_waited_for(
    vera: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    on, begun = threading.Event(), threading.Event()
    whole = rule.suggestions

    def slow(*args: Any, progress: Any, **about: Any) -> Any:
        progress(3)
        begun.set()
        assert on.wait(20)
        return whole(*args, progress=progress, **about)

    monkeypatch.setattr(rule, "suggestions", slow)
    monkeypatch.setattr(workroom, "PATIENCE", 0.01)
    vera.get(FRAME)
    assert begun.wait(20)
    page = vera.get(FRAME).text
    assert "… Trying rules : 3 of 7" in words(page)
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
    going = html.unescape(re.search('data-again="([^"]*)"', page)[1])  # type: ignore[index]
    assert "data-going" in vera.get(going).text
    on.set()
    monkeypatch.setattr(workroom, "PATIENCE", 20)
    assert vera.get(going).status_code == 303
    assert "1 newly denied" in words(vera.get(FRAME).text)


def test_what_took_long_is_not_begun_again_for_every_entry(
    gate: Gate, vera: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workroom, "QUICK", 0.0)
    vera.get(FRAME)
    refunded(gate, "r-more", 20)
    page = vera.get(FRAME).text
    assert "Over 7 recorded calls" in words(page)
    assert "newer entries are not counted" in words(page)
    [anew] = re.findall('<a href="([^"]*upto=[^"]*)">Count', page)
    assert "Over 8 recorded calls" in words(vera.get(html.unescape(anew)).text)


def test_no_more_waits_than_can_be_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    on = threading.Event()
    room: workroom.Workroom[None] = workroom.Workroom()

    def work(_: workroom.Tell) -> None:
        on.wait(20)

    monkeypatch.setattr(workroom, "PATIENCE", 0.0)
    try:
        for number in range(workroom.QUEUE + 1):
            assert isinstance(room.look(number, 1, 0, work), workroom.Going)
        with pytest.raises(workroom.BusyError):
            room.look("one more", 1, 0, work)
    finally:
        on.set()


def test_an_error_of_ones_own_is_told_and_no_end_of_the_rest() -> None:
    room: workroom.Workroom[int] = workroom.Workroom()
    failed = room.look("bad", 1, 0, lambda _: 1 // 0)
    assert isinstance(failed, workroom.Done)
    assert failed.failed == "It ended with an error of its own, ZeroDivisionError."
    done = room.look("good", 1, 0, lambda _: 7)
    assert isinstance(done, workroom.Done)
    assert done.result == 7


def test_what_has_failed_is_tried_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    room: workroom.Workroom[int] = workroom.Workroom()
    tries = iter([0, 1])

    def work(_: workroom.Tell) -> int:
        return 1 // next(tries)

    assert room.look("it", 1, 0, work) == room.look("it", 1, 0, work)
    monkeypatch.setattr(workroom, "AGAIN", 0.0)
    done = room.look("it", 1, 0, work)
    assert isinstance(done, workroom.Done)
    assert done.result == 1


# Near misses.


def failed(gate: Gate, run: str, order: str = "A-1") -> None:
    def broken(order: str, amount: int) -> str:
        raise RuntimeError(HOSTILE)

    with gate.run(run_id=run, agent="support", user="maria"), pytest.raises(RuntimeError):
        guard(broken, gate=gate, name="refund")(order, 10)
    gate.store.flush()


def test_near_misses_are_a_queue_that_gets_shorter(gate: Gate, dana: Browser) -> None:
    failed(gate, "r-f1")
    failed(gate, "r-f2")
    page = dana.get("/near").text
    assert words(page).index("r-f2 #1") < words(page).index("r-f1 #1")
    assert "it went wrong, or nobody knows how it ended" in page
    of = re.findall('name="of" value="([0-9]+)"', page)
    answer = dana.post("/label", {**dana.form("/near"), "of": of[0], "mark": "false"})
    assert answer.headers["location"] == f"/near?said={of[0]}"
    page = dana.get(answer.headers["location"]).text
    assert "to stop it would be a false alarm, says dana" in words(page)
    assert len(re.findall('name="of"', page)) == 2
    assert re.findall('name="of" value="([0-9]+)"', dana.get("/near").text) == of[1:]
    [said] = labels(gate)
    assert (said.mark, said.by, said.run) == ("false", "dana", "r-f2")
    dana.post("/label", {**dana.form("/near"), "of": of[0], "mark": "none"})
    assert re.findall('name="of" value="([0-9]+)"', dana.get("/near").text) == of


def test_a_label_in_place_is_told_in_json(gate: Gate, dana: Browser) -> None:
    failed(gate, "r-f1")
    sent = {**dana.form("/near"), "mark": "right", "part": "yes"}
    told = dana.post("/label", sent).json()
    assert told == {
        "mark": "right",
        "said": "to stop it is right, says dana",
        "size": gate.store.size(),
    }


def test_a_frame_says_what_is_said_of_it_as_of_now(dana: Browser) -> None:
    form = dana.form("/run?id=r-bad&frame=1")
    form["back"] = html.unescape(form["back"])
    answer = dana.post("/label", {**form, "mark": "right", "reason": HOSTILE})
    assert answer.headers["location"] == "/run?id=r-bad&frame=1"
    page = dana.get("/run?id=r-bad&frame=1").text
    assert "to stop it is right, says dana: &lt;img" in page


def test_a_viewer_sees_near_misses_and_has_no_buttons(gate: Gate, vera: Browser) -> None:
    failed(gate, "r-f1")
    page = vera.get("/near").text
    assert "r-f1 #1" in page
    assert 'action="/label"' in page
    assert "<button name=" not in page
    sent = {"csrf": vera.form("/grants")["csrf"], "of": "1", "mark": "right"}
    assert vera.post("/label", sent).status_code == 403
    assert labels(gate) == []


def test_whoever_came_by_a_link_of_nobody_says_nothing(gate: Gate, console: Console) -> None:
    failed(gate, "r-f1")
    browser = Browser(console, NOBODY)
    assert "log in with your own secret" in words(browser.get("/near").text)
    csrf = browser.form("/grants")["csrf"]
    assert browser.post("/label", {"csrf": csrf, "of": "1", "mark": "right"}).status_code == 403
    assert labels(gate) == []


@pytest.mark.parametrize(
    ("about", "status"),
    [
        ({"mark": "wrong"}, 422),
        ({"of": "-1"}, 422),
        ({"of": "x"}, 422),
        ({"of": "0"}, 404),
        ({"of": "9" * 18}, 404),
        ({"csrf": "another"}, 403),
    ],
)
def test_what_says_nothing_of_a_call_is_refused(
    gate: Gate, dana: Browser, about: dict[str, str], status: int
) -> None:
    failed(gate, "r-f1")
    sent = {**dana.form("/near"), "mark": "right", **about}
    assert dana.post("/label", sent).status_code == status
    assert labels(gate) == []


@pytest.mark.parametrize(
    "back",
    ["https://evil.example/near", "//evil.example", "/near//x", "/rule?id=r/../x", "/logout"],
)
def test_nobody_is_sent_elsewhere_after_a_label(dana: Browser, back: str) -> None:
    sent = {**dana.form("/run?id=r-bad&frame=1"), "mark": "right", "back": back}
    assert dana.post("/label", sent).headers["location"].startswith("/near?said=")


def test_a_long_queue_is_shown_in_part_and_says_where_it_goes_on(
    gate: Gate, dana: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        failed(gate, f"r-f{number}")
    monkeypatch.setattr(near, "MANY", 2)
    page = dana.get("/near").text
    assert "r-f1 #1" not in page
    [further] = re.findall('href="(/near\\?before=[0-9]+)"', page)
    page = dana.get(further).text
    assert ("r-f1 #1" in page, "r-f0 #1" in page, "r-f3 #1" in page) == (True, True, False)


def test_a_run_with_many_near_misses_shows_the_rest_once_some_are_labelled(
    gate: Gate, dana: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "MANY", 1)
    with gate.run(run_id="r-many", agent="support", user="maria"):
        for _ in range(2):
            with pytest.raises(RuntimeError):
                guard(_breaks, gate=gate, name="refund")("A-1", 10)
    gate.store.flush()
    assert "r-many #1" in dana.get("/near").text
    dana.post("/label", {**dana.form("/near"), "mark": "right"})
    assert "r-many #2" in dana.get("/near").text


def _breaks(order: str, amount: int) -> str:
    raise RuntimeError("no")


# Rules in shadow.


@pytest.fixture
def tried(gate: Gate, alma: Browser) -> Iterator[Browser]:
    """An admin, after a rule was put into the file, and has spoken in shadow."""
    alma.post("/rule", made(alma.get(FRAME).text))
    again = Gate(policy="shop", settings=config.load())
    refunded(again, "r-later", 500)
    yield alma
    again.close()


def test_rules_in_shadow_say_since_when_and_what_they_would_have_stopped(tried: Browser) -> None:
    page = tried.get("/shadow").text
    said = words(page)
    assert OWN in said
    assert "args.amount > 30" in said
    assert 'href="/run?id=r-later&amp;frame=1"' in page
    assert f'aria-label="1 calls in 1 runs that {OWN} would have stopped"' in page
    assert "nothing decided by it yet" not in said


def test_one_click_has_a_rule_count_in_the_file_and_its_tests(tried: Browser) -> None:
    sent = tried.form("/shadow")
    answer = tried.post("/shadow", sent)
    assert answer.status_code == 303
    assert "is enforced in policies/shop.yaml and policies/shop.test.yaml" in words(
        tried.get("/shadow").text
    )
    found = policy.loads(file().read_bytes()).tools["refund"][0].rules[-1].said
    assert (found.id, found.shadow) == (OWN, False)
    assert "verdict: deny" in cases().read_text(encoding="utf-8")
    assert "No rule is in shadow" in words(tried.get("/shadow").text)


def test_a_call_that_something_in_shadow_would_stop_says_so(tried: Browser) -> None:
    page = words(tried.get(FRAME).text)
    assert f"policies/shop.yaml would stop it already, by what is in shadow : {OWN}." in page


def test_rules_in_shadow_that_are_left_out_are_counted(
    tried: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MANY", 1)
    more = "- {id: another, deny: true, mode: shadow, when: args.amount > 7}\n      - id: never"
    text = file().read_text(encoding="utf-8")
    file().write_text(text.replace("- id: never", more), encoding="utf-8")
    assert "and 1 more, which saferun policy review lists" in words(tried.get("/shadow").text)


def test_what_would_be_enforced_is_there_as_a_patch_for_whoever_looks(
    tried: Browser, vera: Browser
) -> None:
    patch = vera.get(f"/shadow/patch?name=shop&rule={OWN}").text
    assert "-        mode: shadow\n+        mode: enforce\n" in patch
    assert vera.get("/shadow/patch?name=shop&rule=none").status_code == 409
    assert vera.get("/shadow/patch?name=none&rule=none").status_code == 404


def test_nobody_but_an_admin_has_a_rule_count(tried: Browser, vera: Browser) -> None:
    before = file().read_bytes()
    page = vera.get("/shadow").text
    assert "<button>Enforce" not in page
    sent = tried.form("/shadow") | {"csrf": vera.form("/grants")["csrf"]}
    assert vera.post("/shadow", sent).status_code == 403
    assert tried.post("/shadow", {**tried.form("/shadow"), "csrf": "x"}).status_code == 403
    assert file().read_bytes() == before


def test_a_rule_is_not_enforced_in_a_file_that_has_changed_since(tried: Browser) -> None:
    sent = tried.form("/shadow")
    file().write_text(file().read_text(encoding="utf-8") + "# else\n", encoding="utf-8")
    before = file().read_bytes()
    answer = tried.post("/shadow", sent)
    assert answer.status_code == 409
    assert "has changed since this page was shown" in answer.text
    assert file().read_bytes() == before


def test_where_versions_are_published_enforcing_is_said_as_commands(gate: Gate) -> None:
    Path("saferun.toml").write_text(f'policies = "store"\n{WORLD}', encoding="utf-8")
    alma = Browser(Console(gate.store, config.load()), enrolled(gate, "alma"))
    assert "No rule is in shadow" in words(alma.get("/shadow").text)
    sent = {"csrf": alma.form("/grants")["csrf"], "name": "shop", "rule": OWN, "seal": ""}
    assert alma.post("/shadow", sent).status_code == 409


# Hostile words.


def test_hostile_words_are_inert_on_every_page(gate: Gate, alma: Browser) -> None:
    for number in range(3):
        refunded(gate, f"r-h{number}", 10, f"A-{number}")
    failed(gate, "h<img src=x onerror=alert(1)>", HOSTILE)
    frame = "/rule?id=h<img src=x onerror=alert(1)>&frame=1"
    for path in ("/near", frame, "/shadow"):
        page = alma.get(path)
        assert page.status_code == 200, path
        assert "<img src=x" not in page.text, path
        assert "\u202e" not in page.text, path


def test_whoever_is_not_logged_in_is_led_back_to_the_rule_that_they_chose(
    gate: Gate, console: Console, alma: Browser
) -> None:
    links = re.findall(r'<a href="(/rule\?[^"]*rule=[^"]*)"', alma.get(FRAME).text)
    link = html.unescape(links[0])
    browser = Browser(console)
    back = browser.get(link).headers["location"]
    sent = {
        "person": "alma",
        "secret": "alma-secret",
        "next": parse_qs(urlsplit(back).query)["next"],
    }
    assert browser.post("/login", sent).headers["location"] == link


def test_a_group_that_is_called_as_another_answer_is_not_offered(
    gate: Gate, console: Console
) -> None:
    world = WORLD.replace("[groups]\n", '[groups]\ndeny = ["dana"]\n"*" = ["dana"]\n')
    Path("saferun.toml").write_text(world, encoding="utf-8")
    alma = Browser(Console(gate.store, config.load()), enrolled(gate, "alma"))
    offered = re.findall('<option value="([^"]*)"', alma.get(FRAME).text)
    assert offered == ["deny", "finance", "*", "shop"]


def test_the_groups_that_a_rule_may_ask_are_those_of_now(gate: Gate, alma: Browser) -> None:
    before = made(alma.get(f"{FRAME}&then=finance").text)
    world = WORLD.replace("[groups]\nfinance", "[groups]\nlegal")
    Path("saferun.toml").write_text(world, encoding="utf-8")
    offered = re.findall('<option value="([^"]*)"', alma.get(FRAME).text)
    assert offered == ["deny", "legal", "*", "shop"]
    assert alma.post("/rule", before).status_code == 409
    assert file().read_text(encoding="utf-8") == SHOP


def test_of_two_who_change_a_file_at_once_the_second_is_told(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, move, both = file().read_bytes(), files.move, threading.Barrier(2)

    def slowly(path: Path, to: Path) -> None:
        # Were the other one as far as this, both would be here.
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.2)
        move(path, to)

    monkeypatch.setattr(files, "move", slowly)
    told = list[str]()

    def change(after: bytes) -> None:
        try:
            amending.make([amending.Change(file(), "shop.yaml", before, after)])
        except amending.CannotAmendError as problem:
            told.append(str(problem))

    people = [threading.Thread(target=change, args=(before + each,)) for each in (b"#1", b"#2")]
    for each in people:
        each.start()
    for each in people:
        each.join()
    assert told == ["shop.yaml has changed meanwhile, and nothing was written; do it again."]
    assert file().read_bytes()[:-2] == before


def test_whoever_is_not_logged_in_is_led_back_after_it(console: Console) -> None:
    browser = Browser(console)
    answer = browser.get(FRAME)
    assert answer.headers["location"] == "/login?next=/rule%3Fid%3Dr-bad%26frame%3D1"
    assert browser.get("/near").headers["location"] == "/login?next=/near"


def test_a_file_at_the_end_of_a_link_is_as_writable_as_what_it_leads_to(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("a: 1", encoding="utf-8")
    link.symlink_to(real)
    assert rule.is_writable(link)
    assert not rule.is_writable(tmp_path / "none.yaml")
