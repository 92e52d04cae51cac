"""Every example in the README and the docs is run, and does what its page says."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from docs.pages import ELSEWHERE, ROOT, Block, blocks, blocks_of, pages
from docs.stage import Stage, matches
from saferun import config, gate, listening
from saferun.policy import check
from saferun.suites.file import loads

LANGUAGES = ("python", "sh", "text", "yaml", "toml", "json")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """An empty folder to be in, with the product's defaults in force."""
    folder = tmp_path / "page"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(listening, "_listeners", [])
    gate._warn_once.cache_clear()
    yield Stage(folder)
    forget_modules(folder)


def forget_modules(folder: Path) -> None:
    import sys

    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


RUN = [page for page in pages() if page not in ELSEWHERE and blocks(page)]


@pytest.mark.parametrize("page", RUN)
def test_every_example_of_a_page_does_what_the_page_says(page: str, stage: Stage) -> None:
    shown = blocks(page)
    printed: str | None = None
    for block in shown:
        if block.language == "text" and "not run" not in block.markers:
            assert printed is not None, f"{block}: there is no example that this is the output of"
            assert matches(printed, block.text), (
                f"{block}: the page shows\n{block.text}\nand it was\n{printed}"
            )
            printed = None
            continue
        if "with" in block.markers:
            put_down(block.markers["with"], shown, stage)
        if "before" in block.markers:
            stage.python(block.markers["before"], str(block))
        printed = None if "not run" in block.markers else run(block, stage)


def put_down(path: str, shown: list[Block], stage: Stage) -> None:
    [later] = [block for block in shown if block.markers.get("file") == path]
    stage.write(path, later.text)


def run(block: Block, stage: Stage) -> str | None:
    """Do with one block what its language asks for; what it printed, None where it cannot."""
    path = block.markers.get("file")
    if path is not None:
        stage.write(path, block.text)
    status = int(block.markers.get("exit", "0"))
    match block.language:
        case "sh" if "keys" in block.markers:
            return stage.terminal(block.text, block.markers["keys"].split(), status)
        case "sh":
            return stage.shell(block.text, status)
        case "python" if path is None:
            return stage.python(block.text, str(block))
        case "python":
            compile(block.text, path, "exec")
        case "yaml" if path is not None and path.endswith(".test.yaml"):
            loads(block.text, Path(path))
        case "yaml":
            is_a_sound_policy(block)
        case "toml":
            is_a_configuration(block, stage)
        case "json":
            msgspec.json.decode(block.text)
    return None


def is_a_sound_policy(block: Block) -> None:
    """A block without `version` shows part of a policy, and is checked as the rest of one."""
    text = block.text if block.text.startswith("version:") else f"version: 1\n{block.text}"
    found = check(text, block.markers.get("file", f"{block.page}.yaml"))
    assert not found, f"{block}: {[each.message for each in found]}"


def is_a_configuration(block: Block, stage: Stage) -> None:
    name = "pyproject.toml" if "[tool.saferun" in block.text else "saferun.toml"
    stage.write(f"shown/{name}", block.text)
    config.load(stage.folder / "shown", {})


def each_block() -> list[Block]:
    return [block for page in RUN for block in blocks(page)]


def test_every_block_is_in_a_language_that_is_run_here_or_says_why_not() -> None:
    strange = [
        f"{block} is {block.language or 'in no language'}"
        for block in each_block()
        if block.language not in LANGUAGES and "not run" not in block.markers
    ]
    assert not strange


def test_whatever_is_not_run_gives_a_reason_in_words() -> None:
    unsaid = [
        str(block)
        for block in each_block()
        if "not run" in block.markers and len(block.markers["not run"].split()) < 4
    ]
    assert not unsaid


@pytest.mark.parametrize(
    "block", [each for each in each_block() if "not run" in each.markers], ids=str
)
def test_what_cannot_run_is_at_least_well_formed(block: Block) -> None:
    if block.language == "python":
        compile(block.text, str(block), "exec")
    elif block.language == "sh":
        done = subprocess.run(["bash", "-n"], input=block.text, text=True, check=False)
        assert done.returncode == 0


def test_every_file_that_a_page_shows_is_used_by_it() -> None:
    unused = []
    for page in RUN:
        shown = blocks(page)
        for block in shown:
            path = block.markers.get("file")
            if path is None or not path.endswith(".py"):
                continue
            name = Path(path).stem
            others = [other.text for other in shown if other is not block]
            if not any(name in text for text in others):
                unused.append(f"{block}: {path}")
    assert not unused


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_a_page_that_is_left_to_another_test_is_read_by_it(page: str, test: str) -> None:
    assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")


# The rules above are only as good as the reading of a page.


def test_a_marker_belongs_to_the_block_that_follows_it() -> None:
    text = "<!-- file: a.py -->\n<!-- exit: 2 -->\n```python\n1\n```\n\n```sh\nls\n```\n"
    first, second = blocks_of("p", text)
    assert (first.markers, second.markers) == ({"file": "a.py", "exit": "2"}, {})
    assert (first.line, first.language, second.text) == (3, "python", "ls\n")


@pytest.mark.parametrize("comment", ["<!-- skip -->", "<!-- not run -->", "<!-- flie: a.py -->"])
def test_a_comment_that_is_no_marker_is_an_error(comment: str) -> None:
    with pytest.raises(ValueError):
        list(blocks_of("p", f"{comment}\n```python\n1\n```\n"))


def test_a_marker_that_no_block_follows_is_an_error() -> None:
    with pytest.raises(ValueError):
        list(blocks_of("p", "<!-- exit: 2 -->\n\nSome words.\n\n```sh\nls\n```\n"))


def test_output_is_compared_to_its_end() -> None:
    assert matches("one\ntwo\n", "one\ntwo")
    assert not matches("one\ntwo\n", "one")
    assert not matches("one\n", "one\ntwo")


def test_an_ellipsis_stands_for_part_of_a_line_or_for_whole_lines() -> None:
    assert matches("run r-1f at 12:01\n", "run r-… at …")
    assert matches("a\nb\nc\nd\n", "a\n…\nd")
    assert matches("a\nd\n", "a\n…\nd")
    assert not matches("run r-1\nat 12:01\n", "run …")


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("took  5.9 ms\n", "took 14 ms"),
        ("at 2026-01-02 03:04\n", "at 2026-11-23 07:56"),
        ("saferun/default/5dc9edf178eca057\n", "saferun/default/0123456789abcdef"),
    ],
)
def test_what_differs_each_time_is_taken_for_any_other_of_its_kind(
    printed: str, shown: str
) -> None:
    assert matches(printed, shown)


@pytest.mark.parametrize(
    ("printed", "shown"), [("12 entries", "13 entries"), ("took 5 ms", "took long"), ("a", "a b")]
)
def test_nothing_else_may_differ(printed: str, shown: str) -> None:
    assert not matches(printed, shown)


def test_a_command_that_fails_fails_its_page(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="exit 3"):
        stage.shell("exit 3", status=0)


def test_a_key_that_nobody_asked_for_fails_its_page(stage: Stage) -> None:
    with pytest.raises(AssertionError, match="nobody asked"):
        stage.terminal("true", ["y"], status=0)
