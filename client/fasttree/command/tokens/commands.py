"""`fasttree token`: the commands."""

from __future__ import annotations

import contextlib
import datetime
import re
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

import click

from fasttree.command.certs.roles import CLIENTS
from fasttree.command.output import print_json
from fasttree.command.ranges import NumberRange
from fasttree.command.session import CommandError, Session, home_options
from fasttree.command.shapes import prints

if TYPE_CHECKING:
    from fasttree.command.tokens.issuer import TokenIssuer

#: Of a cluster on this machine, in its folder, as `ClusterFolder.tokens` has it.
_FOLDER = "tokens"
KEY_FILE = "issuer.key"
_HOUR_S = 3_600.0
#: As it lies in a file: three parts in base64, and a line's end (RFC 7515).
_TOKEN = re.compile(rb"\s*[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\s*")
_TOKEN_BYTES_MAX = 1 << 16

_key_option = click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The issuer's private key; that of the cluster of `fasttree up --tokens` that is named or here, else.",
)


def _issuer(session: Session, key: Path | None) -> TokenIssuer:
    from fasttree.command.tokens.issuer import TokenIssuer

    if key is None:
        places = [home / _FOLDER / KEY_FILE for home in session.homes()]
        key = next((place for place in places if place.exists()), None)
    if key is None:
        raise CommandError("whose key? name its file with --key; `fasttree token keys --key FILE` makes one")
    return TokenIssuer(key)


class TokenKeysJson(TypedDict):
    """The issuer's files; `made`: the key is a new one."""

    key: str
    keys: str
    made: bool


class TokenJson(TypedDict):
    """A token, or the file that it was written to."""

    file: NotRequired[str]
    token: NotRequired[str]
    token_id: str
    expires: str


@click.group()
def token() -> None:
    """Tokens for people and web pages, of an issuer of one's own, for companies that have no other.

    `docs/security.md` says what they are good for.
    """


@token.command()
@prints(TokenKeysJson)
@_key_option
@click.option(
    "--audience",
    default="dot-live",
    show_default=True,
    help="For whom its tokens are, as tokens.audience has it: the cluster's name.",
)
@click.option("--anew", is_flag=True, help="Another key from now on; tokens by the one before are good until they end.")
@home_options
def keys(session: Session, key: Path | None, audience: str, anew: bool) -> None:
    """Makes the issuer's key, which signs and stays here, and keys.json beside it, which `tokens.keys` of every part
    names."""
    issuer = _issuer(session, key)
    try:
        made = issuer.make(audience, anew=anew)
    except OSError as error:
        raise CommandError(f"{error.filename or issuer.path}: {error.strerror or error}") from None
    if session.json:
        print_json(TokenKeysJson(key=str(issuer.path), keys=str(issuer.jwks), made=made))
    else:
        click.echo(
            f"{issuer.path} {'is a new key' if made else 'is there already'}; its public part is in {issuer.jwks}"
        )


def _check_out(out: Path) -> None:
    """A token takes the place of nothing but another one: not of the issuer's key, say. Raises OSError."""
    from fasttree.client.files import check_replaceable, open_regular

    check_replaceable(out)
    with contextlib.suppress(FileNotFoundError), open_regular(out) as file:
        content = file.read(_TOKEN_BYTES_MAX)
        if content.strip() and not _TOKEN.fullmatch(content):
            raise OSError(0, "it is there and is no token, and is not written over: name another file")


@token.command()
@prints(TokenJson)
@_key_option
@click.option("--role", type=click.Choice(CLIENTS), required=True, help="What the holder may do.")
@click.option("--member-id", default="", help="Which member a leader is: he sees that one and those below.")
@click.option("--subject", default="", help="Who the holder is; the member's id, or the role, where not given.")
@click.option("--audience", default="", help="For whom, where not for those that the key was made for.")
@click.option(
    "--hours",
    type=NumberRange(1 / 3_600, 24.0 * 366),
    default=8.0,
    show_default=True,
    help="How long it is good: from a second to a year.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Writes the token there, for its owner alone, in place of printing it.",
)
@home_options
def issue(
    session: Session, key: Path | None, role: str, member_id: str, subject: str, audience: str, hours: float,
    out: Path | None,
) -> None:  # fmt: skip
    """A token for somebody. Whoever has it, is he: hand it on as you would a password."""
    from services.shared.files.durable import write_durably

    if (role == "leader") != bool(member_id):
        raise CommandError("a leader is a member, and nobody else needs one: --member-id goes with --role leader")
    issued = _issuer(session, key).issue(role, member_id, subject or member_id or role, audience, hours * _HOUR_S)
    expires = datetime.datetime.fromtimestamp(issued.expires_s, datetime.UTC).isoformat()
    if out is not None:
        try:
            _check_out(out)
            write_durably(out, issued.token.encode() + b"\n")
        except OSError as error:
            raise CommandError(f"{out}: {error.strerror or error}") from None
    if session.json:
        shown = TokenJson(token_id=issued.token_id, expires=expires)
        if out is not None:
            shown["file"] = str(out)
        else:
            shown["token"] = issued.token
        print_json(shown)
    else:
        click.echo(f"{out} is good until {expires}" if out is not None else issued.token)
