"""Writes the shipped files of the VIP by TLS, made of those without: python -m tools.vip_tls"""

from __future__ import annotations

from pathlib import Path

from fasttree.command.certs.roles import BELIEVED, REVOKED
from fasttree.command.local.vip import deploy_file
from fasttree.command.local.vip_tls import (
    AUTHORITIES,
    CERTIFICATE,
    EnvoyTls,
    envoy_with_tls,
    haproxy_with_tls,
    sds_files,
)

ROOT = Path(__file__).parents[1]
_ENVOY = Path("/etc/envoy")
_HEAD = "# Made by `python -m tools.vip_tls` from {}, which is the one to edit: the same, by certificates.\n#\n"
_CLUSTER = "dot-live"
_NODE = "# Whoever follows files needs a name.\nnode: {id: vip, cluster: fasttree}\n\n"


def made() -> dict[str, str]:
    """Each file's path in the repository, and its text."""
    secrets = {CERTIFICATE: "sds-certificate.yaml", AUTHORITIES: "sds-authorities.yaml"}
    tls = EnvoyTls(_CLUSTER, _ENVOY / secrets[CERTIFICATE], _ENVOY / secrets[AUTHORITIES])
    envoy = envoy_with_tls(deploy_file("envoy/envoy.yaml").read_text(encoding="utf-8"), tls)
    haproxy = haproxy_with_tls(
        deploy_file("haproxy/haproxy.cfg").read_text(encoding="utf-8"),
        "/etc/haproxy/tls",
        _CLUSTER,
        f"/etc/haproxy/tls/{REVOKED}",
    )
    return {
        "deploy/envoy/envoy-tls.yaml": _HEAD.format("deploy/envoy/envoy.yaml") + _NODE + envoy,
        "deploy/haproxy/haproxy-tls.cfg": _HEAD.format("deploy/haproxy/haproxy.cfg") + haproxy,
        **{
            f"deploy/envoy/{secrets[kind]}": text
            for kind, text in sds_files(_ENVOY / "tls", _ENVOY / "tls" / BELIEVED).items()
        },
    }


def main() -> None:
    """Writes them."""
    for path, text in made().items():
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
