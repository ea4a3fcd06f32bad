"""`fasttree certs`: the commands."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import click

from fasttree.command.output import print_json, print_table
from fasttree.command.ranges import NumberRange
from fasttree.command.session import CommandError, Session, home_options
from fasttree.command.shapes import prints

if TYPE_CHECKING:
    from fasttree.command.certs.folder import Issued

#: A minute, which tests need, to a century.
_DAYS = NumberRange(1 / 1_440, 36_525)
_ROOT_DAYS = 1_825.0
_DAYS_AT_FIRST = 30.0
#: No role begins so.
_MEANS_SERIAL = re.compile(r"\s*[-+]?[0-9]")
_SERIAL = re.compile(r"0[xX][0-9A-Fa-f]{1,40}")
#: What a certificate's number may have: 20 bytes, of which the first bit is its sign (RFC 5280).
_SERIAL_BITS_MAX = 159

_folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where they are; those of the cluster of `fasttree up --tls` that is named or here, else ./certs.",
)


def _found(session: Session, folder: Path | None) -> Path:
    if folder is not None:
        return folder
    return next((path for home in session.homes() if (path := home / "certs").exists()), Path("certs"))


class CertificateJson(TypedDict):
    """A certificate that lies there."""

    file: str
    name: str
    hosts: list[str]
    expires: str
    left_s: int
    #: In the last third of its life.
    due: bool
    ours: bool
    serial: str
    revoked: bool


@click.group()
def certs() -> None:
    """Certificates of a cluster's own authority, for companies that have none.

    `docs/security.md` says which part needs which.
    """


@certs.command()
@prints(list[CertificateJson])
@_folder_option
@click.option("--cluster", default="dot-live", show_default=True, help="The cluster's name, as cluster.name has it.")
@click.option("--days", type=_DAYS, default=_ROOT_DAYS, show_default=True, help="How long the authority is good.")
@click.option("--anew", is_flag=True, help="In the place of an authority that is there.")
@home_options
def init(session: Session, folder: Path | None, cluster: str, days: float, anew: bool) -> None:
    """Makes an authority: ca.crt, which everybody may have, and ca.key, which signs and stays here."""
    from fasttree.command.certs.folder import CertificateFolder
    from fasttree.command.certs.roles import check_cluster

    found = CertificateFolder(_found(session, folder))
    _done(lambda: found.init(check_cluster(cluster), datetime.timedelta(days=days), anew=anew))
    _print(session, [next(found.issued())])


@certs.command()
@prints(list[CertificateJson])
@click.argument("holder", metavar="ROLE[/NAME]")
@_folder_option
@click.option("--host", "hosts", multiple=True, help="A name or address at which others dial it; may be repeated.")
@click.option("--days", type=_DAYS, default=_DAYS_AT_FIRST, show_default=True, help="How long it is good.")
@home_options
def issue(session: Session, holder: str, folder: Path | None, hosts: tuple[str, ...], days: float) -> None:
    """A certificate for a part (node/n1, pusher, coordinator, vip, datatrax, console), in ROLE/NAME/ as `tls.folder`
    wants it; or for a client (push-program, importer, reporter, personal-reporter, leader, operator, auditor, monitor),
    as client-ROLE.crt and .key.

    One that is there is replaced.
    """
    from fasttree.command.certs.authority import check_host
    from fasttree.command.certs.folder import CertificateFolder
    from fasttree.command.certs.roles import PARTS, holder_of

    named = holder_of(holder)
    if named.role in PARTS and named.role not in ("datatrax", "console") and not hosts:
        raise CommandError(f"{named}: others dial it: name its hosts, as --host ftsp01.example.com --host 10.0.0.1")
    lifetime = datetime.timedelta(days=days)
    hosts = tuple(map(check_host, hosts))
    found = CertificateFolder(_found(session, folder))
    authority = found.authority()
    files = _done(lambda: found.issue(authority, named, hosts, lifetime))
    made = found.at(files.certificate)
    if made.expires == authority.certificate.not_valid_after_utc:
        click.echo(f"note: it is good for no longer than {found.ca}, which ends then", err=True)
    _print(session, [made])


@certs.command()
@prints(list[CertificateJson])
@_folder_option
@click.option("--all", "all_of_them", is_flag=True, help="Also those that are good for long yet.")
@home_options
def renew(session: Session, folder: Path | None, all_of_them: bool) -> None:
    """New certificates, with new keys, in the places of those that are in the last third of their lives.

    They keep their names and how long they are good. Every part takes them by itself, without a restart.
    """
    from fasttree.command.certs.folder import CertificateFolder

    found = CertificateFolder(_found(session, folder))
    authority = found.authority()
    faults: list[str] = []
    renewed = _done(lambda: found.renew(authority, faults, all_of_them=all_of_them))
    if renewed or session.json:
        _print(session, renewed)
    elif not faults:
        click.echo("none is due")
    if faults:
        raise CommandError("; ".join(faults))


@certs.command()
@prints(list[CertificateJson])
@_folder_option
@home_options
def show(session: Session, folder: Path | None) -> None:
    """Every certificate that lies there: whose it is, and until when. Exit code 1 where one has expired."""
    from fasttree.command.certs.folder import CertificateFolder

    faults: list[str] = []
    issued = list(CertificateFolder(_found(session, folder)).issued(faults))
    _print(session, issued)
    faults += [f"{each.path} has expired: `fasttree certs renew`" for each in issued if each.left_s <= 0][:1]
    if faults:
        raise CommandError("; ".join(faults))


@certs.command()
@prints(list[CertificateJson])
@click.argument("holders", metavar="ROLE[/NAME]|SERIAL", nargs=-1, required=True)
@_folder_option
@home_options
def revoke(session: Session, holders: tuple[str, ...], folder: Path | None) -> None:
    """From now on these certificates count no more: by their holders, every one that was signed for them and is good
    yet, renewed since or not; or one alone by its serial number (0x…), as `fasttree certs show --json` tells it. A
    number that no certificate has that was signed here goes on the list too, and is told.

    It writes revoked.crl, which every part follows that names it in `tls.revoked_file`, and believed.pem, for Envoy.
    """
    from fasttree.command.certs.folder import CertificateFolder
    from fasttree.command.certs.roles import holder_of

    found = CertificateFolder(_found(session, folder))
    authority, serials = found.authority(), []
    for holder in holders:
        serials += [_serial(holder)] if _MEANS_SERIAL.match(holder) else found.serials_of(holder_of(holder))
    unknown = [serial for serial in dict.fromkeys(serials) if not found.knows(serial)]
    _done(lambda: found.revoke(authority, serials))
    for serial in unknown:
        told = f"0x{serial:X} is on the list; no certificate of this authority in {found.path} has this number"
        click.echo(f"note: {told}: `fasttree certs show --json` tells which there are", err=True)
    _print(session, [each for each in found.issued([]) if each.revoked])


def _serial(text: str) -> int:
    serial = int(text, 16) if _SERIAL.fullmatch(text) else 0
    if not 0 < serial < 1 << _SERIAL_BITS_MAX:
        raise CommandError(
            f"{text!r} is no serial number: write 0x and up to 40 hexadecimal digits, as 0x1A2B; "
            "`fasttree certs show --json` tells those of the certificates here"
        )
    return serial


def _done(work: Any) -> Any:
    """Its outcome. Raises CommandError where the disk refuses."""
    try:
        return work()
    except OSError as error:
        raise CommandError(f"{error.filename or 'the folder'}: {error.strerror or error}") from None


def _print(session: Session, issued: list[Issued]) -> None:
    if session.json:
        print_json(
            [
                CertificateJson(
                    file=str(each.path),
                    name=each.uri,
                    hosts=list(each.hosts),
                    expires=each.expires.isoformat(),
                    left_s=round(each.left_s),
                    due=each.due,
                    ours=each.ours,
                    serial=f"0x{each.serial:X}",
                    revoked=each.revoked,
                )
                for each in issued
            ]
        )
        return
    print_table(
        ("file", "name", "hosts", "good until", "left"),
        [
            (each.path, each.uri, " ".join(each.hosts), f"{each.expires:%Y-%m-%d %H:%M} UTC", _left(each))
            for each in issued
        ],
    )


def _left(each: Issued) -> str:
    if not each.ours:
        return "another authority's"
    if each.revoked:
        return "revoked"
    if each.left_s <= 0:
        return "expired"
    left = f"{each.left_s / 86_400:.0f} days" if each.left_s > 2 * 86_400 else f"{each.left_s / 3_600:.1f} h"
    return f"{left}, due" if each.due else left
