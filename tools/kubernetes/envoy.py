"""The VIP's file in a cluster: the shipped one, with the nodes by the name that DNS has for all of them."""

from __future__ import annotations

from pathlib import Path

from fasttree.command.local.vip import ENVOY_CLUSTERS, render_envoy, replace_block, replace_marked
from fasttree.command.local.vip_tls import CERTIFICATE, EnvoyTls, envoy_with_tls, sds_files
from tools.kubernetes.fixed import CLUSTER

NODES = "fasttree-treenode:50100"
#: The preStop of the VIP's pods outlasts it, so that every connection has been asked to come anew by then.
CONNECTION_AGE_S_MAX = 30
_ADMIN = Path("/run/envoy/admin.sock")
_ETC, _SECRET = Path("/etc/envoy"), Path("/run/fasttree/tls")
#: A Secret is changed as a whole, by another folder in its place.
_AUTHORITIES = f"""\
resources:
  - "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
    name: authorities
    validation_context:
      # Where the authority makes lists of what is revoked, one file with these and the certificates below them goes
      # here, with only_verify_leaf_cert_crl: true (docs/security.md, "Certificates that count no more").
      trusted_ca: {{filename: "{_SECRET}/ca.crt"}}
      watched_directory: {{path: "{_SECRET}"}}
"""

_FILTERS = "type.googleapis.com/envoy.extensions.filters"
_HEAD = """\
# Made by `python -m tools.kubernetes` from deploy/envoy/envoy.yaml, which is the one to edit.
#
"""
_CONNECTIONS = f"""\
# The Service spreads connections, not calls: each is asked to come anew after a while, so that a VIP that is new gets
# its share, and one that ends is left by everybody before it does. Calls and streams under way finish.
common_http_protocol_options: {{max_connection_duration: {CONNECTION_AGE_S_MAX}s}}
drain_timeout: 5s"""
_LISTENERS = """\
# For probes and Prometheus: two pages of Envoy's own, which are read and change nothing.
- name: http
  address:
    socket_address: {address: 0.0.0.0, port_value: 50190}
  filter_chains:
    - filters:
        - name: envoy.filters.network.http_connection_manager
          typed_config:
            "@type": {_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager
            stat_prefix: http
            route_config:
              name: http
              virtual_hosts:
                - name: http
                  domains: ["*"]
                  routes:
                    - match: {path: /ready, headers: [{name: ":method", string_match: {exact: GET}}]}
                      route: {cluster: admin}
                    - match: {path: /metrics, headers: [{name: ":method", string_match: {exact: GET}}]}
                      route: {cluster: admin, prefix_rewrite: /stats/prometheus}
            http_filters:
              - name: envoy.filters.http.router
                typed_config:
                  "@type": {_FILTERS}.http.router.v3.Router""".replace("{_FILTERS}", _FILTERS)
_BY_DNS = (
    "cluster_type: {name: envoy.cluster.dns, typed_config: "
    '{"@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster, dns_refresh_rate: 1s}}'
)
_CLUSTERS = f"""\
- name: admin
  connect_timeout: 0.25s
  load_assignment:
    cluster_name: admin
    endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: {_ADMIN}}}}}}}}}]}}]"""


def envoy_tls_files() -> dict[str, str]:
    """The same by certificates, and the two files by which Envoy follows these: name to text."""
    tls = EnvoyTls(CLUSTER, _ETC / "sds-certificate.yaml", _ETC / "sds-authorities.yaml")
    text = envoy_file().removeprefix(_HEAD)
    own = "# Whoever follows files needs a name.\nnode: {id: vip, cluster: fasttree}\n\n"
    files = sds_files(_SECRET, _SECRET / "ca.crt")
    return {
        "envoy.yaml": _HEAD + own + envoy_with_tls(text, tls),
        "sds-certificate.yaml": files[CERTIFICATE],
        "sds-authorities.yaml": _AUTHORITIES,
    }


def envoy_file() -> str:
    """The text of deploy/k8s/base/envoy.yaml."""
    text = render_envoy([NODES], "0.0.0.0:50100", _ADMIN)
    text = replace_block(text, "connections", _CONNECTIONS.splitlines())
    text = replace_block(text, "more listeners", _LISTENERS.splitlines())
    text = replace_block(text, "more clusters", _CLUSTERS.splitlines())
    for cluster in ENVOY_CLUSTERS:
        # A pod that comes back with another address is known within a second.
        text = replace_marked(text, f"type of {cluster}", _BY_DNS)
    return _HEAD + text
