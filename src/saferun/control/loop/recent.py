"""What came last: a mapping that forgets what it has not been asked to keep for longest."""

from typing import Generic, TypeVar

import msgspec

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(msgspec.Struct, Generic[Key, Value]):
    """Holds at least the `size` keys that were put last, and at most twice as many.

    Two generations: when the young one is full it becomes the old one, and what was old is
    forgotten. Unlike a list in order of use, it need not be kept in order, and two that were
    told the same are equal.
    """

    size: int
    young: dict[Key, Value] = {}
    old: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        found = self.young.get(key)
        return self.old.get(key) if found is None else found

    def put(self, key: Key, value: Value) -> None:
        young = self.young
        if key not in young:
            if len(young) >= self.size:
                self.old, young = young, {}
                self.young = young
            self.old.pop(key, None)
        young[key] = value

    def pop(self, key: Key) -> Value | None:
        found = self.young.pop(key, None)
        return self.old.pop(key, None) if found is None else found
