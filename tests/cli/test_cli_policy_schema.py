"""`saferun policy schema`, and the file by which an editor knows a project's policies."""

import json
import os
import re
from pathlib import Path

import jsonschema_rs
import pytest

from saferun.policy import editor
from saferun.policy.source import read


def test_it_prints_the_published_schema_to_the_byte(saferun) -> None:
    result = saferun("policy", "schema")
    assert result.exit_code == 0
    assert result.stdout == editor.text()


def test_it_writes_it_to_a_file_over_an_older_one(saferun) -> None:
    Path("policy.schema.json").write_text("{}")
    result = saferun("policy", "schema", "--output", "policy.schema.json")
    assert (result.exit_code, result.stdout) == (0, "✓ wrote  policy.schema.json\n")
    assert Path("policy.schema.json").read_text("utf-8") == editor.text()


def test_a_file_that_cannot_be_written_is_told_in_one_sentence(saferun) -> None:
    result = saferun("policy", "schema", "--output", "nowhere/policy.schema.json")
    assert result.exit_code == os.EX_USAGE
    assert "nowhere/policy.schema.json cannot be written: No such file" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("folder", ["policies", "rules"])
def test_the_first_line_of_a_new_policy_leads_an_editor_to_the_schema(saferun, folder) -> None:
    Path("saferun.toml").write_text(f'policies = "{folder}"\n')
    assert saferun("init").exit_code == 0
    policy = Path(folder, "production.yaml")
    first, *_ = policy.read_text("utf-8").splitlines()
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named
    # Editors take the path from the folder of the policy.
    schema = json.loads((policy.parent / named[1]).read_text("utf-8"))
    assert jsonschema_rs.validator_for(schema).is_valid(read(policy.read_bytes()).value)


def test_init_leaves_a_schema_that_is_there_as_it_is(saferun) -> None:
    Path("policies").mkdir()
    Path("policies/policy.schema.json").write_text("{}")
    result = saferun("init")
    assert "· kept      policies/policy.schema.json" in result.stdout
    assert Path("policies/policy.schema.json").read_text("utf-8") == "{}"
