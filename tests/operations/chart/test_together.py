"""Parts of the chart that must match: archive addresses, policies, budgets, autoscaling, monitoring."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.contract.addresses import GrpcAddress
from shared.telemetry.metrics import catalogue
from shared.telemetry.metrics.instruments import Instrument
from tests.needed import needed
from tools.operations.kubernetes import Manifest
from tools.operations.manifests import (
    CASES,
    CHART,
    DISTRIBUTED,
    NAMESPACE,
    Running,
    container_of,
    named,
    of_kind,
    pod_of,
    ports_of,
    role_of,
    selected,
    values_of,
)
from tools.operations.prometheus import Prometheus
from tools.toolchains import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", DISTRIBUTED)
def test_bffs_and_gateways_find_every_archive_with_its_tls(objects: list[Manifest], processes: list[Running]) -> None:
    service = named(objects, "Service", "chat-rookery-archive")
    (archive,) = selected(objects, service["spec"]["selector"])
    assert service["spec"]["clusterIP"] == "None"  # so that the name resolves to each of them
    assert role_of(archive) == "archive"
    by_role = {process.role: process.settings for process in processes}
    for role in ("bff", "gateway"):
        (address,) = map(GrpcAddress.parse, by_role[role].archives)
        assert address.host == f"chat-rookery-archive.{NAMESPACE}.svc"
        assert address.port in [port["port"] for port in service["spec"]["ports"]]
        assert address.is_secure == (by_role["archive"].tls.certificate_file is not None)
        if by_role["archive"].tls.client_ca_file:
            assert by_role[role].tls.client_certificate_file is not None
            assert by_role[role].tls.ca_file == by_role["archive"].tls.client_ca_file


@pytest.mark.parametrize("case", ["ingress"])
def test_the_certificate_has_the_names_by_which_archives_are_called(
    objects: list[Manifest], processes: list[Running]
) -> None:
    (certificate,) = of_kind(objects, "Certificate")
    callers = [each.settings for each in processes if each.role in ("bff", "gateway")]
    (called,) = {GrpcAddress.parse(settings.archives[0]).host for settings in callers}
    assert called in certificate["spec"]["dnsNames"]
    assert {"server auth", "client auth"} <= set(certificate["spec"]["usages"])
    volumes = pod_of(named(objects, "StatefulSet", "chat-rookery-archive"))["spec"]["volumes"]
    (mounted,) = [volume["secret"]["secretName"] for volume in volumes if volume["name"] == "tls"]
    assert mounted == certificate["spec"]["secretName"]


@pytest.mark.parametrize("case", CASES)
def test_services_and_policies_name_existing_ports(objects: list[Manifest]) -> None:
    for service in of_kind(objects, "Service"):
        (workload,) = selected(objects, service["spec"]["selector"], without="statefulset.kubernetes.io/pod-name")
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports_of(workload).keys()
    for policy in of_kind(objects, "NetworkPolicy"):
        chosen = selected(objects, policy["spec"]["podSelector"]["matchLabels"])
        names = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert chosen
        assert all(names <= ports_of(workload).keys() for workload in chosen)


@pytest.mark.parametrize("case", ["production"])
def test_policies_allow_the_necessary_connections_and_no_other(
    objects: list[Manifest], processes: list[Running]
) -> None:
    """Allowed connections by role; `clients` and `metrics` are peers in the values."""
    peers = yaml.safe_load(values_of("production").read_text())["networkPolicy"]
    names = {str(peers["ingressFrom"]): "clients", str(peers["metricsFrom"]): "metrics"}
    entering: set[tuple[str, str, str]] = set()
    leaving: dict[str, set[int | str]] = {}
    for policy in of_kind(objects, "NetworkPolicy"):
        (role,) = {role_of(each) for each in selected(objects, policy["spec"]["podSelector"]["matchLabels"])}
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        for rule in policy["spec"]["ingress"]:
            if str(rule["from"]) in names:
                callers = [names[str(rule["from"])]]
            else:
                pods = [peer["podSelector"]["matchLabels"] for peer in rule["from"]]
                callers = [role_of(each) for labels in pods for each in selected(objects, labels)]
            entering |= {(caller, role, port["port"]) for caller in callers for port in rule["ports"]}
        leaving[role] = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert entering == {
        ("clients", "bff", "http"),
        ("clients", "gateway", "websocket"),
        ("clients", "gateway", "grpc"),
        ("bff", "archive", "grpc"),
        ("bff", "gateway", "grpc"),
        ("gateway", "archive", "grpc"),
        ("metrics", "bff", "health"),
        ("metrics", "gateway", "health"),
        ("metrics", "archive", "health"),
    }
    engines: set[int | str] = {53, 9093, 9042}
    serving = engines | {6379, 443}  # Redis, and the trace collector
    assert leaving == {
        "migrate": engines,
        "archive": serving | {9000},
        "gateway": serving | {"grpc", 80},  # also 443, of pages for previews
        "bff": serving | {"grpc", 9000},
    }
    assert leaving.keys() == {process.role for process in processes}


@pytest.mark.parametrize("case", DISTRIBUTED)
def test_disruptions_are_bounded_and_pods_are_spread(objects: list[Manifest]) -> None:
    kept = [
        role_of(workload)
        for budget in of_kind(objects, "PodDisruptionBudget")
        for workload in selected(objects, budget["spec"]["selector"]["matchLabels"])
    ]
    assert sorted(kept) == ["archive", "bff", "gateway"]
    for workload in of_kind(objects, "Deployment", "StatefulSet"):
        rules = pod_of(workload)["spec"]["topologySpreadConstraints"]
        assert {rule["topologyKey"] for rule in rules} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
        assert all(selected(objects, rule["labelSelector"]["matchLabels"]) == [workload] for rule in rules)


@pytest.mark.parametrize("case", ["production"])
def test_autoscaling_uses_existing_metrics_and_is_slowest_for_gateways(objects: list[Manifest]) -> None:
    measured = {each.name: each for each in vars(catalogue).values() if isinstance(each, Instrument)}
    pauses = {}
    for scaler in of_kind(objects, "HorizontalPodAutoscaler"):
        target, (metric,) = scaler["spec"]["scaleTargetRef"], scaler["spec"]["metrics"]
        workload = named(objects, target["kind"], target["name"])
        role = role_of(workload)
        pauses[role] = scaler["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"]
        assert "replicas" not in workload["spec"]
        if metric["type"] == "Resource":
            assert metric["resource"]["name"] in container_of(workload)["resources"]["requests"]
        else:
            query = metric["pods"]["metric"]
            known = measured[query["name"]]
            assert role in known.roles
            assert query.get("selector", {"matchLabels": {}})["matchLabels"].keys() <= set(known.labels)
    assert pauses.keys() == {"archive", "gateway", "bff"}
    assert pauses["gateway"] > pauses["archive"] > pauses["bff"]


@pytest.mark.parametrize("case", ["production"])
def test_the_adapter_provides_the_metrics_of_the_autoscalers(objects: list[Manifest], tmp_path: Path) -> None:
    needed(Prometheus.install)
    metrics = [each["spec"]["metrics"][0] for each in of_kind(objects, "HorizontalPodAutoscaler")]
    names = {each["pods"]["metric"]["name"] for each in metrics if each["type"] == "Pods"}
    rules = yaml.safe_load((CHART.parent / "prometheus-adapter-values.yaml").read_text())["rules"]["custom"]
    filled = {"<<.GroupBy>>": "pod", "<<.LabelMatchers>>": 'namespace="people",group="archive"'}
    queries = []
    for rule in rules:
        name = rule["seriesQuery"].partition("{")[0]
        query = rule["metricsQuery"].replace("<<.Series>>", name)
        for gap, text in filled.items():
            query = query.replace(gap, text)
        queries.append({"record": f"checked:{name}", "expr": query})
    assert {each["record"].removeprefix("checked:") for each in queries} == names
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "checked", "rules": queries}]}))
    subprocess.run(["promtool", "check", "rules", file], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("case", CASES)
def test_metrics_are_found_by_annotations_or_by_the_monitor(objects: list[Manifest], case: str) -> None:
    monitors = of_kind(objects, "PodMonitor")
    assert bool(monitors) == (case == "production")
    for workload in of_kind(objects, "Deployment", "StatefulSet"):
        port = ports_of(workload)["health"]
        annotations = pod_of(workload)["metadata"]["annotations"]
        if monitors:
            assert [endpoint["port"] for endpoint in monitors[0]["spec"]["podMetricsEndpoints"]] == ["health"]
            assert "prometheus.io/scrape" not in annotations
        else:
            assert annotations["prometheus.io/port"] == str(port)
            scheme = container_of(workload)["livenessProbe"]["httpGet"]["scheme"]
            assert annotations["prometheus.io/scheme"] == scheme.lower()


@pytest.mark.parametrize("case", CASES)
def test_no_service_and_no_peer_of_clients_reaches_the_port_of_metrics(
    objects: list[Manifest], processes: list[Running]
) -> None:
    for service in of_kind(objects, "Service"):
        assert "health" not in {port["targetPort"] for port in service["spec"]["ports"]}
    for policy in of_kind(objects, "NetworkPolicy"):
        rules = [{port["port"] for port in rule["ports"]} for rule in policy["spec"]["ingress"]]
        assert [ports for ports in rules if "health" in ports] == ([] if not rules else [{"health"}])
    for process in processes:
        if process.role in ("bff", "embedded"):  # else metrics would be at the port of clients
            assert process.settings.bff.health_port == ports_of(process.workload)["health"]


def job_of(pod: Manifest, relabelings: list[dict[str, Any]]) -> str:
    """The label `job` of a pod's metrics, as Prometheus derives it from the labels that it discovers."""
    labels = {"job": "people/chat-rookery"}  # the operator's own: namespace and name of the monitor
    for key, value in pod["labels"].items():
        labels["__meta_kubernetes_pod_label_" + re.sub("[^a-z]", "_", key)] = value
    for rule in relabelings:
        assert rule.keys() == {"sourceLabels", "targetLabel", "replacement"}
        (source,) = rule["sourceLabels"]
        labels[rule["targetLabel"]] = rule["replacement"].replace("$1", labels[source])
    return labels["job"]


@pytest.mark.parametrize("case", ["production"])
def test_the_alerts_select_the_jobs_of_the_monitor(objects: list[Manifest]) -> None:
    (monitor,), (rules,) = of_kind(objects, "PodMonitor"), of_kind(objects, "PrometheusRule")
    expressions = " ".join(rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"])
    patterns = set(re.findall(r'job=~"([^"]+)"', expressions))
    assert patterns
    jobs = {
        job_of(pod_of(workload)["metadata"], endpoint.get("relabelings", []))
        for workload in of_kind(objects, "Deployment", "StatefulSet")
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
        if endpoint["port"] in ports_of(workload)
    }
    assert jobs == {"rookery-archive", "rookery-bff", "rookery-gateway"}
    assert all(re.fullmatch(pattern, job) for pattern in patterns for job in jobs)


@pytest.mark.parametrize("case", ["production"])
def test_the_alerts_are_those_that_were_tested(objects: list[Manifest]) -> None:
    (rule,) = of_kind(objects, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
