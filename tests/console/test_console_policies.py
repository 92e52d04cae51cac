"""Policies in the console: which decide, what each rule has done, and what a version changes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console import asking
from console.asking import ARGS, POLICY, Browser, ask, enrolled
from publishing import Published
from saferun import Gate, config
from saferun.call import Call, RunRef
from saferun.console import Console, policies
from saferun.policy import loads

HOSTILE = "<script>alert(1)</script>\\u202egnp.exe"

TESTS = """\
cases:
  - name: A small one is simply made.
    call: {tool: refund, args: {order_id: A-1, amount: 4, currency: USD}}
    expect: allow
  - name: A large one is simply made too.
    call: {tool: refund, args: {order_id: A-1, amount: 30000, currency: USD}}
    expect: allow
"""


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = asking.made()
    yield gate
    gate.close()


@pytest.fixture
def files() -> Path:
    folder = Path("policies")
    folder.mkdir()
    (folder / "money.yaml").write_text(POLICY, encoding="utf-8")
    return folder


@pytest.fixture
def vera(gate: Gate, console: Console) -> Browser:
    """Whoever may look may look at policies."""
    return Browser(console, enrolled(gate, "vera"))


def page(vera: Browser, path: str, status: int = 200) -> str:
    answer = vera.get(path)
    assert answer.status_code == status, answer.text
    return str(answer.text)


def rule(text: str, own: str) -> str:
    """The row of a rule, as text alone."""
    [row] = [each for each in text.split("<tr") if f"<code>{own}</code> <small>" in each]
    return " ".join(re.sub(r"<[^>]*>", " ", row.partition(">")[2]).split())


def ran(gate: Gate, amount: int = 4, run: str = "r-1") -> Any:
    about = RunRef(run_id=run, root=run, agent="support", user={"id": "maria"})
    return gate.check(Call(tool="refund", args={**ARGS, "amount": amount}, run=about), leaves=True)


def test_files_and_what_was_published_are_listed(gate: Gate, files: Path, vera: Browser) -> None:
    Published(gate.store).publish(POLICY.replace("name: money", "name: shop"))
    text = page(vera, "/policies")
    assert '<a href="/policy?name=money"><b>money</b></a>' in text
    assert "the file policies/money.yaml" in text
    assert '<a href="/policy?name=shop"><b>shop</b></a>' in text
    assert "what alice published at" in text
    assert "✓ enforced" in text


def test_a_policy_that_only_code_has_is_known_from_what_it_decided(
    gate: Gate, vera: Browser
) -> None:
    assert "No policy has ever decided here" in page(vera, "/policies")
    ran(gate)
    assert "decided last, from code or from a file elsewhere" in page(vera, "/policies")
    assert "Refunds above $200 need finance." in page(vera, "/policy?name=money")


def test_where_what_was_published_decides_a_file_alone_decides_nothing(
    gate: Gate, files: Path
) -> None:
    with Path("saferun.toml").open("r+") as file:
        said = file.read()
        file.seek(0)
        file.write(f'policies = "store"\n{said}')
    published = Browser(Console(gate.store, config.load()), None)
    published.console.sessions = published.console.sessions
    code = published.console.sessions.link(enrolled(gate, "vera"))
    published.client.post("/enter", data={"code": code}, headers=asking.HEAD)
    text = page(published, "/policies")
    assert "nothing: its file is not published yet" in text
    assert "· decides nothing" in text
    assert "What was published decides here." in text


def test_a_file_that_does_not_load_says_where_and_breaks_no_page(
    files: Path, vera: Browser
) -> None:
    (files / "broken.yaml").write_text("version: 1\nname: broken\ntools: [\n", encoding="utf-8")
    text = page(vera, "/policies")
    assert "✕ does not load" in text
    assert "policies/broken.yaml:" in text
    assert "money" in text
    text = page(vera, "/policy?name=broken")
    assert "✕ does not load" in text
    assert "✕ error" in text


def test_rules_are_told_with_their_conditions_and_whom_they_ask(files: Path, vera: Browser) -> None:
    text = page(vera, "/policy?name=money")
    said = rule(text, "big")
    assert "? asks" in said
    assert "amount at least 20001" in said
    assert "Refunds above $200 need finance." in said
    assert "needs finance" in said
    assert "✕ denies" in rule(text, "huge")
    assert "any other tool" in rule(text, "default")


def test_what_each_rule_has_done_is_counted(gate: Gate, files: Path, vera: Browser) -> None:
    ran(gate, 4)
    ran(gate, 95_000, "r-2")
    ran(gate, 95_000, "r-3")
    ask(gate, run="r-4")
    text = page(vera, "/policy?name=money")
    assert rule(text, "big").split()[-6:-2] == ["0", "1", "2", "0"]
    assert rule(text, "huge").split()[-6:-2] == ["0", "0", "2", "0"]
    assert rule(text, "two").endswith("! never")
    assert "<b>1 of 3</b> rules and limits never spoke." in text
    link = re.search(r'<a href="([^"]*)" aria-label="Where huge', text)
    assert link is not None
    found = page(vera, link[1].replace("&amp;", "&"))
    assert found.count("✕ denied") == 2


def test_what_a_candidate_says_counts_as_shadow(gate: Gate, vera: Browser) -> None:
    gate.close()
    tried = Gate(policy=loads(f"{POLICY}mode: shadow\n"), settings=config.load())
    ran(tried, 95_000)
    other = Browser(asking.console(tried), enrolled(tried, "vera"))
    text = page(other, "/policy?name=money")
    assert "? shadow" in text
    assert rule(text, "huge").split()[-6:-2] == ["0", "0", "0", "1"]
    tried.close()


def test_hits_of_another_policy_are_not_counted(gate: Gate, files: Path, vera: Browser) -> None:
    (files / "other.yaml").write_text(POLICY.replace("name: money", "name: other"))
    ran(gate, 95_000)
    assert rule(page(vera, "/policy?name=other"), "huge").endswith("! never")


def test_a_rule_leads_to_its_line_in_the_text(files: Path, vera: Browser) -> None:
    text = page(vera, "/policy?name=money")
    line = POLICY.split("\n").index("      - id: big") + 1
    assert f'href="/policy/text?name=money&amp;version=file#L{line}"' in text
    text = page(vera, "/policy/text?name=money&version=file")
    assert f'<li id="L{line}"><code>      - <span class="key">id:</span> big</code></li>' in text


def test_versions_and_who_published_them_are_told(gate: Gate, vera: Browser) -> None:
    shop = Published(gate.store, "money")
    first = shop.publish(POLICY)
    second = shop.publish(POLICY.replace("20001", "30001"), trial="canary", share=10)
    text = page(vera, "/policy?name=money")
    assert f"<code>{first.live[:12]}</code>" in text
    assert "✓ live" in text
    assert "? canary, 10%" in text
    assert f"{str(second.candidate)[:12]} is tried for 10% of the runs, by alice since" in text
    assert "saferun policy promote" in text
    assert (
        f"{first.live[:12]} live, {str(second.candidate)[:12]} in canary, 10% of the runs" in text
    )
    kept = page(vera, f"/policy?name=money&version={second.candidate}")
    assert "! This version does not decide." in kept
    assert "amount at least 30001" in kept
    kept = page(vera, f"/policy/text?name=money&version={first.live}")
    assert '<span class="key">minimum:</span> 20001' in kept


def test_two_versions_are_compared_in_effect_and_in_text(gate: Gate, vera: Browser) -> None:
    shop = Published(gate.store, "money")
    first = shop.publish(POLICY)
    second = shop.publish(POLICY.replace("20001", "30001"))
    text = page(vera, f"/policy/diff?name=money&a={first.live}&b={second.live}")
    assert "amount 20001 to 30000" in text
    assert '<span class="ask">? asked</span> → <span class="allow">✓ allowed</span>' in text
    assert "<code>          minimum: 30001</code>" in text
    assert '<tr class="gone">' in text
    same = page(vera, f"/policy/diff?name=money&a={first.live}&b={first.live}")
    assert "Nothing differs in effect." in same
    assert "Both are written alike." in same
    assert "There is no version" in page(vera, f"/policy/diff?name=money&a={'0' * 64}&b=file", 404)


def test_a_kept_version_that_was_changed_is_told(gate: Gate, vera: Browser) -> None:
    import contextlib
    import sqlite3

    first = Published(gate.store, "money").publish(POLICY)
    gate.store.flush()
    with contextlib.closing(sqlite3.connect(gate.store.path)) as connection, connection:
        connection.execute("UPDATE version SET data = x'7b7d'")
    assert "✕ does not load" in page(vera, "/policies")
    assert "is damaged" in page(vera, "/policy?name=money")
    assert "is damaged" in page(vera, f"/policy/diff?name=money&a={first.live}&b={first.live}", 404)


def test_an_assignment_that_was_changed_is_told(gate: Gate, vera: Browser) -> None:
    import contextlib
    import sqlite3

    Published(gate.store, "money").publish(POLICY)
    gate.store.flush()
    with contextlib.closing(sqlite3.connect(gate.store.path)) as connection, connection:
        connection.execute("UPDATE assignment SET note = x'00'")
    for path in ("/policies", "/policy?name=money"):
        assert "cannot be read" in page(vera, path)


def test_tests_are_listed_and_run_on_request_alone(files: Path, vera: Browser) -> None:
    (files / "money.test.yaml").write_text(TESTS, encoding="utf-8")
    text = page(vera, "/policy?name=money")
    assert text.count("· not run") == 2
    form = vera.form("/policy?name=money")
    answer = vera.post("/policy", form)
    assert answer.status_code == 200
    assert "✕ 1 failed, 1 passed" in answer.text
    assert "expected allow, found ask" in answer.text
    assert answer.text.index("A large one") < answer.text.index("A small one")
    assert vera.post("/policy", {**form, "csrf": "wrong"}).status_code == 403


def test_running_tests_counts_for_nothing(gate: Gate, files: Path, vera: Browser) -> None:
    (files / "money.test.yaml").write_text(TESTS, encoding="utf-8")
    form = vera.form("/policy?name=money")
    size = gate.store.size()
    vera.post("/policy", form)
    assert gate.store.size() == size


def test_tests_that_take_too_long_are_left(
    files: Path, vera: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "TRYING", -1.0)
    (files / "money.test.yaml").write_text(TESTS, encoding="utf-8")
    policies_ = vera.console._policies
    monkeypatch.setattr(policies_, "_room", _Free())
    answer = vera.post("/policy", vera.form("/policy?name=money"))
    assert "1 passed; for 1 there was no time" in answer.text


class _Free:
    def acquire(self, **_: Any) -> bool:
        return True

    def release(self) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_a_test_file_that_cannot_be_used_is_told(files: Path, vera: Browser) -> None:
    (files / "money.test.yaml").write_text("cases: 7\n", encoding="utf-8")
    assert "money.test.yaml:1" in page(vera, "/policy?name=money")
    answer = vera.post("/policy", {**vera.form("/policies"), "name": "money"})
    assert "the file cannot be used" in answer.text


def test_findings_stand_with_their_lines(files: Path, vera: Browser) -> None:
    (files / "money.yaml").write_text(POLICY.replace("minimum: 90001", "minimum: 900001"))
    text = page(vera, "/policy?name=money")
    assert re.search(r"(! warning|✕ error)</span> <span class=\"soft\">line \d+</span>", text)


def test_a_name_is_looked_up_and_never_a_path(files: Path, vera: Browser) -> None:
    secret = Path("secret.yaml")
    secret.write_text("version: 1\nname: secret\n", encoding="utf-8")
    for name in ("../secret", "secret.yaml", str(secret.absolute()), "", "x" * 200, "no%00ne"):
        assert vera.get(f"/policy?name={name}").status_code == 404
        assert vera.get(f"/policy/text?name={name}&version=file").status_code == 404
        assert vera.get(f"/policy/diff?name={name}").status_code == 404
    assert vera.get("/policy/text?name=money&version=../secret").status_code == 404
    assert vera.get("/policy?name=money&version=zzz").status_code == 404


def test_hostile_policies_are_shown_and_do_nothing(gate: Gate, files: Path, vera: Browser) -> None:
    hostile = f"""\
