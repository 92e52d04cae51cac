"""Configuration: which file, which value wins, and what a mistake is told."""

import os
from pathlib import Path

import pytest

from saferun import config
from saferun.errors import ConfigError


def write(folder: Path, text: str, name: str = "saferun.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    found = config.load(tmp_path / "empty", {})
    assert found.file is None
    assert found.store == f"sqlite:///{tmp_path}/empty/.saferun/saferun.db"
    assert (found.durability, found.policy, found.ledger) == ("full", None, "default")


def test_the_nearest_file_upwards_counts(tmp_path: Path) -> None:
    write(tmp_path, 'policy = "far"')
    near = write(tmp_path / "project", 'policy = "near"')
    below = near / "src" / "agent"
    below.mkdir(parents=True)
    assert config.load(below, {}).policy == "near"


def test_pyproject_counts_where_it_has_a_section_of_ours(tmp_path: Path) -> None:
    write(tmp_path, '[tool.saferun]\npolicy = "outer"', "pyproject.toml")
    inner = write(tmp_path / "inner", "[tool.other]\nx = 1", "pyproject.toml")
    assert config.load(inner, {}).policy == "outer"


def test_paths_are_meant_from_the_files_folder(tmp_path: Path) -> None:
    write(tmp_path, 'store = "sqlite:///data/a.db"\npolicies = "rules"')
    below = tmp_path / "deep"
    below.mkdir()
    found = config.load(below, {})
    assert found.store == f"sqlite:///{tmp_path}/data/a.db"
    assert found.policies == tmp_path / "rules"
    assert found.policy_file("production") == tmp_path / "rules" / "production.yaml"
    assert found.policy_file("/etc/p.yaml") == Path("/etc/p.yaml")


def test_places_for_checkpoints_are_read_with_their_paths_absolute(tmp_path: Path) -> None:
    write(tmp_path, '[anchors]\nevery = "2h"\n[anchors.folder.share]\npath = "mnt"\n')
    found = config.load(tmp_path, {}).anchors
    assert (found.names, found.seconds, found.quorum) == (["share"], 7_200, None)
    assert found.folder["share"].path == f"{tmp_path}/mnt"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, 'policy = "file"\ndurability = "full"\n[approval]\ntimeout = 5\n')
    environ = {
        "SAFERUN_POLICY": "environment",
        "SAFERUN_DURABILITY": "process",
        "SAFERUN_APPROVAL": "terminal",
        "SAFERUN_STORE": "sqlite:////srv/s.db",
        "SAFERUN_LEDGER": "prod",
        "SAFERUN_POLICIES": "/etc/policies",
    }
    found = config.load(tmp_path, environ)
    assert (found.policy, found.durability, found.ledger) == ("environment", "process", "prod")
    assert (found.store, found.policies) == ("sqlite:////srv/s.db", Path("/etc/policies"))
    assert (found.approval.default, found.approval.timeout) == ("terminal", 5.0)


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    write(tmp_path / "other", 'policy = "named"', "agents.toml")
    found = config.load(tmp_path, {"SAFERUN_CONFIG": "other/agents.toml"})
    assert found.policy == "named"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("polices = 'x'", "did you mean 'policies'?"),
        ("durability = 'some'", "Invalid enum value 'some'"),
        ("policy = 3", "Expected `str"),
        ("policy = ", "is not valid TOML"),
        ("ledger = 'Prod Ledger'", "use 1 to 64 of a-z 0-9 . _ -"),
        ("[anchors]\nquorom = 2", "did you mean 'quorum'?"),
        ("[anchors.witness.w1]\nurl = 'x'\nkye = 'y'", "unknown field `kye`"),
        ("[anchors.witness.w1]\nurl = 'x'", "missing required field `key`"),
        ("[anchors.witness.'W 1']\nurl = 'x'\nkey = 'y'", "matching regex"),
        ("[anchors]\nquorum = 0", "`int` >= 1"),
        ("[anchors]\nquorum = 1", "quorum is 1, and there are 0 witnesses"),
        ("[anchors]\nevery = '0s'", "every is '0s'; write a number and s, m, h or d"),
        ("[anchors]\nevery = '32d'", "of at most 31 days"),
        ("[anchors]\nevery = 60", "Expected `str"),
        ("[anchors.command.a]\ncommand = 'rm -rf'", "Expected `array`"),
        ("[anchors.command.a]\ncommand = []", "length >= 1"),
        ("[anchors.command.a]\ncommand = ['x']\ntimeout = 0", "`float` > 0"),
        ("[anchors.folder.a]\npath='x'\n[anchors.command.a]\ncommand=['x']", "are called 'a'"),
        ("[approval.pigeon]\nchannel = 'x'", "unknown field `pigeon`"),
        ("store = 'postgresql://u:secret@h/db'", "keeps its store in SQLite"),
        ("store = 'sqlite:///'", "written sqlite:///FOLDER/FILE.db"),
        ("approval = 'terminal'", "Expected `object`, got `str` - at `$.approval`"),
        ("[approval]\ntimout = 5", "did you mean 'timeout'?"),
        ("[people.dana]\nemial = 'd@x.test'", "did you mean 'email'?"),
        ("[people.dana]\n[people.Dana]", "'dana' and 'Dana' have names that look the same"),
        (
            "[people.dana]\n[groups]\nlead = ['Dana']",
            "'dana' and 'Dana' have names that look the same",
        ),
        ("[groups]\nlead = ['erin', 'Erin']", "'erin' and 'Erin' have names that look the same"),
        ('[people.dana]\n[people."da\\u200Bna"]', "'dana' and 'da\\u200bna' have names"),
        ("[approval]\ntimeout = 0", "Expected `float` > 0.0"),
        ("[approval]\ntimeout = nan", "Expected `float` > 0.0"),
        ("[approval]\ntimeout = inf", "Expected `float` <= 31536000.0"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_without_secrets(
    tmp_path: Path, text: str, said: str
) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigError) as wrong:
        config.load(tmp_path, {})
    assert said in str(wrong.value)
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize(
    ("said", "origin"),
    [
        ("https://saferun.example", "https://saferun.example"),
        ("https://SafeRun.Example:443/", "https://saferun.example"),
        ("https://saferun.example:8443", "https://saferun.example:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://127.0.0.1:7391", "http://127.0.0.1:7391"),
        ("http://[::1]:80/", "http://[::1]"),
    ],
)
def test_the_address_of_the_console_is_kept_as_browsers_write_it(
    tmp_path: Path, said: str, origin: str
) -> None:
    write(tmp_path, f"[approval]\nurl = '{said}'")
    assert config.load(tmp_path, {}).approval.url == origin


