"""pytest runs the same files, next to all other tests."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

POLICY = "version: 1\nname: a\ntools: {t: {effect: read, args: {a: {type: integer}}}}\n"
CASES = """\
cases:
  - name: fits
    call: {tool: t, args: {a: 5}}
    table: [{expect: allow}, {set: {args.a: x}, expect: deny}]
  - name: is wrong
    call: {tool: t, args: {a: 5}}
    expect: deny
"""


@pytest.fixture
def run(pytester):
    def call(*options: str) -> pytest.RunResult:
        plain = ("-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function")
        return pytester.runpytest_inprocess(*plain, *options)

    return call


def _write(pytester, **files: str) -> None:
    for name, text in files.items():
        (pytester.path / f"{name.replace('_', '.')}.yaml").write_text(text)


def test_every_case_and_every_row_is_a_test(pytester, run) -> None:
    _write(pytester, a=POLICY, a_test=CASES)
    result = run()
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ is wrong _*",
            "*a.test.yaml:5",
            "t(a=5)",
            "  verdict  expected deny, found allow",
            "  no rule and no limit speaks about it",
            "FAILED a.test.yaml::is wrong*",
        ]
    )


def test_a_case_is_chosen_by_its_name(pytester, run) -> None:
    _write(pytester, a=POLICY, a_test=CASES)
    run("-k", "fits").assert_outcomes(passed=2, deselected=1)


def test_a_file_that_cannot_be_used_is_an_error_with_its_lines(pytester, run) -> None:
    _write(pytester, a=POLICY, a_test="cases:\n  - {name: one, expct: allow}\n")
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*a.test.yaml:2:17: `expct` is not a key here*"])


def test_a_policy_that_cannot_be_used_is_an_error_with_its_line(pytester, run) -> None:
    _write(pytester, a="version: 2\n", a_test=CASES)
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*a.yaml:1:1: expected `version: 1`*"])


def test_files_of_other_tools_are_left_alone(pytester, run) -> None:
    _write(pytester, a_test="steps: []\n", b=POLICY, b_test="steps: []\n", c_test=CASES)
    assert run().ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_the_fixture_gives_gates_and_closes_them(pytester, run) -> None:
    pytester.makepyfile(
        """
        from saferun import guard
        from saferun.policy import loads
        from saferun.testing import denied

        gates = []

        def test_one(saferun_gate):
            gates.append(saferun_gate(loads("version: 1\\nname: a\\n")))
            with denied(by="default"):
                guard(len, name="t", gate=gates[0])([])

        def test_two():
            assert gates[0].store.closed
        """
    )
    run().assert_outcomes(passed=2)


def test_the_plugin_loads_no_policy_where_there_is_none(pytester) -> None:
    pytester.makepyfile("def test_one(): pass")
    script = (
        "import sys, pytest\n"
        "code = pytest.main(['-q', '-p', 'no:cacheprovider'])\n"
        "assert 'saferun.testing.plugin' in sys.modules\n"
        "lazy = {'saferun.suites.file', 'saferun.policy.source', 'ruamel.yaml'}\n"
        "sys.exit(code or len(lazy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


AGAIN = """\
import pytest
import saferun
from saferun import Diverged, guard

calls = []
safe = guard(lambda order: calls.append(order), name="look")


def main(*orders):
    with saferun.run(run_id="ticket-1"):
        for order in orders:
            safe(order)


@pytest.fixture(scope="session", autouse=True)
def recorded():
    main("A-1", "A-2")
    calls.clear()


def test_goes_as_it_went(saferun_rerun):
    again = saferun_rerun("ticket-1")
    main("A-1", "A-2")
    assert (again.frames, calls) == (2, [])


def test_goes_another_way(saferun_rerun):
    saferun_rerun("ticket-1")
    with pytest.raises(Diverged):
        main("A-1", "A-3")


def test_leaves_something_out(saferun_rerun):
    saferun_rerun("ticket-1")
    main("A-1")
"""


def test_a_fixture_has_a_run_made_again(pytester, run) -> None:
    pytester.makepyfile(AGAIN)
    result = run()
    # What was left out, or swallowed, is told when the test is over.
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(["*Diverged: The code parts from the record at frame 2 of run*"])
