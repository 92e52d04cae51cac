"""Proofs from a store for places that have seen less of it, against an independent verifier."""

import sqlite3
from pathlib import Path

import pytest
from tlog_scales import tlog

from anchor.offering import Tree
from saferun.anchor.history import Kept
from saferun.errors import StoreError
from saferun.store import Reader, Store
from storing import admit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "store" / "saferun.db"
    with_calls = Store(f"sqlite:///{path}", durability="process")
    for _ in range(40):
        with_calls.commit(admit(with_calls))
    with_calls.close()
    return path


def test_every_proof_of_every_size_is_accepted_by_others(file: Path) -> None:
    with Reader(file) as reader:
        tree = Tree([body for _, body, _ in reader.rows()])
    size = len(tree.bodies)
    leaves = Kept(file)
    for new in range(2, size + 1):
        for old in range(1, new):
            proof = leaves.proof(old, new)
            tlog.ConsistencyProof(old, new, proof).check(leaves.root(old), leaves.root(new))
            assert (proof, leaves.root(new)) == (tree.proof(old, new), tree.root(new))


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM entry WHERE seq = 5", "UPDATE entry SET leaf = 'text' WHERE seq = 5"],
)
def test_leaves_that_are_not_there_are_told(file: Path, statement: str) -> None:
    with sqlite3.connect(file) as forger:
        forger.execute(statement)
    forger.close()
    with pytest.raises(StoreError, match="run saferun ledger verify"):
        Kept(file).proof(6, 20)
