"""How much is kept: `[record]` of the configuration, and `record` of a policy."""

from pathlib import Path

import pytest

from guarding import entries
from saferun import Call, ConfigError, Gate, Outcome, PolicyError, config, guard
from saferun.keeping import KEEPS, Keeping, strictest
from saferun.policy import loads
from saferun.store import Reader
from storing import audit

OPEN = "version: 1\nname: open\ndefault: allow\n"
SECRET = "wolkenkuckucksheim"


def world(**record):
    lines = "".join(f'{kind} = "{keep}"\n' for kind, keep in record.items())
    with Path("saferun.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[record]\n{lines}")
    return config.load()


def gate_of(policy=OPEN, **record):
    return Gate(policy=loads(policy), settings=world(**record) if record else None)


def everything(gate, text=SECRET):
    """A run in which the word falls wherever it can."""

    def tell():
        return {"told": text}

    def fail():
        raise ValueError(text)

    with gate.run(prompt=text, plan=text) as run:
        run.user(text)
        run.model(text, messages=[text], plan=text, context=text)
        guard(tell, gate=gate)()
        with pytest.raises(ValueError, match=text):
            guard(fail, gate=gate)()


def fields(gate):
    """Where the word stands in the ledger, and what stands there as not kept."""
    found, unkept = set(), {}
    for entry in entries(gate):
        for name, value in entry.items():
            if SECRET in str(value):
                found.add(f"{entry['kind']}.{name}")
        for name, known in entry.get("unkept", {}).items():
            unkept[f"{entry['kind']}.{name}"] = known
    return found, unkept


PROMPTS = {"run.prompt", "run.plan", "model.plan", "model.context"}
RESULTS = {"outcome.result", "outcome.error"}
OTHERS = {"model.output", "user.text", "model.messages"}


def test_everything_is_kept_unless_somebody_says_otherwise():
    gate = gate_of()
    everything(gate)
    assert fields(gate) == (PROMPTS | RESULTS | OTHERS, {})


@pytest.mark.parametrize("keep", ["hashed", "off"])
@pytest.mark.parametrize(
    ("kind", "gone"),
    [
        ("prompts", PROMPTS),
        ("output", {"model.output"}),
        ("messages", {"user.text"}),
        ("results", RESULTS),
    ],
)
@pytest.mark.parametrize("by", ["settings", "policy"])
def test_a_kind_that_is_not_kept_is_nowhere_and_what_repeats_it_neither(kind, gone, keep, by):
    gate = (
        gate_of(**{kind: keep})
        if by == "settings"
        else gate_of(f"{OPEN}record: {{{kind}: {keep}}}")
    )
    everything(gate)
    found, unkept = fields(gate)
    gone = gone | {"model.messages"}
    assert found == (PROMPTS | RESULTS | OTHERS) - gone
    assert unkept.keys() == gone
    for known in unkept.values():
        assert known.keys() == ({"bytes", "digest"} if keep == "hashed" else set())


def test_the_stricter_of_settings_and_policy_holds():
    gate = gate_of(
        f"{OPEN}record: {{output: 'off', results: hashed}}\n", output="hashed", results="off"
    )
    everything(gate)
    unkept = fields(gate)[1]
    assert unkept["model.output"] == unkept["outcome.result"] == {}


def test_of_what_is_off_no_byte_is_in_the_store():
    gate = gate_of(prompts="off", output="off", messages="off", results="off")
    everything(gate, SECRET)
    everything(gate, SECRET * 5_000)
    gate.close()
    files = [file for file in Path(".saferun").rglob("*") if file.is_file()]
    assert Path(".saferun/saferun.db") in files
    assert [file for file in files if SECRET.encode() in file.read_bytes()] == []


def test_a_digest_is_keyed_and_the_same_value_has_the_same():
    gate = gate_of(output="hashed")
    with gate.run() as run:
        run.model("yes")
        run.model("yes")
        run.model("no")
    one, again, other = (entry["unkept"]["output"] for entry in entries(gate, "model"))
    assert one == again
    assert one["digest"] != other["digest"]
    assert one["bytes"] == 5
    assert one["digest"] == gate.store.keys.digest(b'"yes"').hex()


