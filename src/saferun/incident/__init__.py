"""Incident files: one run with all that belongs to it, to be handed on, verified and looked at.

`pack` writes one from a store, with what `Outgoing` leaves of it for an audience; `weigh` says what
that would be. `examine` says whether a file is whole and who vouches for it, and `opened` has it
read as a store is. `retried` puts its calls before policies as they are now.
docs/incident-format.md has the format.
"""

from saferun.incident.container import IncidentError, NewerError
from saferun.incident.opened import SUFFIX, Opened, is_incident, opened
from saferun.incident.outgoing import Outgoing
from saferun.incident.packing import Content, Packed, Redacts, family, pack, weigh
from saferun.incident.reading import Incident, examine
from saferun.incident.retrial import Policies, Retried, by_name, retried, veiled
from saferun.incident.traced import traced

__all__ = [
    "SUFFIX",
    "Content",
    "Incident",
    "IncidentError",
    "NewerError",
    "Opened",
    "Outgoing",
    "Packed",
    "Policies",
    "Redacts",
    "Retried",
    "by_name",
    "examine",
    "family",
    "is_incident",
    "opened",
    "pack",
    "retried",
    "traced",
    "veiled",
    "weigh",
]
