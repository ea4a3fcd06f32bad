"""The issuer of tokens of a cluster on this machine, and the settings by which its parts believe it."""

from __future__ import annotations

from pathlib import Path

from fasttree.command.tokens.commands import KEY_FILE


def token_settings(folder: Path, cluster: str) -> tuple[str, ...]:
    """Makes the issuer's key, where there is none. Raises CommandError."""
    # What makes keys takes a while to import, which a cluster without tokens need not wait for.
    from fasttree.command.tokens.issuer import ISSUER, TokenIssuer

    issuer = TokenIssuer(folder / KEY_FILE)
    issuer.make(cluster)
    return f"tokens.keys={issuer.jwks}", f"tokens.issuer={ISSUER}", f"tokens.audience={cluster}"
