"""A node: containerd, kubelet, kube-proxy, and kube-router for network policies.

kubelet and CNI write to paths that can't be set; folders of the node's own are mounted over them, in its mount
namespace.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.kubernetes.cluster import place
from tests.kubernetes.cluster.processes import call, say, start, succeeds, wait_for

#: What kubelet sets in the kernel that all share, when it starts: it is given files to write to instead.
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
}
#: Of processors, where others want them too: all pods of the cluster together would have as much as one process else.
_SHARES = "8192"


def run_node(number: int, nodes: int, images: list[Path]) -> None:
    """Starts a node's programs; on what it had before, where it was ended."""
    folder = place.node_folder(number)
    socket.sethostname(f"node{number}")
    _shield_kernel(folder)
    if number > 1:
        _lay_network(number, nodes)
    _mount_own_folders(folder)
    _mount_small_volumes(number)
    _make_cgroups(number)
    _start_containerd(number, folder)
    for image in images:
        call("ctr", "--address", place.CONTAINERD, "--namespace", "k8s.io", "images", "import", "--local", str(image))
    say(f"node{number} has its images")
    kubelet = {f"kubelet{number}": _start_kubelet(number, folder)}
    _start_network(number, folder, kubelet)


def _shield_kernel(folder: Path) -> None:
    """Each node anew: its own /proc lies over that of the first."""
    for name, value in _KERNEL_SETTINGS.items():
        file = folder / "kernel" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
        call("mount", "--bind", str(file), f"/proc/sys/{name}")


def _lay_network(number: int, nodes: int) -> None:
    call("ip", "link", "set", "lo", "up")
    wait_for(f"node{number} has a cable", succeeds("ip", "link", "show", "node0"))
    call("ip", "address", "add", f"{place.NODE_NETWORK}.{number}/24", "dev", "node0")
    call("ip", "link", "set", "node0", "up")
    call("ip", "route", "add", "default", "via", place.CONTROL)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for other in range(1, nodes + 1):
        if other != number:
            call("ip", "route", "add", f"{place.POD_NETWORK}.{other}.0/24", "via", f"{place.NODE_NETWORK}.{other}")


def _mount_own_folders(folder: Path) -> None:
    for name, path in {
        "kubelet": "/var/lib/kubelet",
        "cni": "/var/lib/cni",
        "pods": "/var/log/pods",
        "containers": "/var/log/containers",
    }.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        Path(path).mkdir(parents=True, exist_ok=True)
        call("mount", "--bind", str(folder / name), path)
    for path in ("/run/containerd", "/run/netns"):
        Path(path).mkdir(parents=True, exist_ok=True)
        call("mount", "-t", "tmpfs", "tmpfs", path)
    for path in ("/var/lib/kubelet", "/run/netns"):
        call("mount", "--make-rshared", path)


def _mount_small_volumes(number: int) -> None:
    for volume in range(place.SMALL_VOLUMES):
        path = place.small_volume(number, volume)
        path.mkdir(parents=True, exist_ok=True)
        call("mount", "-t", "tmpfs", "-o", f"size={place.SMALL_MIB}m,mode=0777", "tmpfs", str(path))


def _make_cgroups(number: int) -> None:
    """A root of its own for each kubelet, in every hierarchy. One of cpuset takes no process before it is filled in."""
    for hierarchy in Path("/sys/fs/cgroup").iterdir():
        if hierarchy.is_symlink() or not hierarchy.is_dir():
            continue
        above = hierarchy
        for name in (place.CGROUP, f"node{number}"):
            own = above / name
            own.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (above / file).exists():
                    (own / file).write_text((above / file).read_text())
            above = own
        shares = hierarchy / place.CGROUP / "cpu.shares"
        if shares.exists():
            shares.write_text(_SHARES)


def _start_containerd(number: int, folder: Path) -> None:
    (folder / "cni.d").mkdir(exist_ok=True)
    # ptp rather than a bridge: each packet is routed, so that answers of Services pass conntrack without br_netfilter.
    network = {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/var/lib/cni",
                    "ranges": [[{"subnet": f"{place.POD_NETWORK}.{number}.0/24"}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    (folder / "cni.d" / "pods.conflist").write_text(json.dumps(network))
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc could lower none, and every pod would fail.
    (folder / "containerd.toml").write_text(f"""version = 3
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "{place.CONTAINERD}"
# Its socket lies at one path for the whole machine: of two that start in one moment, one would end.
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "{folder}/cni.d"
""")
    name = f"containerd{number}"
    process = start(name, ["containerd", "--config", f"{folder}/containerd.toml"])
    ready = succeeds("ctr", "--address", place.CONTAINERD, "version")
    wait_for(f"node{number} has containerd", ready, {name: process})


def _start_kubelet(number: int, folder: Path) -> subprocess.Popen[bytes]:
    (folder / "kubelet.yaml").write_text(f"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: cgroupfs
cgroupRoot: /{place.CGROUP}/node{number}
# Machines with the first version of cgroups are refused else.
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://{place.CONTAINERD}
clusterDNS: [{place.CONTROL}]
clusterDomain: cluster.local
resolvConf: {place.run_folder()}/resolv.conf
evictionHard: {{memory.available: 200Mi, nodefs.available: 1%, imagefs.available: 1%}}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 4s
""")
    return start(f"kubelet{number}", [
        "kubelet", f"--config={folder}/kubelet.yaml", f"--kubeconfig={place.kubeconfig(f'kubelet{number}')}",
        f"--node-ip={place.NODE_NETWORK}.{number}", f"--hostname-override=node{number}", "--root-dir=/var/lib/kubelet",
    ])  # fmt: skip


def _start_network(number: int, folder: Path, kubelet: Mapping[str, subprocess.Popen[bytes]]) -> None:
    # The size of conntrack's table can't be set in a network namespace: 0 leaves it.
    (folder / "proxy.yaml").write_text(f"""apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: {place.kubeconfig("proxy")}}}
mode: nftables
clusterCIDR: {place.POD_NETWORK}.0.0/16
hostnameOverride: node{number}
conntrack: {{maxPerCore: 0, min: 0}}
""")
    start(f"proxy{number}", ["kube-proxy", f"--config={folder}/proxy.yaml"])
    # It ends at once where its node is not known yet; from then on every policy would be taken, and none kept.
    wait_for(f"node{number} is known", succeeds("kubectl", "get", "node", f"node{number}"), kubelet)
    start(f"policies{number}", [
        "kube-router", f"--kubeconfig={place.kubeconfig('admin')}", f"--hostname-override=node{number}",
        "--run-router=false", "--run-service-proxy=false", "--run-firewall=true",
        f"--service-cluster-ip-range={place.SERVICES}",
    ])  # fmt: skip
