"""A folder of certificates whose authority's key is kept elsewhere."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import Holder
from fasttree.command.local.certificates import ClusterCertificates
from fasttree.command.session import CommandError


def test_a_cluster_without_the_authority_s_key_starts_while_nothing_has_to_be_signed(tmp_path: Path) -> None:
    folder, parts = tmp_path / "certs", [Holder("node", "n1"), Holder("pusher", "pusher")]
    certificates = ClusterCertificates(folder, "dot-live", "127.0.0.1")
    assert certificates.prepare(parts) == ""
    key = (folder / "ca.key").rename(tmp_path / "ca.key")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert certificates.prepare(parts) == (
        f"{folder}/ca.key is not there: nothing needs it now; bring it back before a certificate has to be renewed"
    )
    certificates.renew()
    more = [*parts, Holder("node", "n2"), Holder("node", "n3")]
    for wanted, host, why in (
        (more, "127.0.0.1", "node/n2 has no certificate, and 1 more"),
        (parts[:1], "10.0.0.1", "node/n1 has one of other hosts"),
    ):
        with pytest.raises(
            CommandError, match=re.escape(f"ca.key is not there, and something has to be signed ({why}")
        ):
            ClusterCertificates(folder, "dot-live", host).prepare(wanted)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (folder / "believed.pem").unlink()
    with pytest.raises(CommandError, match="the list of those that count no more is not there"):
        certificates.prepare(parts)
    key.rename(folder / "ca.key")
    assert certificates.prepare(parts) == ""
    assert (folder / "believed.pem").exists()


def of_thirty_days(certificate: Path, authority_key: Path, left: datetime.timedelta) -> None:
    """The certificate that lies there, as if it had been made so long ago that this is left of it."""
    key = serialization.load_pem_private_key(authority_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    was, ends = x509.load_pem_x509_certificate(certificate.read_bytes()), datetime.datetime.now(datetime.UTC) + left
    public = was.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    builder = x509.CertificateBuilder(was.issuer, was.subject, public, was.serial_number)
    builder = builder.not_valid_before(ends - datetime.timedelta(days=30)).not_valid_after(ends)
    for each in was.extensions:
        builder = builder.add_extension(each.value, each.critical)
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize("left_h", [72, 3])
def test_a_certificate_that_is_due_is_told_where_nobody_can_renew_it(tmp_path: Path, left_h: int) -> None:
    """And nothing starts where it would end within the day."""
    path, part = tmp_path / "certs", Holder("node", "n1")
    certificates = ClusterCertificates(path, "dot-live", "127.0.0.1")
    certificates.prepare([part])
    certificate = CertificateFolder(path).files(part).certificate
    of_thirty_days(certificate, path / "ca.key", datetime.timedelta(hours=left_h, minutes=1))
    before = certificate.read_bytes()
    key = (path / "ca.key").rename(tmp_path / "ca.key")
    if left_h == 72:
        assert certificates.prepare([part]).endswith("before a certificate has to be renewed, within 3 days")
    else:
        with pytest.raises(CommandError, match="that of node/n1 is good for less than a day"):
            certificates.prepare([part])
    with pytest.raises(CommandError, match=r"ca\.key is not there: bring it back"):
        certificates.renew()
    assert certificate.read_bytes() == before
    key.rename(path / "ca.key")
    assert certificates.prepare([part]) == ""
    assert certificate.read_bytes() != before
