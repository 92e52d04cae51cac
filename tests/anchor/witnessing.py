"""A C2SP witness on loopback, written apart from what it is used to test.

It holds signatures and proofs against `tlog-scales`, signs with `cryptography`, and answers with
the statuses that the specification asks for. `lie` lets a test have it answer something else.
"""

import base64
import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tlog_scales import signing, tlog

Lie = Callable[["Handler", bytes], None]


def vkey_of(name: str, seed: bytes, kind: int = 4) -> str:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return signing.Vkey(name, None, kind, public).serialize()


def cosignature(name: str, seed: bytes, text: bytes, at: int, key_name: str | None = None) -> bytes:
    """The line, with its newline."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes_raw()
    key_id = hashlib.sha256((key_name or name).encode() + b"\n\x04" + public).digest()[:4]
    signature = key.sign(b"cosignature/v1\ntime %d\n" % at + text)
    blob = base64.b64encode(key_id + at.to_bytes(8, "big") + signature).decode()
    return f"— {name} {blob}\n".encode()


class Handler(BaseHTTPRequestHandler):
    server: "WitnessServer"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append(body)
        if self.server.lie is not None:
            self.server.lie(self, body)
        elif self.path != "/add-checkpoint":
            self.answer(404, b"")
        else:
            self.answer(*self.server.decide(body))

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        if status == 409:
            headers.setdefault("Content_Type", "text/x.tlog.size")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class WitnessServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, name: str = "witness.test/w1", seed: bytes = b"w" * 32) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name, self.seed = name, seed
        self.vkey = vkey_of(name, seed)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.logs: dict[str, str] = {}
        self.seen: dict[str, tuple[int, bytes]] = {}
        self.heard: list[bytes] = []
        self.lie: Lie | None = None
        self.over = threading.Event()
        self._lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        pass

    def decide(self, body: bytes) -> tuple[int, bytes]:
        head, _, note = body.partition(b"\n\n")
        first, *proof = head.decode().split("\n")
        old = int(first.removeprefix("old "))
        text = note[: note.index(b"\n\n") + 1]
        stated = tlog.Checkpoint.from_text(note.decode())
        if stated.origin not in self.logs:
            return 404, b""
        vkey = signing.Vkey.from_string(self.logs[stated.origin])
        if not signing.VkeySet(vkey).verify(stated.signatures, stated):
            return 403, b""
        if old > stated.size:
            return 400, b""
        with self._lock:
            size, root = self.seen.get(stated.origin, (0, b""))
            if old != size:
                return 409, b"%d\n" % size
            if size == stated.size and root != stated.root_hash:
                return 409, b"%d\n" % size
            hashes = [base64.b64decode(line) for line in proof]
            if size == 0 or size == stated.size:
                if hashes:
                    return 422, b""
            else:
                try:
                    tlog.ConsistencyProof(size, stated.size, hashes).check(root, stated.root_hash)
                except tlog.ConsistencyProofInvalid:
                    return 422, b""
            self.seen[stated.origin] = (stated.size, stated.root_hash)
        return 200, cosignature(self.name, self.seed, text, int(time.time()))


@contextlib.contextmanager
def listening(**about: object) -> Iterator[WitnessServer]:
    with WitnessServer(**about) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
