"""The VIP by TLS: what is put into its configuration for its clients and for the nodes.

Envoy reads its certificate, and the list of those that count no more, from files that it watches (`sds_files`), so what
is renewed or revoked counts from the next connection on. It looks at a certificate when a connection begins and never
again, so no connection lasts (`_AGE_S_MAX`). HAProxy reads its own files when it starts or is reloaded.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from fasttree.command.local.vip import ENVOY_CLUSTERS, replace_block

_TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
CERTIFICATE: Final = "certificate"
AUTHORITIES: Final = "authorities"
#: Of the company's clients that speak 1.2 yet, and of no others.
_VERSIONS: Final = "{tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3}"
#: A connection that began before its certificate was revoked is asked to come anew after this time, and refused then.
_AGE_S_MAX: Final = 30


class EnvoyTls(NamedTuple):
    """Where Envoy's certificate is, and whom it believes."""

    #: The cluster's name in the nodes' certificates.
    cluster: str
    #: The files of `sds_files`.
    certificate: Path
    authorities: Path


def sds_files(folder: Path, believed: Path) -> dict[str, str]:
    """What tells Envoy of the tls.crt and tls.key in `folder`, and of lists and authorities in `believed`; by what it
    is of. Envoy looks at the files again whenever one takes another's place there."""
    watched = f"watched_directory: {{path: {json.dumps(str(folder))}}}"
    names = {name: f"{{filename: {json.dumps(str(folder / name))}}}" for name in ("tls.crt", "tls.key")}
    certificate = (
        f"tls_certificate:\n  certificate_chain: {names['tls.crt']}\n  private_key: {names['tls.key']}\n  {watched}\n"
    )
    authorities = (
        "validation_context:\n"
        "  # The list of what each authority has revoked, then the authorities: all in one file, which Envoy refuses\n"
        "  # where it is empty or cut off. (An empty crl of its own it takes for none, and lets in who was\n"
        "  # revoked.) Its folder is watched.\n"
        f"  trusted_ca: {{filename: {json.dumps(str(believed))}}}\n  only_verify_leaf_cert_crl: true\n"
    )
    return {
        kind: f'resources:\n  - "@type": {_TLS}.Secret\n    name: {kind}\n{textwrap.indent(content, "    ")}'
        for kind, content in ((CERTIFICATE, certificate), (AUTHORITIES, authorities))
    }


def envoy_with_tls(text: str, tls: EnvoyTls) -> str:
    """Envoy's configuration, with certificates to its clients and to the nodes. Raises VipError."""
    text = replace_block(text, "TLS to clients", _downstream(tls).splitlines())
    text = replace_block(text, "connections", _CONNECTIONS.splitlines())
    text = replace_block(text, "names of callers", _CALLERS.splitlines())
    for cluster in ENVOY_CLUSTERS:
        text = replace_block(text, f"TLS of {cluster}", _upstream(tls).splitlines())
    return text


#: Calls and streams under way finish on the old connection.
_CONNECTIONS: Final = f"""\
# A certificate is looked at when a connection begins: one that was revoked since is refused when it comes anew.
# Calls and streams under way finish.
common_http_protocol_options: {{max_connection_duration: {_AGE_S_MAX}s}}
drain_timeout: 5s"""

#: A node hears who calls it, and from nobody else: what a client says of itself in this header is thrown away.
_CALLERS: Final = """\
forward_client_cert_details: SANITIZE_SET
set_current_client_cert_details: {uri: true}"""


def _secrets(tls: EnvoyTls) -> Mapping[str, str]:
    files = {CERTIFICATE: tls.certificate, AUTHORITIES: tls.authorities}
    return {
        name: f"{{name: {name}, sds_config: {{path_config_source: {{path: {json.dumps(str(path))}}}}}}}"
        for name, path in files.items()
    }


def _downstream(tls: EnvoyTls) -> str:
    secrets = _secrets(tls)
    return f"""\
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": {_TLS}.DownstreamTlsContext
    require_client_certificate: true
    # Whoever comes again shows its certificate again.
    disable_stateless_session_resumption: true
    common_tls_context:
      alpn_protocols: [h2]
      tls_params: {_VERSIONS}
      tls_certificate_sds_secret_configs: [{secrets[CERTIFICATE]}]
      validation_context_sds_secret_config: {secrets[AUTHORITIES]}"""


def _upstream(tls: EnvoyTls) -> str:
    secrets = _secrets(tls)
    return f"""\
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": {_TLS}.UpstreamTlsContext
    common_tls_context:
      alpn_protocols: [h2]
      tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
      tls_certificate_sds_secret_configs: [{secrets[CERTIFICATE]}]
      combined_validation_context:
        # Whatever its address is: a node of this cluster.
        default_validation_context:
          match_typed_subject_alt_names:
            - {{san_type: URI, matcher: {{prefix: "spiffe://{tls.cluster}/node/"}}}}
        validation_context_sds_secret_config: {secrets[AUTHORITIES]}"""


_HAPROXY_READS: Final = """\
  # It reads the files when it starts: reload it (SIGUSR2 to `haproxy -W`) when a certificate is renewed or revoked.
  # crl-file has a list of each authority in ca.crt, else nobody is let in; where there are no lists, take it out."""


def haproxy_with_tls(text: str, folder: str, cluster: str, revoked: str) -> str:
    """HAProxy's configuration by TLS.

    Args:
        folder: Of tls.crt, tls.key and ca.crt, without a `/` at its end.
        cluster: Its name in certificates. HAProxy 2.6 reads no URI of one, so it tells the nodes the common name,
            ROLE/NAME.
        revoked: The file with a list of each authority, of the root as well.
    """
    own = f"crt {folder}/tls.crt ca-file {folder}/ca.crt crl-file {revoked} verify required"
    lines = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["bind"]:
            line = line.replace(" proto h2", f" ssl {own} alpn h2 ssl-min-ver TLSv1.2 no-tls-tickets")
        elif words[:1] == ["server"]:
            line = line.replace(" proto h2", f" ssl {own} alpn h2 proto h2")
            line = line.replace("check check-proto h1", "check check-ssl check-alpn http/1.1 check-proto h1")
        lines.append(line)
        if words[:1] == ["bind"]:
            caller = f"URI=spiffe://{cluster}/%[ssl_c_s_dn(cn)]"
            lines.append("  # A node hears whose call it is, and from nobody else.")
            lines.append(f"  http-request set-header x-forwarded-client-cert {caller}")
        if words == ["global"]:
            lines.append("  # The key of NAME.crt is NAME.key.")
            lines.append("  ssl-load-extra-del-ext")
            lines += _HAPROXY_READS.splitlines()
    return "\n".join(lines) + "\n"
