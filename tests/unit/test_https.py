"""Calls over TLS with certificates on both sides, against a real server on loopback."""

from __future__ import annotations

import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from salina.common.certificate import new_key
from salina.common.https import Identity, NoAnswer, call, with_login
from salina_fleet import secrets


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A CA, and a certificate of it for 127.0.0.1 that serves both sides."""
    folder = tmp_path_factory.mktemp("tls")
    authority_key = new_key()
    authority = secrets.self_signed(authority_key, "test", 1)
    key = serialization.load_pem_private_key(new_key().encode(), None)
    signer = serialization.load_pem_private_key(authority_key.encode(), None)
    issuer = x509.load_pem_x509_certificate(authority.encode())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), True
        )
        .sign(signer, hashes.SHA256())
    )
    (folder / "ca.crt").write_text(authority)
    (folder / "host.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "host.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Identity(*(str(folder / name) for name in ("ca.crt", "host.crt", "host.key")))


class Handler(http.server.BaseHTTPRequestHandler):
    """Echoes what was sent, with the status that the path names."""

    def do_POST(self) -> None:  # the base class asks for this name
        size = int(self.headers.get("Content-Length", 0))
        login = (self.headers.get("Authorization") or "").encode()
        body = self.rfile.read(size) if size else b"not JSON " + login
        self.send_response(int(self.path.strip("/")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server(identity: Identity) -> Iterator[str]:
    """A server that wants a certificate of the CA; its URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=identity.ca)
    context.load_cert_chain(identity.certificate, identity.key)
    context.verify_mode = ssl.CERT_REQUIRED
    daemon = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    daemon.socket = context.wrap_socket(daemon.socket, server_side=True)
    threading.Thread(target=daemon.serve_forever, args=(0.02,), daemon=True).start()
    yield f"https://127.0.0.1:{daemon.server_address[1]}"
    daemon.shutdown()
    daemon.server_close()


@pytest.mark.parametrize("status", [200, 503])
def test_any_status_is_an_answer(server: str, identity: Identity, status: int) -> None:
    assert call("POST", f"{server}/{status}", identity, {"a": 1}) == (status, {"a": 1})


def test_text_and_login(server: str, identity: Identity) -> None:
    known = with_login(identity, "patroni", "secret")
    assert call("POST", f"{server}/200", known)[1] == "not JSON Basic cGF0cm9uaTpzZWNyZXQ="
    assert "cGF0cm9uaTpzZWNyZXQ" not in repr(known)


def test_a_closed_port_is_refused(identity: Identity) -> None:
    with pytest.raises(NoAnswer, match="Connection refused") as caught:
        call("GET", "https://127.0.0.1:1/", identity)
    assert caught.value.refused


def test_another_ca_is_not_trusted(server: str, identity: Identity, tmp_path: Path) -> None:
    other = tmp_path / "ca.crt"
    other.write_text(secrets.self_signed(new_key(), "other", 1))
    with pytest.raises(NoAnswer, match="certificate verify failed") as caught:
        call("GET", server, Identity(str(other), identity.certificate, identity.key))
    assert not caught.value.refused


def test_a_name_that_the_certificate_does_not_bear(server: str, identity: Identity) -> None:
    with pytest.raises(NoAnswer, match="localhost"):
        call("GET", server.replace("127.0.0.1", "localhost"), identity)


def test_a_bare_host_has_no_certificate_yet() -> None:
    with pytest.raises(NoAnswer, match="No such file"):
        call("GET", "https://127.0.0.1:1/", Identity("/nowhere/ca", "/nowhere/crt", "/nowhere/key"))
