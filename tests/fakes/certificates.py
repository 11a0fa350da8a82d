"""Certificates for receivers: good ones, and the ones nobody may trust."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM
_USAGE = x509.KeyUsage(False, False, False, False, False, True, True, False, False)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class Authority:
    """Makes certificates; `trusting()` is a client that trusts it and nobody else."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        """A new one, its files in `folder`."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named("test ca"), _named("test ca"), key, key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_USAGE, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        made = cls(folder, key, builder.sign(key, hashes.SHA256()))
        (folder / "ca.pem").write_bytes(made.certificate.public_bytes(_PEM))
        return made

    def trusting(self) -> ssl.SSLContext:
        """A client's context."""
        return ssl.create_default_context(cafile=str(self.folder / "ca.pem"))

    def server(self, name: str, *, expired: bool = False, self_signed: bool = False) -> ssl.SSLContext:
        """A server's context with a certificate for the name."""
        key = ec.generate_private_key(ec.SECP256R1())
        signer, issuer = (key, _named(name)) if self_signed else (self.key, _named("test ca"))
        builder = _builder(_named(name), issuer, key, signer, ended=expired)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        stem = self.folder / f"{name}-{'expired' if expired else 'own' if self_signed else 'good'}"
        stem.with_suffix(".pem").write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(_PEM))
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        stem.with_suffix(".key").write_bytes(private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    ended: bool = False,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    until = now - timedelta(minutes=5) if ended else now + timedelta(hours=1)
    builder = x509.CertificateBuilder(issuer_name=issuer, subject_name=subject, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1)).not_valid_after(until)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
