"""What of deploy/k8s is made, and from what: python -m tools.kubernetes

`deploy/k8s/base` and `deploy/k8s/components` are written by hand, and are the one source of the manifests. From them,
from `deploy/envoy`, `deploy/alerts` and the services' own settings come the Helm chart, the VIP's file and the rules
for the Prometheus operator. A test keeps all of it fresh, and holds what Helm renders to what kustomize builds.
"""
