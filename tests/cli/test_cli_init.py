"""`saferun init`."""

import stat
from pathlib import Path

import pytest

from cli.project import lines
from saferun import config, guard, run
from saferun.policy import check


@pytest.fixture
def project(saferun, monkeypatch) -> Path:
    monkeypatch.setenv("LOGNAME", "maria")
    assert saferun("init", "shop").exit_code == 0
    return Path("shop")


def test_a_new_project_gets_a_configuration_a_policy_and_a_store(saferun) -> None:
    result = saferun("init", "shop")
    assert result.exit_code == 0
    for name in ("saferun.toml", "policies/production.yaml", ".gitignore", ".saferun/saferun.db"):
        assert f"✓ made      shop/{name}\n" in result.stdout
        assert Path("shop", name).is_file()
    assert "safe_refund = guard(refund)" in result.stdout


def test_the_policy_has_nothing_to_say_about(project) -> None:
    assert check((project / "policies/production.yaml").read_bytes()) == []


def test_the_configuration_says_what_it_seems_to_say(project) -> None:
    read = config.load(project, {})
    assert read.file == project.absolute() / "saferun.toml"
    assert (read.policy, read.durability, read.approval.default) == (
        "production",
        "full",
        "terminal",
    )
    assert read.groups["finance"] == ["maria"]
    assert list(read.people) == ["maria"]


def test_a_user_whose_name_is_no_key_is_left_to_write_their_own(saferun, monkeypatch) -> None:
    monkeypatch.setenv("LOGNAME", 'x"]\nstore = "elsewhere')
    assert saferun("init", "shop").exit_code == 0
    assert list(config.load(Path("shop"), {}).people) == ["alice"]


def test_every_key_of_the_configuration_is_in_it(project) -> None:
    text = (project / "saferun.toml").read_text("utf-8")
    for key in config._File.__struct_fields__:
        assert f"{key} = " in text or f"[{key}" in text


def test_a_tool_can_be_wrapped_right_away(project, monkeypatch) -> None:
    monkeypatch.chdir(project)

    def refund(order_id: str, amount: int, currency: str = "USD") -> str:
        return f"{amount} {currency}"

    with run(agent="support", user="maria"):
        assert guard(refund)("A-17", 4_000) == "4000 USD"


def test_the_keys_are_their_owners_alone(project) -> None:
    keys = sorted((project / ".saferun/keys").iterdir())
    assert [key.name for key in keys] == ["default.signing.key", "digest.key"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_what_is_there_already_is_kept(saferun, project) -> None:
    files = [path for path in project.rglob("*") if path.is_file() and path.suffix != ".db"]
    for path in project / "saferun.toml", project / "policies/production.yaml":
        path.write_text(path.read_text("utf-8") + "# mine\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in files}
    result = saferun("init", "shop")
    assert result.exit_code == 0
    assert {path: path.read_bytes() for path in files} == before
    assert "· kept      shop/saferun.toml" in result.stdout
    assert "made" not in result.stdout


def test_here_is_the_default(saferun) -> None:
    Path("saferun.toml").unlink()
    assert saferun("init").exit_code == 0
    assert Path("policies/production.yaml").is_file()


def test_a_project_that_is_configured_in_pyproject_gets_no_second_file(saferun) -> None:
    Path("shop").mkdir()
    Path("shop/pyproject.toml").write_text('[tool.saferun]\npolicies = "rules"\n', "utf-8")
    result = saferun("init", "shop")
    assert "· kept      shop/pyproject.toml" in result.stdout
    assert not Path("shop/saferun.toml").exists()
    assert Path("shop/rules/production.yaml").is_file()


@pytest.mark.parametrize("line", [".saferun/", "/.saferun", "**/.saferun/", ".saferun  "])
def test_version_control_that_ignores_the_store_is_left_alone(saferun, line) -> None:
    Path("shop").mkdir()
    Path("shop/.gitignore").write_text(f"*.pyc\n{line}\n", "utf-8")
    assert "· kept      shop/.gitignore" in saferun("init", "shop").stdout


def test_version_control_that_does_not_gets_a_line_more(saferun) -> None:
    Path("shop").mkdir()
    Path("shop/.gitignore").write_text("# not .saferun/\n*.pyc", "utf-8")
    result = saferun("init", "shop")
    assert "✓ added to  shop/.gitignore" in result.stdout
    kept, *added = Path("shop/.gitignore").read_text("utf-8").partition("*.pyc\n")
    assert kept == "# not .saferun/\n"
    assert added[-1].endswith(".saferun/\n")


def test_a_dangling_link_is_not_written_through(saferun) -> None:
    Path("shop").mkdir()
    Path("shop/saferun.toml").symlink_to("../elsewhere.toml")
    saferun("init", "shop")
    assert not Path("elsewhere.toml").exists()


def test_init_for_programs_is_one_document(saferun) -> None:
    [done] = lines(saferun("init", "shop", "--json"))
    assert done["made"][0] == "shop/saferun.toml"
    assert done["kept"] == []
    [again] = lines(saferun("init", "shop", "--json"))
    assert again["made"] == []
    assert len(again["kept"]) == 5


def test_a_folder_that_is_a_file_is_one_sentence(saferun) -> None:
    Path("shop").write_text("", "utf-8")
    result = saferun("init", "shop")
    assert (result.exit_code, result.stdout) == (64, "")
    assert len(result.stderr.splitlines()) == 1
