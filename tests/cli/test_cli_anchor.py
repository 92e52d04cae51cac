"""`saferun ledger anchor`, `saferun serve`, and what doctor and verify say of places outside."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor.witnessing import listening, vkey_of
from cli.project import PEOPLE, lines, live
from saferun.store import Reader, Store
from saferun.store.anchors import anchored


@pytest.fixture
def servers(history, database):
    """Two witnesses that know the ledger."""
    with Reader(database) as reader:
        signer = reader.signer()
    with (
        listening(name="w1.test", seed=b"1" * 32) as one,
        listening(name="w2.test", seed=b"2" * 32) as two,
    ):
        for server in (one, two):
            server.logs[signer.name] = signer.vkey()
        yield one, two


def configure(servers, *more: str) -> None:
    tables = [
        f'[anchors.witness.w{number}]\nurl = "{server.url}"\nkey = "{server.vkey}"\n'
        for number, server in enumerate(servers, 1)
    ]
    first = [each for each in more if not each.startswith("[")]
    rest = [each for each in more if each.startswith("[")]
    file = Path("saferun.toml")
    text = 'durability = "process"\n[anchors]\n' + "\n".join([*first, *tables, *rest, PEOPLE])
    file.write_text(text, "utf-8")
    file.chmod(0o600)
    with Reader(Path(".saferun/saferun.db")) as reader:
        Path("kept.key").write_text(reader.named_keys().vkey or "", "utf-8")
    Path("keys.txt").write_text("\n".join(server.vkey for server in servers) + "\n", "utf-8")


def dead(server) -> None:
    server.shutdown()
    server.server_close()


def test_all_places_taken_exits_0_and_is_shown(saferun, servers) -> None:
    Path("outside").mkdir()
    configure(servers, '[anchors.folder.share]\npath = "outside"\n')
    result = saferun("ledger", "anchor")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("12 entries of saferun/default/")
    assert "✓ witness  w1     12 entries, " in result.stdout
    assert "✓ folder   share  12 entries, " in result.stdout
    assert len(list(Path("outside").iterdir())) == 1


def test_for_programs_it_is_one_document(saferun, servers) -> None:
    configure(servers)
    [told] = lines(saferun("ledger", "anchor", "--json"))
    assert (told["size"], told["done"], told["quorum"]) == (12, True, None)
    assert [(each["name"], each["kind"], each["size"]) for each in told["places"]] == [
        ("w1", "witness", 12),
        ("w2", "witness", 12),
    ]


def test_a_place_that_is_down_exits_2(saferun, servers) -> None:
    configure(servers)
    dead(servers[1])
    result = saferun("ledger", "anchor")
    assert result.exit_code == 2
    assert "✓ witness  w1" in result.stdout
    assert "! witness  w2  nothing yet" in result.stdout


def test_a_quorum_is_enough(saferun, servers) -> None:
    configure(servers, "quorum = 1")
    dead(servers[1])
    assert saferun("ledger", "anchor").exit_code == 0


def cut(database: Path, size: int) -> None:
    """What somebody does who owns the store: the end goes, and nothing in the store says so."""
    from saferun.ledger import Frontier

    forger = sqlite3.connect(database)
    with forger:
        frontier = Frontier()
        for (leaf,) in forger.execute(
            "SELECT leaf FROM entry WHERE seq < ? ORDER BY seq", (size,)
        ).fetchall():
            frontier.append(leaf)
        forger.execute("DELETE FROM entry WHERE seq >= ?", (size,))
        forger.execute("DELETE FROM checkpoint")
        forger.execute("DELETE FROM anchor")
        forger.execute(
            "UPDATE head SET size = ?, frontier = ? WHERE seq = -1", (size, frontier.encode())
        )
    forger.close()
    (database.parent / "keys" / "default.checkpoint").unlink(missing_ok=True)


def test_a_ledger_behind_what_a_place_has_exits_1_even_with_a_quorum(
    saferun, servers, database
) -> None:
    configure(servers, "quorum = 1")
    saferun("ledger", "anchor", "w1")
    cut(database, 9)
    result = saferun("ledger", "anchor")
    assert result.exit_code == 1
    said = " ".join(result.stdout.split())
    assert "It has seen 12 entries, and this ledger has 9: the tail was cut off" in said
    assert "✕ witness  w1" in result.stdout
    found = saferun("doctor")
    assert found.exit_code == 1
    assert "It has seen 12 entries" in " ".join(found.stdout.split())


def test_some_places_can_be_gone_to_alone(saferun, servers) -> None:
    configure(servers)
    [told] = lines(saferun("ledger", "anchor", "w2", "--json"))
    assert [each["name"] for each in told["places"]] == ["w2"]
    assert servers[0].heard == []


def test_a_name_that_is_none_is_told_with_what_it_may_mean(saferun, servers) -> None:
    configure(servers)
    result = saferun("ledger", "anchor", "W1")
    assert result.exit_code == 64
    assert "There is no place 'W1'; did you mean 'w1'" in result.stderr


def test_without_a_place_it_says_where_to_name_one(saferun, history) -> None:
    result = saferun("ledger", "anchor")
    assert result.exit_code == 64
    assert "name " in result.stderr
    assert "[anchors]" in result.stderr


def test_what_a_place_says_cannot_move_the_cursor(saferun, servers) -> None:
    script = "import sys; print('\\x1b[2Jgone', file=sys.stderr); sys.exit(1)"
    command = json.dumps([sys.executable, "-c", script])
    configure((), f"[anchors.command.bucket]\ncommand = {command}\n")
    result = saferun("ledger", "anchor")
    assert result.exit_code == 2
    assert "\x1b" not in result.stdout
    assert "gone" in result.stdout


# Verification by witnesses.

VERIFY = ("ledger", "verify", "--witness", "keys.txt", "--vkey", "kept.key")


def test_a_quorum_of_witnesses_vouches_although_the_note_lies_beside_the_store(
    saferun, servers
) -> None:
    configure(servers)
    saferun("ledger", "anchor")
    live("r-later")
    result = saferun(*VERIFY)
    assert result.exit_code == 0
    assert "anchored  12 by witnesses" in result.stdout
    assert "past it   11 entries" in result.stdout
    assert "2 witnesses vouch for it, and it takes 2" in result.stdout
    [told] = lines(saferun(*VERIFY, "--json"))
    assert (told["quorum"], told["anchored"]) == (2, 12)
    assert [each["name"] for each in told["witnesses"]] == ["w1.test", "w2.test"]


def test_too_few_witnesses_leave_it_unanchored(saferun, servers) -> None:
    configure(servers)
    saferun("ledger", "anchor", "w1")
    result = saferun(*VERIFY)
    assert result.exit_code == 2
    assert "1 witness vouches for it, and it takes 2" in result.stdout
    assert saferun(*VERIFY, "--quorum", "1").exit_code == 0


def test_the_signing_key_is_not_needed_where_witnesses_vouch(saferun, servers, database) -> None:
    configure(servers)
    saferun("ledger", "anchor")
    (database.parent / "keys" / "default.signing.key").unlink()
    assert saferun(*VERIFY).exit_code == 0


def test_another_ledger_that_the_same_witnesses_know_is_not_this_one(
    saferun, servers, database, tmp_path
) -> None:
    configure(servers)
    saferun("ledger", "anchor")
    other = tmp_path / "other" / "other.db"
    Store(f"sqlite:///{other}").close()
    with Reader(other) as reader:
        signer = reader.signer()
    for server in servers:
        server.logs[signer.name] = signer.vkey()
    elsewhere = ("--store", f"sqlite:///{other}")
    saferun("ledger", "anchor", *elsewhere)
    result = saferun("ledger", "verify", "--witness", "keys.txt", *elsewhere)
    assert (result.exit_code, result.stdout) == (64, "")
    assert "Witnesses vouch for every ledger that they know" in result.stderr
    assert saferun(*VERIFY, *elsewhere).exit_code == 64


def test_a_rewrite_under_a_witnessed_checkpoint_is_found(saferun, servers, database) -> None:
    configure(servers)
    saferun("ledger", "anchor")
    forger = sqlite3.connect(database)
    with forger:
        # As thorough as can be: leaves and head fit again, and its own checkpoints are gone.
        from saferun.ledger import Frontier, leaf_hash

        frontier = Frontier()
        for seq, body in forger.execute("SELECT seq, body FROM entry ORDER BY seq").fetchall():
            body = body.replace(b"450000", b"4500")
            frontier.append(leaf_hash(body))
            forger.execute(
                "UPDATE entry SET body = ?, leaf = ? WHERE seq = ?", (body, leaf_hash(body), seq)
            )
        forger.execute("UPDATE head SET frontier = ? WHERE seq = -1", (frontier.encode(),))
        forger.execute("DELETE FROM checkpoint")
    forger.close()
    (database.parent / "keys" / "default.checkpoint").unlink()
    assert saferun("ledger", "verify").exit_code == 2
    result = saferun(*VERIFY)
    assert result.exit_code == 1
    assert "not those that the external checkpoint" in " ".join(result.stdout.split())
    assert saferun("ledger", "anchor").exit_code == 1


def test_a_checkpoint_file_with_cosignatures_counts_by_the_witnesses_keys(
    saferun, servers, database
) -> None:
    configure(servers)
    saferun("ledger", "anchor")
    with Reader(database) as reader:
        Path("kept.note").write_bytes(anchored(reader)[0].note)
    forger = sqlite3.connect(database)
    with forger:
        forger.execute("DELETE FROM anchor")
    forger.close()
    (database.parent / "keys" / "default.signing.key").unlink()
    verify = (*VERIFY, "--quorum", "1")
    assert saferun(*verify).exit_code == 2
    assert saferun(*verify, "--checkpoint", "kept.note").exit_code == 0


def test_a_note_beside_the_store_whose_cosignature_does_not_fit_is_a_finding(
    saferun, servers, database
) -> None:
    configure(servers)
    saferun("ledger", "anchor")
    forger = sqlite3.connect(database)
    with forger:
        forger.execute(
            "UPDATE anchor SET note = CAST(replace(CAST(note AS TEXT), x'0A' || '12' || x'0A',"
            " x'0A' || '11' || x'0A') AS BLOB)"
        )
    forger.close()
    result = saferun(*VERIFY)
    assert result.exit_code == 1
    assert "does not open" in result.stdout


@pytest.mark.parametrize(
    ("keys", "options", "said"),
    [
        ("", (), "holds no key"),
        ("hello", (), "holds no keys of witnesses"),
        (vkey_of("w", b"w" * 32, kind=1), (), "holds no keys of witnesses"),
        (vkey_of("w", b"w" * 32), ("--quorum", "2"), "--quorum is 1 to 1"),
        (vkey_of("w", b"w" * 32), ("--quorum", "0"), "--quorum is 1 to 1"),
        (f"{vkey_of('v', b'w' * 32)}\n{vkey_of('w', b'w' * 32)}", ("--quorum", "2"), "is 1 to 1"),
    ],
)
def test_witnesses_that_are_none_are_a_mistake_and_no_finding(
    saferun, history, keys, options, said
) -> None:
    Path("keys.txt").write_text(keys, "utf-8")
    result = saferun("ledger", "verify", "--witness", "keys.txt", *options)
    assert (result.exit_code, result.stdout) == (64, "")
    assert said in result.stderr


def test_a_quorum_without_witnesses_is_a_mistake(saferun, history) -> None:
    assert saferun("ledger", "verify", "--quorum", "1").exit_code == 64


def test_the_ledgers_own_key_in_a_witnesss_clothes_is_no_witness(
    saferun, history, database
) -> None:
    with Reader(database) as reader:
        signer = reader.signer()
    import base64

    seed = base64.b64decode((database.parent / "keys" / "default.signing.key").read_text())
    Path("keys.txt").write_text(vkey_of(signer.name, seed), "utf-8")
    result = saferun("ledger", "verify", "--witness", "keys.txt")
    assert result.exit_code == 64
    assert "the ledger's own key" in result.stderr


# doctor


def checks(saferun) -> list[tuple[str, str]]:
    [told] = lines(saferun("doctor", "--json"))
    return [
        (each["state"], each["found"])
        for each in told["checks"]
        if each["name"] in ("anchor", "anchored")
    ]


def test_doctor_says_how_far_each_place_is_and_what_is_past_all_of_them(saferun, servers) -> None:
    configure(servers)
    assert [state for state, _ in checks(saferun)] == ["warning", "warning", "ok"]
    saferun("ledger", "anchor", "w1")
    dead(servers[1])
    saferun("ledger", "anchor", "w2")
    live("r-later")
    one, two, newest = checks(saferun)
    assert one[0] == "ok"
    assert one[1].startswith("witness w1 has 12 entries, ")
    assert two[0] == "warning"
    assert two[1].startswith("witness w2 has nothing. It could not be reached")
    assert newest == ("ok", "12 of 23 outside; 11 entries are past that")


def test_doctor_holds_what_is_remembered_of_a_place_against_its_note(
    saferun, servers, database
) -> None:
    configure(servers[:1])
    saferun("ledger", "anchor")
    with sqlite3.connect(database) as forger:
        forger.execute("UPDATE anchor SET size = 4000")
    forger.close()
    one, newest = checks(saferun)
    assert one[0] == "error"
    assert "the note that it took is not of the 4,000 entries remembered" in one[1]
    assert newest[1].startswith("0 of 12 outside")


def test_doctor_does_not_say_of_a_place_that_it_was_never_gone_to(
    saferun, servers, database
) -> None:
    configure(servers[:1])
    saferun("ledger", "anchor")
    # As in a copy from before that.
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM anchor")
    connection.close()
    assert checks(saferun)[0] == ("warning", "witness w1: this store remembers no visit to it")


def test_doctor_warns_of_a_place_that_is_three_visits_behind(saferun, servers, database) -> None:
    configure(servers[:1])
    saferun("ledger", "anchor")
    forger = sqlite3.connect(database)
    with forger:
        forger.execute("UPDATE anchor SET time = time - 181000000")
    forger.close()
    assert checks(saferun)[0][0] == "ok"
    live("r-later")
    assert checks(saferun)[0][0] == "warning"


def test_doctor_says_what_is_wrong_with_a_place(saferun, servers) -> None:
    configure((), '[anchors.witness.w1]\nurl = "http://example.com"\nkey = "x"\n')
    [(state, found)] = checks(saferun)
    assert state == "error"
    assert "[anchors.witness.w1] url is 'http://example.com'; use https" in found


# serve


@contextlib.contextmanager
def serving(*options: str) -> Iterator["subprocess.Popen[str]"]:
    """`saferun serve`, which is over when its block is, whatever has become of that."""
    command = [sys.executable, "-m", "saferun", "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_serve_goes_to_all_places_and_once_more_before_it_ends(saferun, servers, told) -> None:
    configure(servers, 'every = "1h"')
    with serving("--json") as process:
        assert process.stdout is not None
        console, begun, first = (json.loads(process.stdout.readline()) for _ in range(3))
        assert console["url"].startswith("http://127.0.0.1:")
        assert (begun["event"], begun["places"]) == ("begun", ["w1", "w2"])
        assert (first["event"], first["size"], first["done"]) == ("anchored", 12, True)
        live("r-later")
        process.send_signal(told)
        out, err = process.communicate(timeout=60)
    last, ended = map(json.loads, out.splitlines())
    assert (last["event"], last["size"], ended["event"]) == ("anchored", 23, "ended")
    assert (process.returncode, err) == (0, "")
    assert servers[0].seen.popitem()[1][0] == 23


def test_serve_goes_on_where_a_place_is_down_and_where_the_store_is_not_well(
    saferun, servers, database
) -> None:
    configure(servers, 'every = "1s"')
    dead(servers[1])
    key = database.parent / "keys" / "default.signing.key"
    with serving("--json") as process:
        assert process.stdout is not None
        seen = []

        def until(event: str, **about: object) -> None:
            while True:
                told = json.loads(process.stdout.readline())
                seen.append(told["event"])
                if told["event"] == event and about.items() <= told.items():
                    return

        until("anchored", done=False)
        key.rename(key.with_suffix(".away"))
        until("failed")
        key.with_suffix(".away").rename(key)
        until("anchored", done=False)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_serve_for_people_says_a_line_for_each_event(saferun, servers) -> None:
    configure(servers[:1], 'every = "1h"')
    with serving() as process:
        assert process.stdout is not None
        begun = next(line for line in process.stdout if "serving" in line)
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    assert "serving 1 place, every 1h; Ctrl-C ends it" in begun
    assert "✓ witness w1 has 12 entries" in first
    assert rest.splitlines()[-1].endswith("✓ ended")


def test_serve_that_is_killed_leaves_nothing_in_the_way(saferun, servers) -> None:
    configure(servers, 'every = "1s"')
    with serving("--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    assert saferun("ledger", "anchor").exit_code == 0
