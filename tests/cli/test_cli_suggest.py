"""`saferun policy suggest`, `review` and `enforce`: from a call to a rule that counts."""

import errno
import json
import subprocess
import threading
from pathlib import Path

import pytest

from cli.project import lines
from saferun import Denied, Gate, amending, guard, policy

POLICY = """\
# Who may refund what.
version: 1
name: shop
inputs: {user.tier: string}
tools:
  refund:
    effect: write
    args:
      order: {type: string}   # A-17
      amount: {type: integer, minimum: 1}
    rules:
      - id: gold
        ask: true
        when: user.tier == "none"   # never

      # more to come
"""
RULE = "refund-amount-above"


@pytest.fixture
def shop() -> Path:
    path = Path("policies/shop.yaml")
    path.parent.mkdir()
    path.write_text(POLICY, encoding="utf-8")
    gate = Gate(policy="shop")
    refund = guard(paid, gate=gate, name="refund")

    for number in range(6):
        about = {"agent": "support", "user": {"id": f"u-{number}", "tier": "basic"}}
        with gate.run(run_id=f"r-{number}", **about):
            refund("A-1", 10 * (number % 3) + 10)
    with gate.run(run_id="r-bad", agent="support", user={"id": "u-1", "tier": "basic"}):
        refund("A-1", 9_000)
    gate.close()
    return path


def paid(order: str, amount: int) -> str:
    return "paid"


def beside(path: Path) -> Path:
    return path.with_name("shop.test.yaml")


def test_rules_are_suggested_with_what_they_would_have_done(saferun, shop) -> None:
    result = saferun("policy", "suggest", "r-bad#1", "--json")
    assert result.exit_code == 0, result.stderr
    [found] = lines(result)
    assert (found["frame"], found["tool"], found["calls"]) == ("r-bad#1", "refund", 7)
    best = found["suggestions"][0]
    assert (best["id"], best["kind"], best["effect"]) == (RULE, "range", "deny")
    assert best["newly"] == {"denied": 1, "asked": 0, "allowed": 0}
    assert (best["touched"], best["fine"], best["precision"]) == (0, 6, None)
    assert policy.loads(shop.read_bytes()).tools["refund"][0].rules[-1].said.id == "gold"
    said = saferun("policy", "suggest", "r-bad#1").stdout
    assert "when: args.amount > 30" in said
    assert "touches  0 of 6 fine calls" in said


def test_fewer_are_tried_where_fewer_are_wanted(saferun, shop) -> None:
    [found] = lines(saferun("policy", "suggest", "r-bad#1", "--json", "-n", "1"))
    assert [each["id"] for each in found["suggestions"]] == [RULE]


def test_a_rule_may_ask_whom_it_is_told_to(saferun, shop) -> None:
    [found] = lines(saferun("policy", "suggest", "r-bad#1", "--json", "--ask", "finance"))
    best = found["suggestions"][0]
    assert (best["effect"], best["rule"]["ask"]) == ("ask", ["finance"])
    assert best["newly"] == {"denied": 0, "asked": 1, "allowed": 0}


def test_a_rule_is_put_into_the_file_in_shadow_with_a_test_case(saferun, shop) -> None:
    result = saferun("policy", "suggest", "r-bad#1", "--write", RULE)
    assert result.exit_code == 0, result.stderr
    after = shop.read_text(encoding="utf-8")
    rest = iter(after.splitlines())
    assert all(line in rest for line in POLICY.splitlines())
    [*_, added] = policy.loads(after).tools["refund"][0].said.rules
    assert (added.id, added.shadow, added.answer) == (RULE, True, "deny")
    assert saferun("policy", "test", "shop").exit_code == 0
    # Without the rule, its case fails.
    shop.write_text(POLICY, encoding="utf-8")
    assert saferun("policy", "test", "shop").exit_code == 1


def test_a_case_is_added_to_those_that_are_there(saferun, shop) -> None:
    own = "# mine\ncases:\n  - name: one\n    call: {tool: mail, args: {}}\n    expect: deny # so\n"
    beside(shop).write_text(own, encoding="utf-8")
    saferun("policy", "suggest", "r-bad#1", "--write", RULE)
    assert beside(shop).read_text(encoding="utf-8").startswith(own)
    assert "2 cases passed" in saferun("policy", "test", "shop").stdout


