"""Files of a store, searched for a value in any form that it may have been written in.

By a process of its own: whoever closes a file takes away the locks that his own process holds on
it, those of SQLite among them.
"""

import base64
import json
import subprocess
import sys
from pathlib import Path

_SEARCH = """
import json, pathlib, sys
folder, needles = json.load(sys.stdin)
files = [each for each in pathlib.Path(folder).rglob("*") if each.is_file()]
assert any(each.suffix == ".db" for each in files)
found = set()
for file in files:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        continue
    for name, written in needles:
        if any(bytes.fromhex(each) in data for each in written):
            found.add((file.name, name))
print(json.dumps(sorted(found)))
"""


def forms(value: str) -> list[bytes]:
    """A text as it may stand in a file: as it is, escaped, in hex, in base64 at any offset."""
    plain = value.encode()
    assert len(plain) >= 12, "a short one is found by chance"
    found = [plain, value.encode("unicode_escape"), value.encode("utf-16-le")]
    found += [plain.hex().encode(), plain.hex().upper().encode()]
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + plain)
        # What its neighbours have a part in is left out at both ends.
        found.append(whole[4 if shift else 0 : -4])
    return found


def holding(folder: Path, *values: str | bytes) -> list[list[str]]:
    """The files below a folder that hold any of some values, each with the value.

    Text is looked for in every form, bytes as they are.
    """
    needles = [
        (str(value), [each.hex() for each in (forms(value) if isinstance(value, str) else [value])])
        for value in values
    ]
    done = subprocess.run(
        [sys.executable, "-S", "-c", _SEARCH],
        input=json.dumps((str(folder), needles)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found
