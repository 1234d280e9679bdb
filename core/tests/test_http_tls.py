"""TLS: the certificate is checked against the name asked for, whatever address was connected to."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import egress, http
from core.errors import ProviderUnavailable, ProviderUnreached
from core.http import transport
from core.tests.conftest import Serve
from core.tests.servers import LoopbackServer, answer, replying

pytestmark = pytest.mark.usefixtures("loopback")
TlsServe = Callable[..., LoopbackServer]


class Authority:
    """A certificate authority of this test run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = (
            self._build("", self.name, self.key, days=1).add_extension(basic, True).sign(self.key, hashes.SHA256())
        )
        self.path = folder / "ca.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _build(
        self, host: str, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=9))
        builder = builder.not_valid_after(now + datetime.timedelta(days=days))
        return builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False) if host else builder

    def context(self, host: str, *, days: int = 1) -> ssl.SSLContext:
        """A server's context with a certificate for `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._build(host, subject, key, days).sign(self.key, hashes.SHA256())
        path = self.folder / f"{host}{days}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """An authority that this machine trusts for the length of the test."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    egress.tls_context.cache_clear()
    transport._pool.cache_clear()
    yield made
    egress.tls_context.cache_clear()
    transport._pool.cache_clear()


def test_request_certificate_of_the_name_is_accepted_and_the_name_is_asked_for(
    serve: Serve, names: dict[str, list[str]], authority: Authority
) -> None:
    asked: list[str | None] = []
    context = authority.context("api.example.com")
    context.sni_callback = lambda _, name, __: asked.append(name)
    server = serve(replying(answer(200, b"hello")), tls=context)
    names["api.example.com"] = ["127.0.0.1"]
    response = http.request("GET", f"https://api.example.com:{server.port}/", bearer="t0ken")
    assert response.content == b"hello"
    assert asked == ["api.example.com"]
    assert f"host: api.example.com:{server.port}".encode() in server.requests[0].lower()


def test_request_certificate_of_another_name_is_refused_before_anything_is_sent(
    serve: Serve, names: dict[str, list[str]], authority: Authority
) -> None:
    server = serve(replying(answer()), tls=authority.context("other.example.com"))
    names["api.example.com"] = ["127.0.0.1"]
    with pytest.raises(ProviderUnavailable, match=r"The certificate of api\.example\.com is not valid") as caught:
        http.request("POST", f"https://api.example.com:{server.port}/", json={}, bearer="t0ken")
    assert type(caught.value) is ProviderUnreached
    assert server.requests == []


def test_request_expired_certificate_is_refused(
    serve: Serve, names: dict[str, list[str]], authority: Authority
) -> None:
    server = serve(replying(answer()), tls=authority.context("api.example.com", days=-1))
    names["api.example.com"] = ["127.0.0.1"]
    with pytest.raises(ProviderUnavailable, match="expired"):
        http.request("GET", f"https://api.example.com:{server.port}/")


def test_request_untrusted_certificate_is_refused(serve: Serve, names: dict[str, list[str]], tmp_path: Path) -> None:
    server = serve(replying(answer()), tls=Authority(tmp_path).context("api.example.com"))
    names["api.example.com"] = ["127.0.0.1"]
    with pytest.raises(ProviderUnavailable, match="is not valid"):
        http.request("GET", f"https://api.example.com:{server.port}/")


def test_request_server_without_tls_is_unavailable(serve: Serve) -> None:
    server = serve(replying(answer()), greeting=b"220 mail.example.com ESMTP\r\n")
    with pytest.raises(ProviderUnavailable, match="TLS handshake"):
        http.request("POST", f"https://127.0.0.1:{server.port}/", json={})


def test_request_silent_handshake_ends_at_the_deadline(serve: Serve) -> None:
    server = serve(lambda *_: server.wait(10) and None)
    with pytest.raises(ProviderUnavailable, match="TLS handshake"):
        http.request("GET", f"https://127.0.0.1:{server.port}/", timeout=0.3)


def test_start_tls_gives_a_stream_of_the_checked_name(serve: Serve, authority: Authority) -> None:
    server = serve(replying(answer(200, b"ok")), tls=authority.context("mail.example.com"))
    sock = egress.start_tls(egress.connect("127.0.0.1", server.port, 5), "mail.example.com", 5)
    with sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    with pytest.raises(ProviderUnavailable):
        egress.start_tls(egress.connect("127.0.0.1", server.port, 5), "mail.example.org", 5)
