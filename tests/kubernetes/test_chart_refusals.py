"""Values of the chart that would render pods that can't work are refused, by their names and with the mend."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import pytest

from fasttree.command.settings.reading import SECTION_CLASSES
from services.shared.config.sections import Settings, fields_of, parts_of
from tests.kubernetes.manifests import CHART, helm, helm_refusal, named, parsed
from tools.kubernetes.forms import SCHEDULE_PATTERN
from tools.kubernetes.refusals import PAIRS

_MONTHS = [f"{year}-{month:02}" for year in range(2017, 2027) for month in range(1, 13)]
_TYPES = [f"T{chr(ord('A') + number)}" for number in range(10)]


def _less(section: str, name: str) -> float:
    """Half of that setting's default."""
    default: float = fields_of(SECTION_CLASSES[section])[name].default
    return default // 2 if isinstance(default, int) else default / 2


#: What is given to --set (or, with brackets, to --set-json), and what is said of it.
_NO_SUCH_VALUE = (
    ("treenode.replica=2", "/treenode': additional properties 'replica'"),
    ("treenode.replicas=two", "/treenode/replicas': got string"),
    ("treenode.replicas=0", "/treenode/replicas': minimum"),
    ("treenode.storage.size=10 GB", "/treenode/storage/size': '10 GB'"),
    ("treenode.storage.size=0Gi", "/treenode/storage/size': '0Gi'"),
    ('pusher.storage.size="20"', "/pusher/storage/size': "),
    ("backup.storage.size=null", "/backup/storage': missing property 'size'"),
    ("pusher.storage.className=my class", "/pusher/storage/className': 'my class'"),
    ("vip.service.type=Ingress", "/vip/service/type': value must be one of"),
    ("vip.service.sourceRanges={10.0.0.1}", "/vip/service/sourceRanges/0': '10.0.0.1'"),
    ("vip.threads=null", "/vip': missing property 'threads'"),
    ("vip.nodeSelector.disk=a b", "/vip/nodeSelector/disk': 'a b'"),
    ("pusher.nodeSelector=null", "/pusher': missing property 'nodeSelector'"),
    ('treenode.tolerations=["gpu"]', "/treenode/tolerations/0': got string"),
    (
        'pusher.tolerations=[{"key": "a", "operator": "Exists", "value": "b"}]',
        "/pusher/tolerations/0/value': value must",
    ),
    ('coordinator.tolerations=[{"effect": "NoSchedule"}]', "missing property 'key'"),
    ('vip.tolerations=[{"operator": "Exists", "effect": "Never"}]', "/vip/tolerations/0/effect': value must be one of"),
    ("treenode.resources.limits.memory=2 GB", "/treenode/resources/limits/memory': '2 GB'"),
    ("pusher.resources.limit.memory=2Gi", "/pusher/resources': additional properties 'limit'"),
    ("vip.resources.requests.ram=2Gi", "invalid propertyName 'ram'"),
    ("image=null", "missing property 'image'"),
    ("image=", "/image': minLength"),
    ("imagePullPolicy=Sometimes", "/imagePullPolicy': value must be one of"),
    ("imagePullSecrets={regcred}", "/imagePullSecrets/0': got string"),
    ("podSecurityContext.runAsNonRoot=false", "/podSecurityContext/runAsNonRoot': value must be true"),
    ("podSecurityContext.runAsUser=0", "/podSecurityContext/runAsUser': minimum"),
    ("podSecurityContext.seccompProfile=null", "/podSecurityContext': missing property 'seccompProfile'"),
    ("podSecurityContext.seccompProfile.type=Unconfined", "/podSecurityContext/seccompProfile/type': value must be"),
    ("podSecurityContext.privileged=true", "/podSecurityContext': additional properties 'privileged'"),
    ("priorityClass.name=Fast_Tree", "/priorityClass/name': 'Fast_Tree'"),
    ("gateway.parentRefs={gateway}", "/gateway/parentRefs/0': got string"),
    ("gateway.parentRefs=[]", "/gateway/parentRefs': minItems"),
    ("gateway.hostnames={https://fasttree.example.com}", "/gateway/hostnames/0': 'https:"),
    (r"gateway.namespaceLabels.kubernetes\.io/metadata\.name=null", "/gateway/namespaceLabels': minProperties"),
    (r"monitoring.namespaceLabels.kubernetes\.io/metadata\.name=null", "/monitoring/namespaceLabels': minProperties"),
    ("monitoring.labels.release=a b", "/monitoring/labels/release': 'a b'"),
    ("networkPolicy=null", "missing property 'networkPolicy'"),
    ("backup.enabled=yes", "/backup/enabled': got string"),
    ("settings=null", "missing property 'settings'"),
    ("settings.pusher=null", "/settings': missing property 'pusher'"),
    ("settings.coordinators.lease_s=2", "/settings': additional properties 'coordinators'"),
    ("settings.coordinator.lease=2", "/settings/coordinator': additional properties 'lease'"),
    ("settings.coordinator.lease_s=0", "/settings/coordinator/lease_s': minimum"),
    ("settings.cluster.name=dot live", "/settings/cluster/name': 'dot live'"),
    # What the manifests go by.
    ("settings.cluster.nodes_service=nodes", "/nodes_service': value must be 'fasttree-treenode'"),
    ("settings.cluster.nodes_service=null", "/settings/cluster': missing property 'nodes_service'"),
    ("settings.cluster.coordinator=elsewhere:50400", "/cluster/coordinator': value must be ''"),
    ("coordinator.storage.size=1", "/coordinator/storage/size': "),
    ("pusher.replicas=0", "/pusher/replicas': minimum"),
    ('pusher.servers=[{"cidr": "10.0.0.1", "port": 4222}]', "/pusher/servers/0/cidr': '10.0.0.1'"),
    ('pusher.servers=[{"cidr": "10.0.0.0/8"}]', "/pusher/servers/0': missing property 'port'"),
    ("settings.cluster.hosts_file=/etc/hosts", "/hosts_file': value must be ''"),
    ("settings.cluster.service_account_folder=/tmp", "/service_account_folder': value must be '/var/run/"),
    ("settings.coordinator.lease_name=other", "/lease_name': value must be 'fasttree-coordinator'"),
    ("settings.coordinator.store=sqlite", "/store': value must be 'kubernetes'"),
    ("settings.coordinator.role_labels=false", "/role_labels': value must be true"),
    ("settings.coordinator.name=one", "/coordinator/name': value must be ''"),
    ("settings.coordinator.advertise=one:50400", "/coordinator/advertise': value must be ''"),
    ("settings.coordinator.port=50401", "/coordinator/port': value must be 50400"),
    ("settings.coordinator.http_port=0", "/coordinator/http_port': value must be 50410"),
    ("settings.pusher.port=50301", "/pusher/port': value must be 50300"),
    ("settings.pusher.http_port=50311", "/pusher/http_port': value must be 50310"),
    ("settings.pusher.advertise=pusher:50300", "/pusher/advertise': value must be ''"),
    ("settings.pusher.listen_host=127.0.0.1", "/pusher/listen_host': value must be one of"),
    ("settings.coordinator.listen_host=null", "/settings/coordinator': missing property 'listen_host'"),
    ("settings.treenode.report_port=50101", "/report_port': value must be 50100"),
    ("settings.treenode.instant_port=50202", "/instant_port': value must be 50201"),
    ("settings.treenode.http_port=50203", "/treenode/http_port': value must be 50200"),
    ("settings.treenode.name=node", "/treenode/name': value must be ''"),
    ("settings.treenode.host=node", "/treenode/host': value must be ''"),
    ("settings.treenode.state_folder=/data", "/treenode/state_folder': '/data'"),
    ("settings.pusher.state_folder=/var/lib/fasttree", "/pusher/state_folder': '/var/lib/fasttree'"),
    (
        "settings.coordinator.state_folder=/var/lib/fasttree/../x",
        "/coordinator/state_folder': '/var/lib/fasttree/../x'",
    ),
    ("settings.treenode.state_folder=null", "/settings/treenode': missing property 'state_folder'"),
    ("settings.pusher.upload_folder=/upload", "/pusher/upload_folder': '/upload'"),
    ("settings.pusher.log_password_file=/run/password", "/log_password_file': '/run/password'"),
    ("settings.audit.folder=/var/log", "/audit/folder': '/var/log'"),
    ("settings.telemetry.file=/traces", "/telemetry/file': '/traces'"),
    ("settings.tokens.keys=/etc/keys.json", "/tokens/keys': '/etc/keys.json'"),
    ("settings.console.port=50501", "/console/port': value must be 50500"),
    ("settings.console.key_file=", "/console/key_file': ''"),
    ("settings.console.pusher=a:50300", "/console/pusher': value must be 'fasttree-pusher:50300'"),
    ("settings.console.vip=a:50100", "/console/vip': value must be one of"),
    ("settings.console.listen_host=null", "/settings/console': missing property 'listen_host'"),
    ("settings.datatrax.instant_port=50202", "/datatrax/instant_port': value must be 50201"),
    ("settings.datatrax.spool_folder=/spool", "/datatrax/spool_folder': '/spool'"),
    ("settings.datatrax.pusher=a:50300", "/datatrax/pusher': value must be 'fasttree-pusher:50300'"),
    ("datatrax.storage.accessModes=[]", "/datatrax/storage/accessModes': minItems"),
    ("tls.mode=off", "/tls/mode': value must be one of"),
    ("tls.nodes=0", "/tls/nodes': minimum"),
    ("tls.certManager.duration=30d", "/tls/certManager/duration': '30d'"),
    ("tls.certManager.issuer.name=My_CA", "/tls/certManager/issuer/name': 'My_CA'"),
    ("tls.certManager.vipHosts={tree example}", "/tls/certManager/vipHosts/0': 'tree example'"),
    ("settings.tls.mode=mutual", "/tls/mode': value must be 'cleartext-in-a-closed-network'"),
    ("settings.tls.mode=off", "/tls/mode': value must be 'cleartext-in-a-closed-network'"),
    ("settings.tls.folder=/etc/tls", "/tls/folder': '/etc/tls'"),
)
#: The same for values that are good by themselves.
_NOT_TOGETHER = (
    ("gateway.enabled=true,vip.enabled=false", "gateway.enabled: its route leads to the VIP: set vip.enabled=true"),
    (
        "vip.enabled=true,vip.service.type=NodePort",
        "vip.service.type: nobody outside gets in while networkPolicy.enabled is true",
    ),
    ("vip.enabled=false,gateway.enabled=false", "settings.console.vip: there is no VIP: set fasttree-rw:50100"),
    ("image=registry.example.com/fasttree-slim:1", "image: tree nodes need the whole image"),
    ("image=FastTree", 'image: "FastTree" is no image\'s name'),
    ("vip.image=registry.example.com/envoy@sha256:12", "vip.image: "),
    ("priorityClass.name=system-mine", "priorityClass.name: names with system- are Kubernetes' own"),
    (
        "backup.enabled=true,settings.pusher.log_store=jetstream,settings.pusher.log_url=nats://a:4222",
        "backup.enabled: the",
    ),
    (
        "pusher.replicas=2,settings.pusher.takes_turns=true,settings.pusher.log_store=sqlite",
        "pusher.replicas: several pushers have one log",
    ),
    (
        "pusher.replicas=2,settings.pusher.takes_turns=false,settings.pusher.log_store=jetstream,"
        "settings.pusher.log_url=nats://a:4222",
        "pusher.replicas: several pushers take turns",
    ),
    (
        "settings.audit.files_kept=64",
        "settings.audit.files_kept: its files come to 2048 MiB, which with 64 MiB beside them is more than "
        "coordinator.storage.size, 1Gi",
    ),
    ("settings.audit.files_kept=30,pusher.storage.size=1G", "beside them is more than pusher.storage.size, 1G"),
    ("settings.audit.files_kept=null,treenode.storage.size=2Gi", "beside them is more than treenode.storage.size, 2Gi"),
    ("tls.mode=mutual,tls.nodes=1", "tls.nodes: less than treenode.replicas"),
    (
        "tls.certManager.enabled=true,tls.mode=cleartext-in-a-closed-network",
        "tls.certManager.enabled: nobody would look",
    ),
    (
        'tls.mode="mutual";gateway.enabled=true;vip.enabled=true;gateway.hostnames=[]',
        "gateway.hostnames: with certificates",
    ),
    ("tls.mode=mutual,settings.tls.certificate=/var/lib/fasttree/a.crt", "settings.tls.certificate: tls.mode says it"),
    ("treenode.replicas=5,settings.coordinator.nodes_max=4", "treenode.replicas: more nodes than"),
    ("treenode.resources.requests.memory=3Gi", "treenode.resources.requests.memory: 3Gi is more than the limit, 2Gi"),
    ("pusher.resources.limits.cpu=0.1", "pusher.resources.requests.cpu: 250m is more than the limit, 0.1"),
    ("vip.resources.limits.memory=200000k", "vip.resources.requests.memory: 256Mi is more"),
    ("coordinator.resources.requests.ephemeral-storage=2G", "coordinator.resources.requests.ephemeral-storage: 2G is"),
    ("backup.resources.requests.cpu=2,backup.resources.limits.cpu=1", "backup.resources.requests.cpu: 2 is more"),
    (
        "settings.treenode.report_copy_bytes_max=2147483648",
        "treenode.resources.limits.memory: 2Gi is less than 400 MiB and settings.treenode.report_copy_bytes_max, 2448",
    ),
    ("settings.treenode.report_copy_bytes_max=null", "treenode.resources.limits.memory: 2Gi is less"),
    ("settings.pusher.log_cache_mib=1000", "pusher.resources.limits.memory: 1Gi is less than 300 MiB, "),
    ("settings.coordinator.drain_grace_s=11", "settings.coordinator.drain_grace_s: 10 s at most, or"),
    ("settings.pusher.drain_grace_s=31", "settings.pusher.drain_grace_s: 30 s at most, or"),
    (
        "settings.treenode.drain_grace_s=48",
        "settings.treenode.drain_notice_s and settings.treenode.drain_grace_s: 50 s",
    ),
    ("settings.pusher.upload_folder=/var/lib/fasttree/pusher", "settings.pusher.upload_folder: must differ"),
    ("settings.treenode.heartbeat_s=0.95", "settings.treenode.heartbeat_s: must be less"),
    ("settings.coordinator.active_renew_s=0.86", "settings.coordinator.active_renew_s: too long"),
    (
        f"settings.cluster.periods={json.dumps(_MONTHS)};settings.cluster.volume_types={json.dumps(_TYPES)}",
        "settings.cluster.periods: 1024 at most",
    ),
    (
        "settings.pusher.log_store=postgresql,settings.pusher.log_url=nats://a:4222",
        "settings.pusher.log_url: must name",
    ),
    ("settings.pusher.import_store=s3,settings.pusher.import_url=", "settings.pusher.import_url: must name the bucket"),
    (
        "settings.pusher.import_store=folder,settings.pusher.import_url=s3://bucket/b",
        "settings.pusher.import_store: must be s3",
    ),
    (
        "settings.pusher.import_store=s3,settings.pusher.import_folder=/var/lib/fasttree/imports",
        "settings.pusher.import_folder: must be empty",
    ),
    (
        "settings.treenode.snapshot_store=s3,settings.treenode.snapshot_url=",
        "settings.treenode.snapshot_url: must name the bucket",
    ),
    (
        "settings.treenode.snapshot_store=folder,settings.treenode.snapshot_url=s3://bucket/b",
        "settings.treenode.snapshot_store: must be s3",
    ),
    (
        "settings.treenode.snapshot_store=s3,settings.treenode.snapshot_folder=/var/lib/fasttree/stored",
        "settings.treenode.snapshot_folder: must be empty",
    ),
    ("settings.tokens.keys=https://a/b,settings.tokens.issuer=a", "settings.tokens.audience: must be set"),
    ("settings.tokens.keys=https://a/b,settings.tokens.audience=a", "settings.tokens.issuer: must be set"),
    (
        "settings.tokens.keys=,settings.tokens.without_certificate=true",
        "settings.tokens.without_certificate: must be false",
    ),
    *(
        (
            f"settings.{pair.section}.{pair.large}={_less(pair.section, pair.small)}",
            f"settings.{pair.section}.{pair.small}: must be {('at most', 'less than')[pair.must_be_less]} {pair.large}",
        )
        for pair in PAIRS
    ),
)


