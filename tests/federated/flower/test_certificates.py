"""Certificates that TLS accepts for the right host only."""

from __future__ import annotations

import ssl

import pytest

from autokit.federated.engines.flower.certificates import (
    Credentials,
    local_name,
    make_certificates,
)


@pytest.fixture(scope="module")
def credentials(flower, tmp_path_factory):
    return make_certificates(["fl.example.org", "10.1.2.3"], tmp_path_factory.mktemp("tls"))


def shake_hands(credentials: Credentials, host: str, root=None) -> None:
    """A TLS handshake in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(root or credentials.root)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(credentials.certificate, credentials.key)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=host),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass


@pytest.mark.parametrize("host", ["fl.example.org", "10.1.2.3", "localhost", "127.0.0.1"])
def test_is_good_for_its_hosts(credentials, host):
    shake_hands(credentials, host)


def test_is_good_for_no_other_host(credentials):
    with pytest.raises(ssl.SSLCertVerificationError, match="doesn't match|mismatch"):
        shake_hands(credentials, "elsewhere.example.org")


def test_another_authority_does_not_vouch_for_it(credentials, tmp_path):
    other = make_certificates(["fl.example.org"], tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(credentials, "fl.example.org", root=other.root)


def test_the_key_is_private_and_nothing_is_replaced(credentials):
    for private in (credentials.key, credentials.secret):
        assert private.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError, match="is there already"):
        make_certificates(["fl.example.org"], credentials.key.parent)


def test_a_server_is_called_by_a_name_of_this_machine(credentials):
    assert local_name(credentials.certificate) == "127.0.0.1"


@pytest.mark.parametrize("host", ["", "a b", "https://example.org", "example.org:9092"])
def test_refuses_what_is_no_host(flower, host, tmp_path):
    with pytest.raises(ValueError, match="a name such as 'fl.example.org'"):
        make_certificates([host], tmp_path)


def test_names_the_file_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="the certificate .* is not there"):
        Credentials(tmp_path / "a.pem", tmp_path / "a.key", tmp_path / "root.pem").check()
