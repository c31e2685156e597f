"""A certificate for the embedded AWS, and what it takes to trust it: AWS itself is reached by TLS alone."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

HOST: Final = "127.0.0.1"
CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
_TRUST: Final = "trust.p12"


def certify(folder: Path) -> None:
    """Writes a certificate of this day, its key, and a trust store for Java."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / CERTIFICATE).write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / KEY).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    trusted = [pkcs12.PKCS12Certificate(certificate, HOST.encode())]
    (folder / _TRUST).write_bytes(pkcs12.serialize_java_truststore(trusted, NoEncryption()))


def trust(folder: Path) -> dict[str, str]:
    """Variables by which Python trusts the certificate."""
    return {"AWS_CA_BUNDLE": str(folder / CERTIFICATE)}


def java_trust(folder: Path) -> list[str]:
    """Options by which Java does."""
    return [f"-Djavax.net.ssl.trustStore={folder / _TRUST}", "-Djavax.net.ssl.trustStoreType=PKCS12"]
