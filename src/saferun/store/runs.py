"""The runs of a store: which there are, where they begin, and whom they are for."""

from typing import Literal, TypeAlias

from saferun.store.reading import Reader

Named: TypeAlias = Literal["agent", "user", "tenant"]


def _at(scope: Named) -> str:
    """Where the identity of a run has that name."""
    return f"$[{('agent', 'user', 'tenant').index(scope)}]"


def newest_runs(reader: Reader, limit: int) -> list[str]:
    """The newest runs' ids, the newest first."""
    found = reader.every(
        "SELECT run_id FROM run WHERE typeof(run_id) = 'text' AND run_id != ''"
        " ORDER BY seq DESC LIMIT ?",
        limit,
    )
    return [row[0] for row in found]


def is_run(reader: Reader, run_id: str) -> bool:
    """Whether a run of that id has begun."""
    return reader.one("SELECT 1 FROM run WHERE run_id = ?", run_id) is not None


def run_began(reader: Reader, run_id: str) -> int | None:
    """The number of the entry with which a run began, None where nobody knows the run."""
    row = reader.one("SELECT seq FROM run WHERE run_id = ?", run_id)
    return None if row is None else int(row[0])


def first_entry_of(reader: Reader, root: str) -> int:
    """The number of the first entry of a run and its children; the next one for a new run."""
    row = reader.one(
        "SELECT min(seq) FROM (SELECT seq FROM run WHERE run_id = ?"
        " UNION ALL SELECT seq FROM family WHERE root = ?)",
        *(root, root),
    )
    return reader.head().size if row is None or row[0] is None else int(row[0])


def children_of(reader: Reader, root: str) -> list[str]:
    """The ids of all runs that have begun within a run, or within a child of it."""
    return [row[0] for row in reader.every("SELECT run_id FROM child WHERE root = ?", root)]


def any_run_for(reader: Reader, scope: Named, name: str) -> bool:
    """Whether any run was for that agent, user or tenant."""
    # A run that was brought in is bound to its file, which is no list of so many.
    found = reader.one(
        "SELECT 1 FROM run WHERE json_valid(CAST(identity AS TEXT))"
        " AND json_array_length(CAST(identity AS TEXT)) IN (4, 5)"
        " AND json_extract(CAST(identity AS TEXT), ?) = ? LIMIT 1",
        *(_at(scope), name),
    )
    return found is not None


def names_of(reader: Reader, scope: Named) -> list[str]:
    """Agents, users or tenants that runs were for, a thousand of them at most."""
    found = reader.every(
        "SELECT DISTINCT json_extract(CAST(identity AS TEXT), ?) FROM run"
        " WHERE json_valid(CAST(identity AS TEXT))"
        " AND json_array_length(CAST(identity AS TEXT)) IN (4, 5) LIMIT 1000",
        _at(scope),
    )
    return [name for (name,) in found if isinstance(name, str)]


def agent_of(reader: Reader, run_id: str) -> str | None:
    """The agent that a run is bound to, None where it said none or nobody knows the run."""
    found = reader.one(
        "SELECT json_extract(CAST(identity AS TEXT), ?) FROM run WHERE run_id = ?"
        " AND json_valid(CAST(identity AS TEXT))",
        *(_at("agent"), run_id),
    )
    return found[0] if found is not None and isinstance(found[0], str) else None
