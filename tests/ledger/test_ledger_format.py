"""The format's document is held to the code: its examples are one ledger, and it verifies."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from ledger.book import rows_of, tree_of
from saferun.call import Measure, Reason, Source
from saferun.ledger import (
    FORMAT,
    Head,
    Signer,
    Verifier,
    blob_hash,
    encode,
    leaf_hash,
    open_checkpoint,
    parse,
    placeholder,
    read,
    seal,
    sign_checkpoint,
    verify,
)
from saferun.ledger.kind import AnyEntry, Kind

DOCUMENT = (Path(__file__).parents[2] / "docs" / "ledger-format.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


BODIES = [line.encode() for block in blocks("json") for line in block.splitlines()]
[VKEY] = blocks("vkey")
[NOTE] = blocks("note")
[FRONTIER] = blocks("frontier")
VERIFIER = Verifier(VKEY.strip())
OF_EVERY_KIND = {"host", "boot", "blobs", "sealed", "unkept"}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:60].decode())
def test_every_example_is_an_entry(body):
    assert read(body).fields


def test_the_examples_show_every_kind():
    assert {read(body).kind for body in BODIES} == set(get_args(Kind))


@pytest.mark.parametrize("entry", get_args(AnyEntry), ids=lambda entry: entry.__name__)
def test_every_field_of_a_kind_is_described_in_its_section(entry):
    section = DOCUMENT.split(f"\n### `{entry.__struct_config__.tag}`\n")[1].split("\n### ")[0]
    described = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|([^|]*)\|", section, re.MULTILINE)))
    fields = {field.name for field in msgspec.structs.fields(entry)}
    assert set(described) == fields - OF_EVERY_KIND


def test_the_fields_of_every_kind_are_described_in_a_section_of_their_own():
    section = DOCUMENT.split("\n### Members of every kind\n")[1].split("\n### ")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == OF_EVERY_KIND


@pytest.mark.parametrize("inner", [Reason, Measure])
def test_every_field_of_a_reason_is_described_where_decisions_are(inner):
    section = DOCUMENT.split("\n### `decision`\n")[1].split("\n### ")[0]
    fields = {field.name for field in msgspec.structs.fields(inner)}
    assert fields <= set(re.findall(r"`(\w+)`", section))


def test_whatever_a_reason_can_come_from_is_named_where_decisions_are():
    section = DOCUMENT.split("\n### `decision`\n")[1].split("\n### ")[0]
    assert set(get_args(Source)) <= set(re.findall(r"`(\w+)`", section))


def test_the_format_on_the_page_is_the_one_that_is_written():
    assert read(BODIES[0]).fields["format"] == FORMAT
    assert f"It describes format {FORMAT}." in DOCUMENT


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:60].decode())
def test_every_example_stands_as_saferun_would_write_it(body):
    parsed = parse(body)
    assert seal(parsed.seq, parsed.time, encode(parsed.entry)) == body


def test_the_examples_are_one_ledger_that_verifies_against_the_checkpoint_on_the_page():
    external = open_checkpoint(NOTE.encode(), [VERIFIER], "example.com/ledgers/shop")
    vouched = BODIES[: external.size]
    head = Head(external.size, bytes.fromhex(FRONTIER.strip()))
    report = verify(rows_of(vouched), head, external=external)
    assert (report.state, report.unanchored) == ("verified", 0)
    assert (report.dangling, report.unknown) == (0, 1)


def test_the_checkpoint_and_the_key_on_the_page_come_from_the_seed_on_the_page():
    signer = Signer("example.com/ledgers/shop", bytes(range(32)))
    assert signer.vkey() == VKEY.strip()
    checkpoint = open_checkpoint(NOTE.encode(), [VERIFIER])
    assert checkpoint.root == tree_of(BODIES[: checkpoint.size]).root()
    assert sign_checkpoint(checkpoint, signer) == NOTE.encode()


def test_the_first_leaf_is_the_one_on_the_page():
    assert f"`{leaf_hash(BODIES[0]).hex()}`" in DOCUMENT


def test_the_large_value_on_the_page_opens_the_hash_in_its_entry():
    salt, value = bytes(range(16)), b'{"receipt":"' + b"r" * 33_000 + b'"}'
    result = read(BODIES[9]).fields["result"]
    assert result == placeholder(blob_hash(salt, value), len(value))
    assert verify(rows_of(BODIES), blobs=lambda blob: (salt, value)).problem is None
