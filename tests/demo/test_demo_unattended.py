"""The demo in scripts: with `--yes`, and with nobody there at all."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from demo.playing import ENVIRONMENT, Played, play
from saferun.ledger import Verifier, open_checkpoint

FORTY, TWO_FIFTY = ("A-1017", 4_000), ("A-1031", 25_000)


@pytest.fixture(scope="module")
def with_yes(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(tmp_path_factory.mktemp("yes"), "--yes")


@pytest.fixture(scope="module")
def with_nobody(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(tmp_path_factory.mktemp("nobody"))


def test_with_yes_everything_comes_out_as_it_must(with_yes):
    assert with_yes.code == 0, with_yes.said


def test_the_small_refund_is_allowed_and_paid(with_yes):
    assert "✓ allowed" in with_yes.row(4)
    assert "$40.00 on A-1017" in with_yes.row(4)
    assert with_yes.refunds[0] == FORTY


def test_the_large_refund_is_denied_by_its_rule_and_never_paid(with_yes):
    row = with_yes.row(5)
    assert "✕ denied" in row
    assert "$4,500.00 on A-1042" in row
    assert "refund-cap" in row
    assert "A-1042" not in [order for order, _ in with_yes.refunds]


def test_an_argument_that_is_not_allowed_is_denied_by_name(with_yes):
    row = with_yes.row(6)
    assert "✕ denied" in row
    assert "approved_by_manager=true" in row
    assert "`approved_by_manager` is not an argument" in row


def test_with_yes_the_refund_that_asks_is_approved_and_paid(with_yes):
    row = with_yes.row(7)
    assert "? asked" in row
    assert "✓ approved" in row
    assert "big-refund" in row
    assert with_yes.refunds == [FORTY, TWO_FIFTY]


def test_twelve_mails_reach_the_lead_each_worded_differently(with_yes):
    mails = with_yes.mails
    assert {to for to, _, _ in mails} == {"dana@maple.test"}
    assert len(mails) == len({subject for _, subject, _ in mails}) == 12
    assert len({text for _, _, text in mails}) == 12
    assert "and 11 more to the same lead" in with_yes.row(8)


def test_the_thirteenth_mail_is_stopped_by_the_limit(with_yes):
    assert "✕ denied" in with_yes.row(20)
    assert "mails-per-lead" in with_yes.row(20)
    assert "Ten percent, for you alone" not in [subject for _, subject, _ in with_yes.mails]


def test_the_note_is_saved(with_yes):
    assert "✓ allowed" in with_yes.row(21)
    note = (with_yes.folder / "shop/files/hand-over.md").read_text(encoding="utf-8")
    assert note.startswith("# For the night shift")


def test_the_tools_own_state_is_shown_as_proof(with_yes):
    assert "2 refunds: $40.00 on A-1017, $250.00 on A-1031" in with_yes.said
    assert "12 mails to dana@maple.test" in with_yes.said
    assert "1 file: hand-over.md" in with_yes.said


def test_the_ledger_verifies_against_the_checkpoint_that_was_kept_outside(with_yes):
    outside = with_yes.folder / "kept-outside"
    key = Verifier((outside / "vkey").read_text(encoding="ascii").strip())
    checkpoint = open_checkpoint((outside / "checkpoint").read_bytes(), [key], origin=key.name)
    assert f"the {checkpoint.size} entries are those" in with_yes.said
    assert " exit 0" in with_yes.said.splitlines()


def test_the_commands_to_try_next_can_be_run_as_they_stand(with_yes):
    _, _, after = with_yes.said.partition(" Try next\n")
    for line in after.replace("\\\n", "").splitlines()[:2]:
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "saferun"]
        done = subprocess.run(
            [sys.executable, *words[1:], "--json"],
            cwd=with_yes.folder.parent,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert b"tickets-311" in done.stdout


def test_nothing_printed_is_wider_than_80_columns_or_ends_in_spaces(with_yes, with_nobody):
    for line in [*with_yes.said.splitlines(), *with_nobody.said.splitlines()]:
        assert len(line) <= 80
        assert line == line.rstrip()


def test_where_nobody_can_be_asked_the_call_is_denied_at_once_and_the_demo_goes_on(with_nobody):
    assert with_nobody.code == 0, with_nobody.said
    row = with_nobody.row(7)
    assert "✕ denied" in row
    assert "$250.00 on A-1031" in row
    assert "no terminal to ask in" in " ".join(row.split())
    assert with_nobody.refunds == [FORTY]
    assert len(with_nobody.mails) == 12


def test_a_second_run_begins_everything_anew(tmp_path):
    play(tmp_path, "--yes")
    again = play(tmp_path)
    assert again.code == 0, again.said
    assert again.refunds == [FORTY]
    assert len(again.mails) == 12


def test_a_policy_that_was_edited_is_kept_and_decides(tmp_path):
    play(tmp_path)
    policy = tmp_path / "demo-out/policies/support.yaml"
    edited = policy.read_text(encoding="utf-8").replace("max: 12", "max: 3")
    policy.write_text(edited, encoding="utf-8")
    again = play(tmp_path)
    assert again.code == 0, again.said
    assert "as you have edited it" in again.said
    assert len(again.mails) == 3
    assert policy.read_text(encoding="utf-8") == edited


def test_a_policy_that_was_broken_is_named_with_its_line(tmp_path):
    play(tmp_path)
    policy = tmp_path / "demo-out/policies/support.yaml"
    policy.write_text("version: 1\ntoolz: {}\n", encoding="utf-8")
    again = play(tmp_path)
    assert again.code == 64
    assert "support.yaml:2:" in again.said


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path):
    (tmp_path / "demo-out").mkdir()
    mine = tmp_path / "demo-out/thesis.txt"
    mine.write_text("mine", encoding="utf-8")
    refused = play(tmp_path, "--yes")
    assert refused.code == 64
    assert "demo-out has something in it that no demo made" in refused.said
    assert [*(tmp_path / "demo-out").iterdir()] == [mine]


def test_another_folder_can_be_named(tmp_path):
    played = play(tmp_path, "--yes", "--folder", "elsewhere")
    assert played.code == 0, played.said
    assert (tmp_path / "elsewhere/kept-outside/checkpoint").is_file()
    assert not played.folder.exists()
    assert "demo --folder elsewhere" in played.said


def test_nothing_that_is_configured_where_the_user_stands_counts(tmp_path):
    (tmp_path / "saferun.toml").write_text('store = "sqlite:///mine.db"\n', encoding="utf-8")
    played = play(tmp_path, "--yes")
    assert played.code == 0, played.said
    assert not (tmp_path / "mine.db").exists()