def test_a_patch_writes_nothing_and_says_all(saferun, shop) -> None:
    result = saferun("policy", "suggest", "r-bad#1", "--patch", "--write", RULE)
    assert shop.read_text(encoding="utf-8") == POLICY
    assert not beside(shop).exists()
    assert "+++ b/policies/shop.yaml" in result.stdout
    assert "--- /dev/null\n+++ b/policies/shop.test.yaml" in result.stdout
    Path("change.patch").write_text(result.stdout, encoding="utf-8")
    subprocess.run(["patch", "-p1", "-i", "change.patch"], check=True, capture_output=True)
    patched = shop.read_bytes(), beside(shop).read_bytes()
    shop.write_text(POLICY, encoding="utf-8")
    beside(shop).unlink()
    saferun("policy", "suggest", "r-bad#1", "--write", RULE)
    assert (shop.read_bytes(), beside(shop).read_bytes()) == patched


def test_what_would_stop_it_already_in_shadow_is_told(saferun, shop) -> None:
    saferun("policy", "suggest", "r-bad#1", "--write", RULE)
    said = " ".join(saferun("policy", "suggest", "r-bad#1").stdout.split())
    assert f"would stop it already, by what is in shadow: {RULE}" in said
    assert json.loads(saferun("policy", "suggest", "r-bad#1", "--json").stdout)["heard"] == [RULE]


def test_a_file_that_changes_meanwhile_is_left_as_it_is(saferun, shop, monkeypatch) -> None:
    make = amending.make

    def elsewhere(changes) -> None:
        shop.write_text(POLICY + "# somebody else\n", encoding="utf-8")
        make(changes)

    monkeypatch.setattr(amending, "make", elsewhere)
    result = saferun("policy", "suggest", "r-bad#1", "--write", RULE)
    assert result.exit_code == 64
    assert "has changed meanwhile" in result.stderr
    assert shop.read_text(encoding="utf-8") == POLICY + "# somebody else\n"
    assert not beside(shop).exists()


def test_where_one_file_cannot_be_written_the_other_stays_as_it_was(
    saferun, shop, monkeypatch
) -> None:
    really = amending.files.move

    def fails(path: Path, to: Path) -> None:
        if to.name == shop.name:
            raise OSError(errno.EROFS, "it is read-only")
        really(path, to)

    monkeypatch.setattr(amending.files, "move", fails)
    result = saferun("policy", "suggest", "r-bad#1", "--write", RULE)
    assert "policies/shop.yaml cannot be written: it is read-only." in result.stderr
    assert shop.read_text(encoding="utf-8") == POLICY
    assert not beside(shop).exists()


def test_where_it_was_cut_short_the_tests_fail_and_to_do_it_again_completes_it(
    saferun, shop, monkeypatch
) -> None:
    class Killed(BaseException): ...

    really = amending.files.move

    def killed(path: Path, to: Path) -> None:
        if to.name == shop.name:
            raise Killed
        really(path, to)

    def cut_short(*words: str) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(amending.files, "move", killed)
            with pytest.raises(Killed):
                saferun("policy", *words)
        assert saferun("policy", "test", "shop").exit_code == 1
        assert saferun("policy", *words).exit_code == 0
        assert saferun("policy", "test", "shop").exit_code == 0

    cut_short("suggest", "r-bad#1", "--write", RULE)
    cut_short("enforce", "shop", RULE)