@pytest.mark.parametrize(
    "said",
    [
        "http://saferun.example",
        "https://saferun.example/console",
        "https://dana:secret@saferun.example",
        "https://saferun.example?a=b",
        "https://saferun.example#a",
        "https://saferun.example:99999",
        "https://",
        "saferun.example",
        "javascript:alert(1)",
        "https://saferun.example\\\\@evil.example",
        "https://a b.example",
        "https://[::1",
        "",
    ],
)
def test_an_address_of_the_console_that_is_more_or_other_is_told(tmp_path: Path, said: str) -> None:
    write(tmp_path, f'[approval]\nurl = "{said}"')
    with pytest.raises(ConfigError, match=r"\[approval\] url is") as wrong:
        config.load(tmp_path, {})
    assert "dana:secret" not in str(wrong.value)


def test_a_file_that_is_a_pipe_is_read_and_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.write(writing, b'policy = "piped"')
    os.close(writing)
    assert config.load(tmp_path, {"SAFERUN_CONFIG": f"/dev/fd/{reading}"}).policy == "piped"
    os.close(reading)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("saferun.files.PATIENCE", 0.01)
    with pytest.raises(ConfigError, match="pipe cannot be read: it is no ordinary file"):
        config.load(tmp_path, {"SAFERUN_CONFIG": "pipe"})


def test_a_file_that_is_too_large_is_told(tmp_path: Path) -> None:
    write(tmp_path, "#" * (1 << 20) + "\n")
    with pytest.raises(ConfigError, match="it has more than 1,048,576 bytes"):
        config.load(tmp_path, {})


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "saferun.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path, {})


def test_a_mistake_of_the_environment_is_told_by_its_variable(tmp_path: Path) -> None:
    write(tmp_path, 'durability = "full"')
    with pytest.raises(ConfigError, match=r"^SAFERUN_DURABILITY: Invalid enum value 'fast'"):
        config.load(tmp_path, {"SAFERUN_DURABILITY": "fast"})