version: 1
name: "{HOSTILE}"   # {HOSTILE}
tools:
  "x{HOSTILE}":
    effect: write
    args: {{a: {{type: string}}}}
    message: "{HOSTILE}"
    rules:
      - id: own
        ask: [finance]
        args: {{a: {{const: "{HOSTILE}"}}}}
        message: "{HOSTILE}"
"""
    (files / "hostile.yaml").write_text(hostile, encoding="utf-8")
    broken = hostile.replace("id: own", f'id: "{HOSTILE}"').replace(
        f'name: "{HOSTILE}"', "name: bad"
    )
    (files / "broken.yaml").write_text(broken, encoding="utf-8")
    (files / "hostile.test.yaml").write_text(TESTS.replace("A small", HOSTILE), encoding="utf-8")
    listed = page(vera, "/policies")
    links = re.findall(r'href="(/policy\?[^"]*)"', listed)
    assert len(links) == 3
    shown = [listed]
    for link in links:
        query = link.replace("&amp;", "&").partition("?")[2]
        for path in ("/policy", "/policy/text", "/policy/diff"):
            shown.append(vera.get(f"{path}?{query}&a=file&b=file").text)
    assert sum("alert(1)" in text for text in shown) >= 5
    for text in shown:
        assert "<script>alert" not in text
        assert "\u202e" not in text


def test_whoever_is_not_logged_in_sees_nothing(console: Console, files: Path) -> None:
    stranger = Browser(console)
    for path in ("/policies", "/policy?name=money", "/policy/text?name=money", "/policy/diff"):
        assert stranger.get(path).status_code == 303
    assert stranger.get("/policies").headers["location"] == "/login?next=/policies"
    assert stranger.post("/policy", {"name": "money"}).status_code == 303


def test_a_limit_in_shadow_says_so_and_its_hits_stand_apart(gate: Gate, files: Path) -> None:
    gate.close()
    text = f"{POLICY}limits: [{{id: twice, max: 1, per: run, mode: shadow}}]\n"
    (files / "money.yaml").write_text(text, encoding="utf-8")
    trying = Gate(policy=loads(text), settings=config.load())
    for _ in range(2):
        assert ran(trying).verdict == "allow"
    vera = Browser(asking.console(trying), enrolled(trying, "vera"))
    row = rule(page(vera, "/policy?name=money"), "twice")
    assert "in shadow" in row
    assert row.split()[-6:-2] == ["0", "0", "0", "1"]
    trying.close()