def test_of_two_at_once_neither_writes_over_the_other(shop) -> None:
    whole = shop.read_bytes()
    changes = [amending.Change(shop, "shop.yaml", whole, whole + b"# %d\n" % n) for n in range(8)]
    told: list[str] = []

    def make(change: amending.Change) -> None:
        try:
            amending.make([change])
        except amending.CannotAmendError as problem:
            told.append(str(problem))

    threads = [threading.Thread(target=make, args=(each,)) for each in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 7
    assert all("changed meanwhile" in each for each in told)


def test_what_is_in_shadow_already_is_said_and_not_suggested_again(saferun, shop) -> None:
    saferun("policy", "suggest", "r-bad#1", "--write", RULE)
    [found] = lines(saferun("policy", "suggest", "r-bad#1", "--json", "-n", "40"))
    assert found["heard"] == [RULE]
    assert f"{RULE}-2" not in {each["id"] for each in found["suggestions"]}
    said = " ".join(saferun("policy", "suggest", "r-bad#1").stdout.split())
    assert f"would stop it already, by what is in shadow: {RULE}" in said
    again = saferun("policy", "suggest", "r-bad#1", "--write", RULE)
    assert (again.exit_code, "already, in shadow" in again.stderr) == (64, True)


def test_a_rule_that_is_further_down_than_is_shown_is_written_by_its_id(saferun, shop) -> None:
    [found] = lines(saferun("policy", "suggest", "r-bad#1", "--json", "-n", "40"))
    last = found["suggestions"][-1]["id"]
    assert len(found["suggestions"]) > 2
    result = saferun("policy", "suggest", "r-bad#1", "-n", "1", "--write", last)
    assert result.exit_code == 0, result.stderr
    assert f"id: {last}" in shop.read_text(encoding="utf-8")


def test_no_case_shows_what_is_kept_from_sight(saferun, shop) -> None:
    text = POLICY.replace("    rules:", "    sensitive: [args.order]\n    rules:")
    shop.write_text(text, encoding="utf-8")
    result = saferun("policy", "suggest", "r-bad#1", "--write", RULE)
    assert result.exit_code == 0
    assert "No test case was made: args.order is kept from sight" in result.stderr
    assert not beside(shop).exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("r-bad#1", "--write", "no-such"), "No rule 'no-such' is suggested"),
        (("r-bad#1", "--policy", "none"), "There is no policy 'none'"),
        (("r-bad", "--json"), "is not of the form RUN#FRAME"),
        (("r-bad#9",), "There is no frame 9"),
    ],
)
def test_what_cannot_be_done_is_said(saferun, shop, args, said) -> None:
    result = saferun("policy", "suggest", *args)
    assert result.exit_code == 64
    assert said in result.stderr
    assert shop.read_text(encoding="utf-8") == POLICY