def test_a_channel_of_the_environment_does_not_hide_a_mistake_in_the_file(tmp_path: Path) -> None:
    write(tmp_path, "approval = 'terminal'")
    with pytest.raises(ConfigError, match="got `str`"):
        config.load(tmp_path, {"SAFERUN_APPROVAL": "terminal"})


def test_a_variable_that_is_empty_counts_as_unset(tmp_path: Path) -> None:
    write(tmp_path, 'policy = "file"')
    assert config.load(tmp_path, {"SAFERUN_POLICY": "", "SAFERUN_STORE": ""}).policy == "file"


@pytest.mark.parametrize("text", ["tool = 1", "[tool]\nx = 1", "[project]\nname = 'x'"])
def test_a_pyproject_of_somebody_else_is_passed_over(tmp_path: Path, text: str) -> None:
    write(tmp_path, 'policy = "outer"')
    inner = write(tmp_path / "inner", text, "pyproject.toml")
    assert config.load(inner, {}).policy == "outer"


def test_a_section_that_is_no_table_is_told(tmp_path: Path) -> None:
    write(tmp_path, "tool.saferun = 1", "pyproject.toml")
    with pytest.raises(ConfigError, match=r"\[tool.saferun\] must be a table"):
        config.load(tmp_path, {})


def test_a_path_means_the_same_file_after_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 'store = "sqlite:///data/a.db"')
    monkeypatch.chdir(tmp_path)
    found = config.load()
    monkeypatch.chdir("/")
    assert config.sqlite_path(found.store) == tmp_path / "data" / "a.db"


def test_policies_may_be_published_ones_and_signed(tmp_path: Path) -> None:
    write(tmp_path, 'policies = "store"\npolicy_key = "file"')
    found = config.load(tmp_path, {"SAFERUN_POLICY_KEY": "environment"})
    assert (found.published, found.policies) == (True, tmp_path / "policies")
    assert found.policy_key == "environment"
    assert not config.load(tmp_path, {"SAFERUN_POLICIES": "rules"}).published


COMMAND = '[signing]\ncommand = ["kms-sign", "--key", "x"]\npublic_key = "' + "A" * 43 + '="'


def test_a_signing_key_may_lie_in_a_file_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, '[signing]\nfile = "held/ledger.key"')
    assert config.load(tmp_path, {}).signing.file == str(tmp_path / "held" / "ledger.key")


def test_a_program_that_signs_is_a_list_of_arguments(tmp_path: Path) -> None:
    write(tmp_path, COMMAND)
    found = config.load(tmp_path, {}).signing
    assert found.command == ("kms-sign", "--key", "x")
    assert config.signing(tmp_path / "saferun.toml") == found


def test_a_program_named_by_a_path_is_meant_from_the_folder_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, COMMAND.replace("kms-sign", "bin/kms-sign"))
    assert config.load(tmp_path, {}).signing.command[0] == str(tmp_path / "bin/kms-sign")


@pytest.mark.parametrize("writable", ["saferun.toml", "."])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_a_program_is_not_taken_from_a_file_that_others_could_have_written(
    tmp_path: Path, writable: str, mode: int
) -> None:
    write(tmp_path, COMMAND)
    path = tmp_path / writable
    path.chmod(path.stat().st_mode | mode)
    with pytest.raises(ConfigError, match=r"can be written by others than you; run chmod go-w"):
        config.load(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('command = "kms-sign --key x"', "Expected `array`, got `str`"),
        ("command = [1]", "Expected `str`, got `int`"),
        ('command = [""]', "length >= 1"),
        ('command = ["kms-sign"]', "takes `command` and `public_key` together"),
        ('public_key = "' + "A" * 43 + '="', "takes `command` and `public_key` together"),
        ('command = ["kms-sign"]\npublic_key = "short"', "is not 32 bytes in base64"),
        ('file = "a"\ncommand = ["b"]\npublic_key = "c"', "a file and a command; say one"),
        ('comand = ["kms-sign"]', "did you mean 'command'"),
    ],
)
def test_what_cannot_sign_is_told_when_the_configuration_is_read(
    tmp_path: Path, text: str, said: str
) -> None:
    write(tmp_path, f"[signing]\n{text}")
    with pytest.raises(ConfigError, match=said):
        config.load(tmp_path, {})
