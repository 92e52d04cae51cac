"""Stop switches being turned."""

import msgspec

from saferun.control import Switch
from saferun.ledger import ControlEntry, ControlEvent, encode
from saferun.store.transaction import NOBODY, Transaction
from saferun.store.versions import vouch

BY_ITSELF = "saferun"
"""Who has stopped what no person has."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Turn a stop switch on or off. Returns the entry that says so, None where it was so before.

    `credential` is the keyed digest of the secret of the person by whom it is. Raises
    WrongSecretError where it is not theirs: whoever is stopped is nobody by it.
    """

    switch: Switch
    on: bool
    credential: bytes

    def apply(self, tx: Transaction) -> int | None:
        switch = self.switch
        vouch(tx, switch.by, self.credential)
        if not tx.turn(switch, on=self.on):
            return None
        seq = tx.append(encode(turned(switch, "stopped" if self.on else "resumed")))
        run = switch.value if switch.scope == "run" else None
        if run is not None and tx.follower(run) is not None:
            # Whoever follows the run reads of it here, and begins its count anew.
            tx.follow(run, NOBODY)
        return seq


def turned(switch: Switch, event: ControlEvent) -> ControlEntry:
    return ControlEntry(
        event=event,
        scope=switch.scope,
        value=switch.value,
        run=switch.value if switch.scope == "run" else None,
        by=switch.by,
        reason=switch.reason,
    )