def _arguments(values: str) -> list[str]:
    """Helm's, for values with `;` between them where one is JSON, else with `,`. By --set, 0.5 would be a text."""
    if "[" in values or '"' in values or re.search(r"_s=\d+\.\d+$", values):
        return [f"--set-json={each}" for each in values.split(";")]
    return ["--set", values]


def _paths(values: str) -> set[str]:
    return set(re.findall(r"(?:^|[,;])([A-Za-z][\w./\\]*)=", values))


def _rounds(cases: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Cases that can be given at once, since none is within another: Helm tells all that is wrong."""
    left = list(cases)
    while left:
        taken: list[tuple[str, str]] = []
        for case in list(left):
            beside = {path for values, _ in taken for path in _paths(values)}
            if not any(
                f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
                for one in _paths(case[0])
                for other in beside
            ):
                taken.append(case)
                left.remove(case)
        yield taken


@pytest.mark.parametrize(
    ("cases", "head"),
    [
        (_NO_SUCH_VALUE, "values don't meet the specifications of the schema"),
        (_NOT_TOGETHER, "the values can't be together"),
    ],
    ids=["by itself", "together"],
)
def test_a_value_that_can_not_work_is_refused_by_its_name_and_with_the_mend(
    cases: tuple[tuple[str, str], ...], head: str
) -> None:
    for together in _rounds(cases):
        arguments = [argument for values, _ in together for argument in _arguments(values)]
        refusal = helm_refusal("template", "fasttree", str(CHART), *arguments)
        assert head in refusal
        for values, said in together:
            # Several that are missing are told in one line.
            wanted = re.sub(r"missing\\ property\\ ('\w+')", r"missing propert.*\1", re.escape(said))
            assert re.search(wanted, refusal), (values, refusal)
        # Helm's lint goes on where a template says that it fails.
        assert "1 chart(s) failed" in helm_refusal("lint", str(CHART), *arguments)


def test_values_at_their_bounds_are_taken() -> None:
    outside = ["--set=vip.service.type=LoadBalancer", "--set=vip.service.sourceRanges={10.0.0.0/8,fd00::/8}"]
    more = (
        *outside,
        "--set=treenode.resources.limits.memory=656Mi,treenode.resources.requests.memory=0.5Gi",
        "--set=pusher.resources.limits.memory=1,pusher.resources.requests.memory=1",
        "--set=pusher.resources.limits.memory=4294967296,pusher.resources.requests.memory=1Gi",
        "--set=settings.treenode.drain_grace_s=47,settings.treenode.listen_host=::",
        "--set=settings.pusher.state_folder=/var/lib/fasttree/log,settings.pusher.upload_folder=",
        "--set=backup.enabled=true,backup.schedule=@daily",
        "--set-json=settings.coordinator.active_renew_s=0.85",
        "--set=settings.pusher.log_url=",
        '--set-json=treenode.tolerations=[{"operator":"Exists"},{"key":"a/b","value":"c","effect":"NoExecute"}]',
        '--set-json=imagePullSecrets=[{"name":"regcred"}]',
    )
    manifests = parsed(helm("template", "fasttree", str(CHART), "--namespace", "fasttree", *more))
    service = named(manifests, "Service", "fasttree-vip")["spec"]
    assert service["loadBalancerSourceRanges"] == ["10.0.0.0/8", "fd00::/8"]
    assert service["externalTrafficPolicy"] == "Local"
    policy = named(manifests, "NetworkPolicy", "fasttree-vip")["spec"]["ingress"][0]["from"]
    assert [each["ipBlock"]["cidr"] for each in policy if "ipBlock" in each] == ["10.0.0.0/8", "fd00::/8"]
    backup = named(manifests, "CronJob", "fasttree-backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert {"name": "LOG", "value": "/var/lib/fasttree/log"} in backup["containers"][0]["env"]


@pytest.mark.parametrize(
    ("schedule", "taken"),
    [
        ("17 2 * * *", True),
        ("*/5 0-6,22-23 1,15 jan-MAR Mon-FRI", True),
        ("0 0 ? * 6", True),
        ("0 4/2 31 12 *", True),
        ("@hourly", True),
        ("daily", False),
        ("17 2 * *", False),
        ("17 2 * * * *", False),
        ("60 2 * * *", False),
        ("0 24 * * *", False),
        ("0 2 0 * *", False),
        ("0 2 * 13 *", False),
        ("0 2 * * 7", False),
        ("*/0 * * * *", False),
        ("TZ=UTC 0 2 * * *", False),
        ("@reboot", False),
    ],
)
def test_schedules(schedule: str, taken: bool) -> None:
    assert (re.search(SCHEDULE_PATTERN, schedule) is not None) is taken


def test_what_a_service_would_refuse_at_its_start_the_chart_refuses() -> None:
    looked_at = {
        "AdmissionSettings", "ClusterSettings", "CoordinatorSettings", "ElectionSettings", "EtcdSettings",
        "ImportLimits", "ImportStoreSettings", "LeadershipSettings", "LogSettings", "PusherSettings",
        "ReplicationSettings", "RolloutSettings", "SearchSettings", "SnapshotStoreSettings", "TelemetrySettings",
        "TlsSettings", "TokenSettings", "TreeNodeSettings",
    }  # fmt: skip
    parts = [
        part
        for section, cls in SECTION_CLASSES.items()
        if section not in ("console", "datatrax")
        for part in parts_of(cls())
    ]
    assert {type(part).__name__ for part in parts if type(part).problems is not Settings.problems} == looked_at, (
        "what its problems() refuses belongs into tools/kubernetes/refusals.py, with a case above"
    )
