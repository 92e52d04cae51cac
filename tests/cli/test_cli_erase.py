"""`saferun ledger erase`, and what other commands show of what is sealed and erased."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from typer.testing import Result

from cli.project import lines
from saferun import Gate, guard
from searching import holding

POLICY = """\
version: 1
name: shop
tools:
  look:
    effect: read
    args: {email: {type: string, maxLength: 100}, n: {type: integer}}
    sensitive: [args.email, result.*]
"""

Run = Callable[..., Result]
EMAIL = "maria@example.com"


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saferun: Run) -> None:
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    path = Path("policies/shop.yaml")
    path.parent.mkdir()
    path.write_text(POLICY, encoding="utf-8")
    gate = Gate(policy="shop")
    with gate.run(run_id="r-maria", agent="support", user="maria"):
        guard(lambda email, n: {"city": "Turku in Finland"}, name="look", gate=gate)(EMAIL, 5)
    gate.close()
    assert saferun("login", "alice", "--new").exit_code == 0


def erase(saferun: Run, *more: str) -> Result:
    return saferun("ledger", "erase", "--subject", "maria", "--reason", "asked to", *more)


def test_what_is_sealed_is_shown_until_it_is_erased(saferun: Run) -> None:
    before = saferun("run", "show", "r-maria").stdout
    assert f'email="{EMAIL}"  n=5' in before
    assert '{"city": "Turku in Finland"}' in before
    result = erase(saferun, "--yes")
    assert result.exit_code == 0
    assert "✓ erased  2 values of maria" in result.stdout
    after = saferun("run", "show", "r-maria").stdout
    assert 'email="[erased]"  n=5' in after
    assert '{"city": "[erased]"}' in after
    assert saferun("ledger", "verify").exit_code == 2


def without_openings() -> None:
    """Have a salvage find none of what opens sealed values."""
    with closing(sqlite3.connect(".saferun/saferun.db")) as connection, connection:
        connection.execute("DROP TABLE opening")
        connection.execute("CREATE TABLE opening (gone)")


def test_what_a_salvage_has_lost_is_not_called_erased(saferun: Run) -> None:
    without_openings()
    saferun("ledger", "recover", "--salvage", ".saferun/new.db")
    shown = saferun("run", "show", "r-maria", "--store", "sqlite:///.saferun/new.db").stdout
    assert 'email="[lost]"  n=5' in shown


def test_what_was_erased_before_a_salvage_lost_the_rest_may_be_either(
    saferun: Run, shell: Callable[..., CompletedProcess[bytes]]
) -> None:
    # A process of its own, so that none has the store open.
    erasing = ("ledger", "erase", "--subject", "maria", "--reason", "asked to", "--yes")
    assert shell(*erasing).returncode == 0
    without_openings()
    saferun("ledger", "recover", "--salvage", ".saferun/new.db")
    shown = saferun("run", "show", "r-maria", "--store", "sqlite:///.saferun/new.db").stdout
    assert 'email="[erased or lost]"  n=5' in shown


def test_programs_are_shown_the_same(saferun: Run) -> None:
    [told] = lines(saferun("run", "show", "r-maria", "--json"))
    assert told["frames"][0]["decision"]["args"] == {"email": EMAIL, "n": 5}
    erase(saferun, "--yes")
    [told] = lines(saferun("run", "show", "r-maria", "--json"))
    assert told["frames"][0]["outcome"]["result"] == {"city": "[erased]"}


def test_where_the_key_is_not_here_it_is_said(saferun: Run) -> None:
    Path(".saferun/keys/default.subjects.key").rename("elsewhere")
    assert 'email="[sealed]"' in saferun("run", "show", "r-maria", "--full").stdout
    doctor = saferun("doctor")
    assert doctor.exit_code == 1
    assert "kept of 1 person, and the key" in doctor.stdout


def test_a_list_of_runs_opens_nothing(saferun: Run) -> None:
    assert saferun("run", "list").exit_code == 0


def test_nothing_of_it_is_in_the_folder(saferun: Run) -> None:
    assert holding(Path(".saferun"), EMAIL, "Turku in Finland") == []
    erase(saferun, "--yes")
    assert holding(Path(".saferun"), EMAIL, "Turku in Finland") == []


def test_everybody_is_erased_at_once(saferun: Run) -> None:
    result = saferun("ledger", "erase", "--everybody", "--reason", "closing down", "--yes")
    assert (result.exit_code, "✓ erased  2 values of everybody" in result.stdout) == (0, True)
    assert 'email="[erased]"' in saferun("run", "show", "r-maria").stdout
    again = saferun("ledger", "erase", "--everybody", "--reason", "closing down", "--yes")
    assert (again.exit_code, "nothing is kept of anybody" in again.stdout) == (1, True)


@pytest.mark.parametrize(
    "whose", [(), ("--subject", "a", "--everybody"), ("--everybody", "--tenant", "t")]
)
def test_whose_it_is_has_to_be_said_once(saferun: Run, whose: tuple[str, ...]) -> None:
    result = saferun("ledger", "erase", *whose, "--reason", "asked to", "--yes")
    assert (result.exit_code, "Say whose" in result.stderr) == (64, True)


def test_a_second_time_there_is_nothing(saferun: Run) -> None:
    assert erase(saferun, "--yes").exit_code == 0
    again = erase(saferun, "--yes")
    assert again.exit_code == 1
    assert "nothing is kept of maria in runs without a tenant" in again.stdout


def test_a_dry_run_erases_nothing_and_asks_for_no_secret(saferun: Run, tmp_path: Path) -> None:
    (tmp_path / "login" / "alice.secret").unlink()
    tried = saferun("ledger", "erase", "--subject", "maria", "--dry-run", "--json")
    assert (tried.exit_code, lines(tried)[0]["kept"]) == (0, {"maria": 2})
    assert saferun("ledger", "erase", "--subject", "tom", "--dry-run").exit_code == 1
    assert EMAIL in saferun("run", "show", "r-maria").stdout


def test_a_dry_run_says_where_nothing_here_can_open_what_is_kept(
    saferun: Run, shell: Callable[..., CompletedProcess[bytes]]
) -> None:
    Path(".saferun/keys/default.subjects.key").rename("elsewhere")
    result = shell("ledger", "erase", "--subject", "maria", "--dry-run")
    assert b"nothing here can open them" in b" ".join(result.stdout.split())
    result = shell("ledger", "erase", "--subject", "maria", "--dry-run", "--json")
    assert json.loads(result.stdout)["openable"] is False


def test_programs_are_told_what_was_erased(saferun: Run) -> None:
    [told] = lines(erase(saferun, "--subject", "tom", "--yes", "--json"))
    assert (told["erased"], told["kept"], told["openings"]) == (True, {"maria": 2, "tom": 0}, 2)
    assert (len(told["entries"]), told["due"], told["tenant"]) == (1, None, None)


def test_where_nobody_can_be_asked_it_takes_a_yes(saferun: Run) -> None:
    result = erase(saferun)
    assert result.exit_code == 64
    assert "say --yes where nobody can be asked" in result.stderr
    assert EMAIL in saferun("run", "show", "r-maria").stdout


def test_it_takes_a_reason_and_the_secret_of_whoever_does_it(saferun: Run, tmp_path: Path) -> None:
    result = saferun("ledger", "erase", "--subject", "maria", "--yes")
    assert (result.exit_code, "--reason" in result.stderr) == (64, True)
    (tmp_path / "login" / "alice.secret").write_text("guessed\n")
    result = erase(saferun, "--yes")
    assert (result.exit_code, "not alice's" in result.stderr) == (64, True)
    assert EMAIL in saferun("run", "show", "r-maria").stdout


def test_where_there_is_no_store_none_is_made(saferun: Run) -> None:
    result = erase(saferun, "--yes", "--store", "sqlite:///none.db")
    assert (result.exit_code, Path("none.db").exists()) == (64, False)


def test_a_backtest_reads_what_can_be_opened_and_cannot_decide_the_rest(saferun: Run) -> None:
    def verdicts() -> list[str]:
        told = lines(saferun("policy", "backtest", "policies/shop.yaml", "--json"))
        return [each["verdict"] for each in told if "summary" not in each]

    Path("policies/shop.yaml").write_text(
        POLICY + "    rules: [{id: r, deny: true, when: args.email.endsWith('example.com')}]\n",
        encoding="utf-8",
    )
    assert verdicts() == ["deny"]
    erase(saferun, "--yes")
    assert verdicts() == ["unknown"]


def test_a_backtest_knows_of_a_run_what_was_sealed_until_it_is_erased(saferun: Run) -> None:
    Path("saferun.toml").write_text('sensitive = ["user", "context"]\n', encoding="utf-8")
    policy = Path("policies/tiers.yaml")
    policy.write_text(
        """\
