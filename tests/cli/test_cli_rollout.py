"""Publishing by hand: whose secret it takes, what is refused, and what workers then do."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from saferun import Call, Gate
from saferun.cli import Commands
from saferun.cli.login import login
from saferun.cli.policy import rollout
from saferun.cli.policy.signing import key

ALLOWS = "version: 1\nname: shop\ndefault: allow\n"
DENIES = "version: 1\nname: shop\ndefault: deny\n"

app = typer.Typer(cls=Commands)
for command in (rollout.publish, rollout.promote, rollout.rollback, rollout.versions, login, key):
    app.command()(command)
app.command(name="diff")(rollout.live_difference)

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SAFERUN_LOGIN", str(tmp_path / "login"))
    monkeypatch.setenv("SAFERUN_POLICIES", "store")
    Path("policies").mkdir()
    Path("policies/shop.yaml").write_text(ALLOWS)

    def call(*args: str, **how: Any) -> Result:
        return CliRunner().invoke(app, list(args), **how)

    return call


@pytest.fixture
def alice(run: Run) -> Run:
    assert run("login", "alice", "--new").exit_code == 0
    return run


def say(text: str) -> None:
    Path("policies/shop.yaml").write_text(text)


def verdict() -> str:
    return Gate(policy="shop").check(Call(tool="refund", args={})).verdict


def test_what_is_published_decides(alice: Run) -> None:
    assert alice("publish", "shop").exit_code == 0
    say(DENIES)
    assert verdict() == "allow"
    assert alice("publish", "shop").exit_code == 0
    assert verdict() == "deny"


def test_publishing_takes_a_secret(run: Run) -> None:
    refused = run("publish", "shop")
    assert refused.exit_code == 64
    assert "nobody is logged in here" in refused.stderr


def test_somebody_elses_secret_does_not_do(alice: Run, tmp_path: Path) -> None:
    assert alice("login", "bob", "--new").exit_code == 0
    folder = tmp_path / "login"
    (folder / "bob.secret").write_bytes((folder / "alice.secret").read_bytes())
    refused = alice("publish", "shop", "--as", "bob")
    assert refused.exit_code == 64
    assert "not bob's" in refused.stderr


def test_a_secret_is_readable_by_its_owner_alone_and_never_printed(
    run: Run, tmp_path: Path
) -> None:
    said = run("login", "alice", "--new")
    file = tmp_path / "login" / "alice.secret"
    secret = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret not in said.output
    assert secret.encode() not in Path(".saferun/saferun.db").read_bytes()


def test_a_secret_that_others_can_read_is_not_used(alice: Run, tmp_path: Path) -> None:
    (tmp_path / "login" / "alice.secret").chmod(0o644)
    refused = alice("publish", "shop")
    assert refused.exit_code == 64
    assert "chmod 600" in refused.stderr


def test_nobody_takes_a_known_persons_name_by_a_new_secret(alice: Run, tmp_path: Path) -> None:
    (tmp_path / "login" / "alice.secret").unlink()
    assert alice("login", "alice", "--new").exit_code == 64
    assert alice("login", "alice", input="guessed\n").exit_code == 64
    assert not (tmp_path / "login" / "alice.secret").exists()


@pytest.mark.parametrize("name", ["../alice", "", "a/b", "a" * 65])
def test_a_persons_name_is_never_a_path(run: Run, name: str) -> None:
    assert run("login", name, "--new").exit_code == 64


def test_a_policy_that_fails_its_check_is_not_published(alice: Run) -> None:
    say("version: 1\nnmae: shop\n")
    refused = alice("publish", "shop")
    assert refused.exit_code == 64
    assert "Nothing was published" in refused.stderr


def test_a_policy_that_fails_a_test_is_not_published(alice: Run) -> None:
    Path("policies/shop.test.yaml").write_text(
        "cases: [{name: refunds are shut, call: {tool: refund, args: {}}, expect: deny}]"
    )
    refused = alice("publish", "shop")
    assert refused.exit_code == 64
    assert "refunds are shut" in refused.stderr


def test_a_candidate_is_promoted_and_rolled_back(alice: Run) -> None:
    alice("publish", "shop")
    say(DENIES)
    assert alice("publish", "shop", "--shadow").exit_code == 0
    assert verdict() == "allow"
    assert alice("promote", "shop").exit_code == 0
    assert verdict() == "deny"
    assert alice("rollback", "shop").exit_code == 0
    assert verdict() == "allow"


def test_versions_tell_what_decides_and_who_said_so(alice: Run) -> None:
    alice("publish", "shop")
    say(DENIES)
    alice("publish", "shop", "--canary", "10%")
    told = json.loads(alice("versions", "shop", "--json").stdout)
    assert [(row["state"], row["share"]) for row in told["versions"]] == [
        ("live", None),
        ("canary", 10),
    ]
    assert {row["published_by"] for row in told["versions"]} == {"alice"}
    assert "canary 10%" in alice("versions").stdout


@pytest.mark.parametrize("share", ["0%", "100%", "-5%", "ten", "5.5.5"])
def test_a_share_is_a_percentage_below_all(alice: Run, share: str) -> None:
    alice("publish", "shop")
    say(DENIES)
    assert alice("publish", "shop", f"--canary={share}").exit_code == 64


def test_a_rollback_may_name_its_version_by_its_first_digits(alice: Run) -> None:
    first = json.loads(alice("publish", "shop", "--json").stdout)["live"]
    say(DENIES)
    alice("publish", "shop")
    assert json.loads(alice("rollback", "shop", first[:8], "--json").stdout)["live"] == first
    assert alice("rollback", "shop", "ffffffffff").exit_code == 64


def test_the_difference_of_a_candidate_is_summed_up(alice: Run) -> None:
    alice("publish", "shop")
    say(DENIES)
    alice("publish", "shop", "--shadow")
    assert alice("diff", "shop").exit_code == 0
    assert verdict() == "allow"
    found = alice("diff", "shop", "--json")
    assert found.exit_code == 1
    [difference] = json.loads(found.stdout)["differences"]
    assert (difference["live"], difference["candidate"], difference["calls"]) == (
        "allow",
        "deny",
        1,
    )
    assert "would be denied" in alice("diff", "shop").stdout


def test_workers_with_a_key_follow_what_it_signed(
    alice: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    vkey = alice("key", "publish.key").stdout.strip()
    monkeypatch.setenv("SAFERUN_POLICY_KEY", vkey)
    assert alice("publish", "shop").exit_code == 64
    assert alice("publish", "shop", "--sign", "publish.key").exit_code == 0
    assert verdict() == "allow"
    assert stat.S_IMODE(Path("publish.key").stat().st_mode) == 0o600


def test_doctor_tells_of_what_a_worker_would_not_follow(
    alice: Run, saferun: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice("publish", "shop")
    monkeypatch.setenv("SAFERUN_POLICY", "shop")
    assert "shop @" in saferun("doctor", "--json").stdout
    monkeypatch.setenv("SAFERUN_POLICY_KEY", alice("key", "publish.key").stdout.strip())
    told = saferun("doctor", "--json")
    assert told.exit_code == 1
    assert "not signed as `policy_key` demands" in told.stdout
