"""An ACME directory: serles, which signs with a CA of its own. It runs on a client of the lab.

Usage: python acme_server.py ADDRESS PORT     (in the directory that keeps its files)
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

DAYS = 90
CONFIGURATION = """
[serles]
backend = acme_server:Backend
database = sqlite:///{place}/serles.sqlite
subjectNameTemplate = CN={{SAN[0]}}
"""


def called(name: str) -> x509.Name:
    """A subject with a common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def key(name: str) -> Any:
    """The private key in a file, which is made first if it is missing."""
    path = Path(f"{name}.key")
    if not path.exists():
        new = ec.generate_private_key(ec.SECP256R1())
        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(new.private_bytes(*form))
    return load_pem_private_key(path.read_bytes(), None)


def signed(subject: x509.Name, public: Any, extension: x509.ExtensionType) -> str:
    """A certificate of this CA, PEM."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(called("Internet CA"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(extension, critical=not subject)
        .sign(key("ca"), hashes.SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )


class Backend:
    """The signer of serles, which has checked the challenges before."""

    def __init__(self, configuration: Any) -> None:
        """Have a CA, the same one after a restart."""
        self.authority = Path("ca.pem")
        if not self.authority.exists():
            own = x509.BasicConstraints(ca=True, path_length=0)
            self.authority.write_text(signed(called("Internet CA"), key("ca").public_key(), own))

    def sign(
        self, request: bytes, subject: str, names: list[str], mail: str
    ) -> tuple[str | None, str | None]:
        """Return a certificate with its chain, and no error."""
        public = x509.load_pem_x509_csr(request).public_key()
        given = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        return signed(x509.Name([]), public, given) + self.authority.read_text(), None


def main() -> None:
    """Answer until somebody stops this."""
    address, port = sys.argv[1:]
    Path("serles.ini").write_text(CONFIGURATION.format(place=Path.cwd()))
    os.environ["CONFIG"] = "serles.ini"
    from serles import create_app  # it reads the configuration and makes the CA

    application = create_app()
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    Path("server.pem").write_text(signed(called("directory"), key("server").public_key(), names))
    application.run(host=address, port=int(port), ssl_context=("server.pem", "server.key"))


if __name__ == "__main__":
    main()