def test_a_rule_in_shadow_is_reviewed_and_then_enforced(saferun, shop) -> None:
    saferun("policy", "suggest", "r-bad#1", "--write", RULE)
    gate = Gate(policy="shop")
    refund = guard(paid, gate=gate, name="refund")

    with gate.run(run_id="r-again", user={"id": "u-2", "tier": "basic"}):
        refund("A-2", 8_000)
    gate.close()
    [found] = lines(saferun("policy", "review", "shop", "--json"))
    assert [(each["id"], each["hits"]) for each in found["rules"]] == [(RULE, 1)]
    assert RULE in saferun("policy", "review", "shop").stdout
    [near] = lines(saferun("run", "near", "--json"))
    assert (near["run_id"], near["near"]) == ("r-again", ["shadow"])

    patch = saferun("policy", "enforce", "shop", RULE, "--patch").stdout
    assert "-        mode: shadow\n+        mode: enforce" in patch
    assert "+    expect: {verdict: deny, rules: [refund-amount-above]}" in patch
    assert saferun("policy", "enforce", "shop", RULE).exit_code == 0
    assert saferun("policy", "test", "shop").exit_code == 0
    strict = Gate(policy="shop")
    with (
        strict.run(run_id="r-last", user={"id": "u-2", "tier": "basic"}),
        pytest.raises(Denied),
    ):
        guard(paid, gate=strict, name="refund")("A-2", 8_000)
    strict.close()
    result = saferun("policy", "suggest", "r-bad#1", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["stopped"] == [RULE]


@pytest.mark.parametrize(
    ("rule", "said"),
    [("gold", "enforced already"), ("glod", "No rule or limit 'glod' is in shadow")],
)
def test_what_is_not_in_shadow_is_not_enforced(saferun, shop, rule, said) -> None:
    result = saferun("policy", "enforce", "shop", rule)
    assert result.exit_code == 64
    assert said in result.stderr
    assert shop.read_text(encoding="utf-8") == POLICY


def test_a_limit_in_shadow_is_reviewed_and_then_enforced(saferun, shop) -> None:
    Path("policies/common.yaml").write_text("limits: [{id: wide, max: 9, per: run}]\n")
    limits = "limits:\n  - {id: calls, max: 1, per: run, mode: shadow}  # tried out\n"
    shop.write_text(POLICY.replace("tools:\n", f"include: [common.yaml]\n{limits}tools:\n", 1))
    gate = Gate(policy="shop")
    refund = guard(paid, gate=gate, name="refund")
    with gate.run(run_id="r-again", user={"id": "u-2", "tier": "basic"}):
        refund("A-2", 10)
        refund("A-3", 10)
    gate.close()
    [found] = lines(saferun("policy", "review", "shop", "--json"))
    assert [(each["id"], each["hits"]) for each in found["rules"]] == [("calls", 1)]
    [near] = lines(saferun("run", "near", "--json"))
    assert (near["run_id"], near["near"]) == ("r-again", ["shadow", "limit"])
    page = saferun("run", "show", "r-again", "--frame", "2").stdout
    assert "calls would deny: at most 1 call in one run" in page
    assert "1 of 1, wants 1" in page
    # What is included counts with the policy's own, and its place in the file is its own.
    assert saferun("policy", "enforce", "shop", "calls").exit_code == 0
    assert "{id: calls, max: 1, per: run, mode: enforce}  # tried out" in shop.read_text("utf-8")
    assert "calls would" not in saferun("policy", "review", "shop").stdout


def test_what_an_included_file_tries_out_is_enforced_there(saferun, shop) -> None:
    Path("policies/common.yaml").write_text("limits: [{id: w, max: 9, per: run, mode: shadow}]\n")
    shop.write_text(POLICY.replace("tools:\n", "include: [common.yaml]\ntools:\n", 1))
    result = saferun("policy", "enforce", "shop", "w")
    assert result.exit_code == 64
    assert "'w' stands in a file that the policy includes" in result.stderr


def test_a_limit_is_suggested_written_tried_and_enforced(saferun, shop) -> None:
    gate = Gate(policy="shop")
    refund = guard(paid, gate=gate, name="refund")
    with gate.run(run_id="r-many", user={"id": "u-7", "tier": "basic"}):
        for _ in range(5):
            refund("A-1", 10)
    gate.close()
    [found] = lines(saferun("policy", "suggest", "r-many#5", "--limit", "20", "--json"))
    [limit] = [each for each in found["suggestions"] if each["part"] == "limits"][:1]
    assert (limit["kind"], limit["effect"]) == ("rate", "deny")
    own = limit["id"]
    assert saferun("policy", "suggest", "r-many#5", "--write", own, "-n", "20").exit_code == 0
    text = shop.read_text(encoding="utf-8")
    assert f"    limits:\n      - id: {own}\n" in text
    assert "# never" in text
    assert own in beside(shop).read_text(encoding="utf-8")
    assert saferun("policy", "test", "shop").exit_code == 0
    result = saferun("policy", "enforce", "shop", own)
    assert result.exit_code == 0, result.stderr
    assert "mode: enforce" in shop.read_text(encoding="utf-8")
    assert f"expect: {{verdict: deny, rules: [{own}]}}" in beside(shop).read_text(encoding="utf-8")
    assert saferun("policy", "test", "shop").exit_code == 0


def test_in_a_file_that_is_included_a_rule_is_tried_and_not_written(saferun, shop) -> None:
    head, tools = POLICY.split("tools:\n")
    shared = shop.with_name("shared.yaml")
    shared.write_text("tools:\n" + tools, encoding="utf-8")
    shop.write_text(head + "include: [shared.yaml]\n", encoding="utf-8")
    found = saferun("policy", "suggest", "r-bad#1")
    assert (found.exit_code, RULE in found.stdout) == (0, True)
    assert "policies/shared.yaml has the entry of the tool" in found.stdout
    for way in (f"--write={RULE}", "--patch"):
        result = saferun("policy", "suggest", "r-bad#1", way)
        assert result.exit_code >= 64
        said = " ".join(result.stderr.split())
        assert "stands in policies/shared.yaml: a rule there holds in every policy" in said
    assert shared.read_text(encoding="utf-8") == "tools:\n" + tools