version: 1
name: tiers
inputs: {user.tier: string, region: string}
tools:
  ping:
    effect: read
    args: {}
    rules: [{id: r, deny: true, when: user.tier == "gold" && region == "eu"}]
""",
        encoding="utf-8",
    )
    gate = Gate(policy="tiers")
    with gate.run(user={"id": "tom", "tier": "silver"}, context={"region": "eu"}):
        guard(lambda: None, name="ping", gate=gate)()
    gate.close()

    def verdict() -> str:
        told = lines(saferun("policy", "backtest", str(policy), "--json"))
        return str(next(each["verdict"] for each in told if each.get("tool") == "ping"))

    assert verdict() == "allow"
    assert saferun("ledger", "erase", "--subject", "tom", "--reason", "r", "--yes").exit_code == 0
    assert verdict() == "unknown"


def test_an_imported_run_is_sealed_where_the_configuration_says_so(saferun: Run) -> None:
    Path("saferun.toml").write_text('sensitive = ["prompt", "messages", "output"]\n', "utf-8")
    said = ["Hello, this is Maria Lind", "Good morning, Maria Lind"]
    run = {
        "run_id": "t-1",
        "user": {"id": "u-1"},
        "prompt": said[0],
        "messages": [
            {"role": "user", "content": said[0]},
            {"role": "assistant", "content": said[1]},
        ],
    }
    Path("trace.jsonl").write_text(json.dumps(run) + "\n", encoding="utf-8")
    assert saferun("run", "import", "trace.jsonl").exit_code == 0
    assert holding(Path(".saferun"), *said) == []
    [named] = [
        each["run_id"]
        for each in lines(saferun("run", "list", "--json"))
        if each["run_id"].startswith("import/")
    ]
    assert said[1] in saferun("run", "show", named).stdout
    assert saferun("ledger", "erase", "--subject", "u-1", "--reason", "r", "--yes").exit_code == 0
    assert said[1] not in saferun("run", "show", named).stdout


def test_doctor_says_of_how_many_it_is_kept(saferun: Run) -> None:
    assert "kept of 1 person, each under a key of their own" in " ".join(
        saferun("doctor").stdout.split()
    )
