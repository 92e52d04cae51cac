"""Configuration: which file, which value wins, and what a mistake is told."""

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
        ("[approval.slack]\nchannel = 'x'", "unknown field `slack`"),
        ("store = 'postgresql://u:secret@h/db'", "keeps its store in SQLite"),
        ("store = 'sqlite:///'", "written sqlite:///FOLDER/FILE.db"),
        ("approval = 'terminal'", "Expected `object`, got `str` - at `$.approval`"),
        ("[approval]\ntimout = 5", "did you mean 'timeout'?"),
        ("[people.dana]\nemial = 'd@x.test'", "did you mean 'email'?"),
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
