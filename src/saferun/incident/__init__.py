"""Incident files: one run with all that belongs to it, to be handed on, verified and looked at.

`pack` writes one from a store. `examine` says whether a file is whole and who vouches for it, and
`opened` has it read as a store is. `retried` puts its calls before policies as they are now.
docs/incident-format.md has the format.
"""

from saferun.incident.container import IncidentError, NewerError
from saferun.incident.opened import SUFFIX, Opened, is_incident, opened
from saferun.incident.packing import Packed, Redact, pack
from saferun.incident.reading import Incident, examine
from saferun.incident.retrial import Policies, Retried, by_name, retried
from saferun.incident.traced import traced

__all__ = [
    "SUFFIX",
    "Incident",
    "IncidentError",
    "NewerError",
    "Opened",
    "Packed",
    "Policies",
    "Redact",
    "Retried",
    "by_name",
    "examine",
    "is_incident",
    "opened",
    "pack",
    "retried",
    "traced",
]