def test_of_what_is_sensitive_no_digest_outlives_its_erasure():
    Path("saferun.toml").write_text('sensitive = ["output"]\n[record]\noutput = "hashed"\n')
    gate = Gate(
        policy=loads(
            f"{OPEN}record: {{results: hashed}}\ntools:\n  look: {{effect: read, "
            "args: {}, sensitive: [result.*]}\n"
        )
    )
    with gate.run(user="u") as run:
        run.model("yes")
        guard(lambda: {"name": "Maria"}, name="look", gate=gate)()
    (turn,), (end,) = entries(gate, "model"), entries(gate, "outcome")
    assert turn["unkept"] == {"output": {"bytes": 5}}
    assert end["unkept"].keys() == {"result"}
    assert end["unkept"]["result"].keys() == {"bytes"}
    assert not turn.get("sealed")
    assert not end.get("sealed")


def test_a_call_that_is_repeated_is_told_that_its_result_was_not_kept():
    gate = gate_of(results="off")
    call = Call(tool="look", args={}, call_id="c-1")
    gate.settle(gate.check(call), Outcome(status="ok", result=5))
    again = gate.check(call)
    assert again.outcome.status == "ok"
    assert "not kept" in str(again.outcome.result)


def test_the_ledger_verifies_without_what_is_not_kept():
    gate = gate_of(prompts="hashed", output="off", messages="hashed", results="off")
    everything(gate)
    gate.close()
    report = audit(gate.store.path)
    assert report.problem is None
    assert (report.dangling, report.unknown) == (0, 0)


def test_a_policy_that_guards_a_run_says_what_is_kept_of_its_children_too():
    gate = gate_of(f"{OPEN}record: {{output: 'off'}}\n")
    with gate.run(), gate.run() as child:
        child.model(SECRET)
    assert fields(gate) == (set(), {"model.output": {}})


def test_a_kind_that_is_unknown_fails_at_load():
    with pytest.raises(ConfigError, match="record"):
        world(promts="off")


def test_how_much_that_is_unknown_fails_at_load():
    with pytest.raises(ConfigError, match="record"):
        world(prompts="some")


@pytest.mark.parametrize("said", ["{prompts: some}", "{promts: whole}", "off", "[prompts]"])
def test_a_policy_with_a_typo_is_refused_with_its_line(said):
    with pytest.raises(PolicyError) as raised:
        loads(f"{OPEN}record: {said}\n")
    assert raised.value.line == 4


def test_yaml_reads_off_as_a_word_where_it_stands_alone():
    assert loads(f"{OPEN}record: {{prompts: off}}\n").document.record.prompts == "off"


def test_the_strictest_is_the_last_of_them():
    assert [strictest(a, b) for a in KEEPS for b in KEEPS] == [
        *("whole", "hashed", "off"),
        *("hashed", "hashed", "off"),
        *("off", "off", "off"),
    ]
    assert Keeping(output="off").given == "off"
    assert Keeping(output="off").and_(Keeping(results="hashed")) == Keeping(
        output="off", results="hashed"
    )


def test_another_version_of_a_policy_says_what_it_keeps_otherwise():
    from saferun.policy.analysis.change import changes

    (change,) = changes(loads(OPEN), loads(f"{OPEN}record: {{results: hashed}}\n"))
    assert (change.code, change.message) == (
        "record",
        "`results` under `record` was whole and is hashed",
    )


def test_no_large_value_is_stored_for_what_is_hashed():
    gate = gate_of(output="hashed")
    with gate.run() as run:
        run.model("x" * 100_000)
    (entry,) = entries(gate, "model")
    assert entry["unkept"]["output"]["bytes"] == 100_002
    with Reader(gate.store.path) as reader:
        assert reader.head().size == len(entries(gate))
    assert "blobs" not in entry
