"""Certificates for TLS between nodes and server: made here, or given as files."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autokit.federated.engines.flower.membership import make_secret, read_secret

LOOPBACK = ("localhost", "127.0.0.1")
VALID_DAYS = 825  # the longest that all TLS clients accept of a server
_ROOT, _SERVER, _KEY, _SECRET = "root.pem", "server.pem", "server.key", "join.secret"


@dataclass(frozen=True)
class Credentials:
    """Files that a server shows who it is with, and knows its nodes by.

    Parameters
    ----------
    certificate : str or path-like
        Of the server, in PEM.
    key : str or path-like
        Private, of the certificate.
    root : str or path-like
        The authority that signed the certificate; nodes are given this file.
    secret : str or path-like, default=None
        What nodes must know to join; they are given this file too. None lets everybody join who
        reaches the port.
    """

    certificate: str | os.PathLike
    key: str | os.PathLike
    root: str | os.PathLike
    secret: str | os.PathLike | None = None

    def check(self) -> None:
        """Raise FileNotFoundError for a file that is not there, ValueError for a weak secret."""
        for name in ("certificate", "key", "root"):
            path = Path(getattr(self, name))
            if not path.is_file():
                raise FileNotFoundError(f"the {name} {path} is not there; check the path.")
        if self.secret is not None:
            read_secret(self.secret)


def make_certificates(hosts: Sequence[str], folder: str | os.PathLike) -> Credentials:
    """Make an authority of one's own, and a certificate for a server.

    Parameters
    ----------
    hosts : sequence of str
        Names or IP addresses that nodes call the server by; this machine's own ``localhost`` and
        ``127.0.0.1`` are added.
    folder : str or path-like
        Where to: ``root.pem`` and ``join.secret`` (for the nodes too), ``server.pem`` and
        ``server.key``; only this user may read the secret and the key. Made if need be; files of
        these names are not replaced.

    Returns
    -------
    Credentials

    Raises
    ------
    FileExistsError
        There are such files already.
    ValueError
        A host is neither a name nor an address.

    Notes
    -----
    The authority's own key is thrown away: nobody can sign another certificate in its name, and a
    new server needs a new ``root.pem``.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (_ROOT, _SERVER, _KEY, _SECRET):
        if (folder / name).exists():
            raise FileExistsError(f"{folder / name} is there already; choose another folder.")
    names = [_general_name(host) for host in dict.fromkeys([*hosts, *LOOPBACK])]
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    end = begin + datetime.timedelta(days=VALID_DAYS)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "autokit authority")])
    server = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "autokit server")])

    def signed(subject, key, is_authority: bool, extensions: list):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
                False,
            )
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(authority_key, hashes.SHA256())

    uses = {name: False for name in (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )}  # fmt: skip
    root = signed(
        authority,
        authority_key,
        True,
        [(x509.KeyUsage(**uses | {"key_cert_sign": True, "crl_sign": True}), True)],
    )
    certificate = signed(
        server,
        server_key,
        False,
        [
            (x509.SubjectAlternativeName(names), False),
            (x509.KeyUsage(**uses | {"digital_signature": True}), True),
            (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False),
        ],
    )
    key = server_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    with open(os.open(folder / _KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)
    (folder / _SERVER).write_bytes(certificate.public_bytes(pem))
    (folder / _ROOT).write_bytes(root.public_bytes(pem))
    make_secret(folder / _SECRET)
    return Credentials(*(folder / name for name in (_SERVER, _KEY, _ROOT, _SECRET)))


def local_name(certificate: str | os.PathLike) -> str:
    """A name of this machine that a certificate vouches for, by which to call its server."""
    from cryptography import x509

    parsed = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise ValueError(
            f"{certificate} names no host (it has no subjectAltName), and TLS clients refuse such "
            "certificates; make one with `autokit federated certificate`."
        ) from error
    known = [str(ip) for ip in names.get_values_for_type(x509.IPAddress)]
    known += names.get_values_for_type(x509.DNSName)
    return next((name for name in ("127.0.0.1", "localhost") if name in known), known[0])


def _general_name(host: str):
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not host or any(c in host for c in " /:@") or not host.isascii():
        raise ValueError(
            f"a host must be a name such as 'fl.example.org' or an IP address; got {host!r}."
        )
    return x509.DNSName(host)
