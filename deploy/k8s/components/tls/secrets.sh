#!/bin/sh
# Makes every Secret that this component needs, by an authority of your own (`fasttree certs`), and makes them anew where they
# are there: after `fasttree certs renew`, give it again. The namespace has to be there. The authority's key stays in CERTS:
# keep that where no pod runs.
#   NAMESPACE=fasttree CLUSTER=dot-live NODES=3 REPLICAS=3 CERTS=certs sh deploy/k8s/components/tls/secrets.sh
# REPLICAS: coordinators, and pushers, that may be.
# More names by which clients come, from outside say: VIP_HOSTS="tree.example.com 10.0.0.7", PUSHER_HOSTS likewise.
set -eu
namespace=${NAMESPACE:-fasttree} cluster=${CLUSTER:-dot-live} nodes=${NODES:-3} replicas=${REPLICAS:-3} certs=${CERTS:-certs}

# issue WHO HOST...: each host also as others' namespaces know it. Whoever dials addresses knows all parts by one name.
issue() {
  who=$1 hosts="--host fasttree-part"
  shift
  for host; do
    case $host in
      fasttree-*) hosts="$hosts --host $host --host $host.$namespace.svc" ;;
      *) hosts="$hosts --host $host" ;;
    esac
  done
  # shellcheck disable=SC2086  # they are words
  fasttree certs issue --dir "$certs" "$who" $hosts > /dev/null
}

# each_of PART: every one of several by its own name.
each_of() {
  one=0
  while [ "$one" -lt "$replicas" ]; do
    echo "fasttree-$1-$one.fasttree-${1}s"
    one=$((one + 1))
  done
}

# keep SECRET CERTIFICATE KEY
keep() {
  kubectl create secret generic "$1" --namespace "$namespace" --dry-run=client --output=yaml \
    --from-file=tls.crt="$2" --from-file=tls.key="$3" --from-file=ca.crt="$certs/ca.crt" |
    kubectl apply --server-side --force-conflicts --filename=-
}

[ -e "$certs/ca.key" ] || fasttree certs init --dir "$certs" --cluster "$cluster" > /dev/null
number=0
while [ "$number" -lt "$nodes" ]; do
  name=fasttree-treenode-$number number=$((number + 1))
  [ -e "$certs/node/$name" ] || issue "node/$name" "$name.fasttree-treenode" fasttree-rw fasttree-ro
  keep "$name-tls" "$certs/node/$name/tls.crt" "$certs/node/$name/tls.key"
done
for part in coordinator pusher vip console datatrax; do
  others=
  case $part in
    coordinator) others=$(each_of "$part") ;;
    pusher) others="$(each_of "$part") ${PUSHER_HOSTS:-}" ;;
    vip) others="fasttree-vips ${VIP_HOSTS:-}" ;;
    console) others=localhost ;;
  esac
  # shellcheck disable=SC2086
  [ -e "$certs/$part/$part" ] || issue "$part" "fasttree-$part" $others
  keep "fasttree-$part-tls" "$certs/$part/$part/tls.crt" "$certs/$part/$part/tls.key"
done
for role in operator monitor; do
  [ -e "$certs/client-$role.crt" ] || fasttree certs issue --dir "$certs" "$role" > /dev/null
  keep "fasttree-$role-tls" "$certs/client-$role.crt" "$certs/client-$role.key"
done
