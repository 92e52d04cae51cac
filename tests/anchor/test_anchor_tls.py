"""Over TLS, a witness is who a certificate authority says it is, or it is not talked to."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from anchor.offering import bodies, offered, take
from anchor.witnessing import WitnessServer
from saferun.anchor import AnchorError
from saferun.anchor.witness import WitnessPlace
from saferun.ledger import cosignatures


def certificate(folder: Path, address: str) -> Path:
    """A certificate that vouches for itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "witness.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "witness.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@pytest.fixture(params=["127.0.0.1"])
def encrypted(server: WitnessServer, tmp_path: Path, request) -> Iterator[Path]:
    file = certificate(tmp_path, request.param)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    yield file
    server.socket.close()


def place(server: WitnessServer) -> WitnessPlace:
    return WitnessPlace("w1", server.url.replace("http://", "https://"), server.vkey)


def test_a_certificate_that_is_trusted_here_is_taken(server, encrypted, monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(encrypted))
    note = take(place(server), offered(bodies(1)))
    assert cosignatures(note, [place(server).witness])


def test_a_certificate_that_nobody_vouches_for_is_refused(server, encrypted) -> None:
    with pytest.raises(AnchorError, match=r"could not be reached.*(?i:certificate)"):
        take(place(server), offered(bodies(1)))
    assert server.heard == []


@pytest.mark.parametrize("encrypted", ["127.0.0.2"], indirect=True)
def test_a_certificate_for_another_host_is_refused(server, encrypted, monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(encrypted))
    with pytest.raises(AnchorError, match=r"could not be reached.*(?i:certificate)"):
        take(place(server), offered(bodies(1)))
    assert server.heard == []
