"""A CA for tests, and what it certifies: real certificates for real daemons on loopback."""

from __future__ import annotations

import socketserver
import ssl
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from salina.common.certificate import new_key
from salina.common.https import Identity
from salina_fleet import secrets

APP_HOSTS = ("s1", "s2", "s3", "w1", "w2", "w3", "crm1", "shop1", "crm-staging1")
"""The ids of the app hosts that tests put behind a balancer."""
USES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


class Authority:
    """A CA, whose certificate is ca.crt of a directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = new_key()
        text = secrets.self_signed(self.key, "test", 1)
        self.certificate = x509.load_pem_x509_certificate(text.encode())
        (folder / "ca.crt").write_text(text)

    def issue(
        self,
        file: str,
        common_name: str,
        names: Sequence[str] = (),
        use: str = "server",
        expired: bool = False,
    ) -> Identity:
        """Sign a certificate for one purpose, and write it and its key.

        Args:
            file: the name of both files, without their ends.
            common_name: the common name.
            names: DNS names; by default the common name alone.
            use: `server`, `client`, or both with a space between them.
            expired: whether it has ended a second after it began.
        """
        key = serialization.load_pem_private_key(new_key().encode(), None)
        signer = serialization.load_pem_private_key(self.key.encode(), None)
        begin = self.certificate.not_valid_before_utc
        end = begin + timedelta(seconds=1) if expired else self.certificate.not_valid_after_utc
        alternative = [x509.DNSName(name) for name in names or [common_name]]
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName(alternative), False)
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(x509.ExtendedKeyUsage([USES[one] for one in use.split()]), False)
            .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
        )
        own = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        own[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
        own[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return Identity(str(self.folder / "ca.crt"), str(own[0]), str(own[1]))


def serve_tls(server: socketserver.TCPServer, folder: Path) -> None:
    """Let a server, which does not run yet, speak TLS as an app host's nginx does.

    Args:
        server: the server.
        folder: where `web.crt`, its key and `ca.crt` are.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "web.crt", folder / "web.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
