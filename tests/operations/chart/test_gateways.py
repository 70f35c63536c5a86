"""The addresses that a gateway of the chart announces lead to its pod, and to no other."""

from urllib.parse import urlsplit

import pytest

from shared.contract.addresses import GrpcAddress
from shared.files.protocol import PART_BYTES
from tools.operations.kubernetes import Manifest
from tools.operations.manifests import (
    EXPOSED,
    NAMESPACE,
    Running,
    environment_of,
    named,
    of_kind,
    ports_of,
    role_of,
    selected,
    workloads,
)

pytestmark = pytest.mark.slow


def reach(objects: list[Manifest], url: str) -> tuple[str, str]:
    """Target of a URL: the pod (or the workload, if any of its pods may serve it), and the port."""
    parts = urlsplit(url)
    host, port = str(parts.hostname), parts.port or 443
    service, target = routed(objects, host, parts.path or "/", port)
    selector = service["spec"]["selector"]
    (workload,) = selected(objects, selector, without="statefulset.kubernetes.io/pod-name")
    (found,) = [each["targetPort"] for each in service["spec"]["ports"] if target in (each["name"], each["port"])]
    assert found in ports_of(workload)
    return selector.get("statefulset.kubernetes.io/pod-name", workload["metadata"]["name"]), found


def routed(objects: list[Manifest], host: str, path: str, port: int) -> tuple[Manifest, str | int]:
    """Service and port of a request, by an Ingress, a route, or the Service's own address."""
    found: list[tuple[int, str, str | int]] = []  # the longest path wins
    for ingress in of_kind(objects, "Ingress"):
        (tls,) = ingress["spec"]["tls"]
        assert {rule["host"] for rule in ingress["spec"]["rules"]} == {*tls["hosts"]}
        for rule in ingress["spec"]["rules"]:
            for each in rule["http"]["paths"] if rule["host"] == host else []:
                if path == each["path"] or (each["pathType"] == "Prefix" and each["path"] == "/"):
                    backend = each["backend"]["service"]
                    found.append((len(each["path"]), backend["name"], backend["port"]["name"]))
    for route in of_kind(objects, "HTTPRoute"):
        for rule in route["spec"]["rules"] if host in route["spec"]["hostnames"] else []:
            paths = [match["path"]["value"] for match in rule.get("matches", [])] or ["/"]
            if path in paths or paths == ["/"]:
                (backend,) = rule["backendRefs"]
                found.append((len(paths[0]), backend["name"], backend["port"]))
    if found:
        assert port == 443
        _, name, target = max(found)
        return named(objects, "Service", name), target
    (service,) = [
        each
        for each in of_kind(objects, "Service")
        if each["metadata"].get("annotations", {}).get("external-dns.alpha.kubernetes.io/hostname") == host
    ]
    assert service["spec"]["type"] == "LoadBalancer"
    return service, port


def pods_of(objects: list[Manifest], workload: Manifest) -> list[str]:
    """Names of all possible pods, up to the autoscaler's maximum."""
    name = workload["metadata"]["name"]
    scalers = [each["spec"] for each in of_kind(objects, "HorizontalPodAutoscaler")]
    most = [spec["maxReplicas"] for spec in scalers if spec["scaleTargetRef"]["name"] == name]
    return [f"{name}-{number}" for number in range(most[0] if most else workload["spec"]["replicas"])]


@pytest.mark.parametrize("case", EXPOSED)
def test_the_announced_addresses_of_a_gateway_lead_to_it_alone_ready_or_not(objects: list[Manifest]) -> None:
    (gateway,) = [each for each in workloads(objects) if role_of(each) in ("gateway", "embedded")]
    for pod in pods_of(objects, gateway):
        environment = environment_of(objects, gateway, pod)
        websocket, grpc = (environment[f"ROOKERY_GATEWAY__PUBLIC_{name}"] for name in ("WEBSOCKET", "GRPC"))
        assert urlsplit(websocket).scheme == "wss"
        assert reach(objects, websocket) == (pod, "websocket")
        assert GrpcAddress.parse(grpc).is_secure
        assert reach(objects, grpc) == (pod, "grpc")
    services = [each["spec"] for each in of_kind(objects, "Service")]
    own = [spec for spec in services if "statefulset.kubernetes.io/pod-name" in spec["selector"]]
    assert own
    assert all(spec["publishNotReadyAddresses"] is True for spec in own)


@pytest.mark.parametrize("case", ["gateway-api"])
def test_no_route_bounds_the_time_of_a_session_an_upload_or_a_download(objects: list[Manifest]) -> None:
    rules = [rule for route in of_kind(objects, "HTTPRoute") for rule in route["spec"]["rules"]]
    assert len(rules) > 2
    assert all(rule["timeouts"] == {"request": "0s", "backendRequest": "0s"} for rule in rules)


@pytest.mark.parametrize("case", ["ingress", "embedded-ingress"])
def test_nginx_speaks_the_protocol_of_the_pods_and_lets_uploads_and_silent_sessions_pass(
    objects: list[Manifest], processes: list[Running]
) -> None:
    ingresses = of_kind(objects, "Ingress")
    own = {ingress["metadata"]["name"].rpartition("-")[2]: annotations_of(ingress) for ingress in ingresses}
    assert all(each.settings.tls.certificate_file for each in processes if each.role != "migrate")
    assert {name: each["backend-protocol"] for name, each in own.items()} == {
        "bff": "HTTPS", "websocket": "HTTPS", "grpc": "GRPCS",
    }  # fmt: skip
    assert own["bff"]["proxy-body-size"] == f"{PART_BYTES // 2**20 + 1}m"
    waits = [int(own[name][f"proxy-{way}-timeout"]) for name in ("websocket", "grpc") for way in ("read", "send")]
    assert min(waits) > 60
    for process in processes:
        for section in {"bff": ["bff"], "gateway": ["gateway"], "embedded": ["bff", "gateway"]}.get(process.role, []):
            assert getattr(process.settings, section).trusted_proxies


def annotations_of(ingress: Manifest) -> dict[str, str]:
    """Annotations for ingress-nginx, by their short names."""
    found = ingress["metadata"].get("annotations", {}).items()
    return {name.removeprefix("nginx.ingress.kubernetes.io/"): value for name, value in found}


@pytest.mark.parametrize("case", EXPOSED)
def test_the_page_may_connect_to_each_gateway_which_accepts_its_origin(
    objects: list[Manifest], processes: list[Running]
) -> None:
    (bff,) = [each for each in processes if each.role in ("bff", "embedded")]
    (gateway,) = [each for each in processes if each.role in ("gateway", "embedded")]
    assert reach(objects, "https://chat.example.org/") == (bff.workload["metadata"]["name"], "http")
    assert gateway.settings.gateway.allowed_origins == ("https://chat.example.org",)
    host = str(urlsplit(gateway.settings.gateway.public_websocket).hostname)
    assert bff.settings.bff.websocket_origins == (f"wss://*.{host.partition('.')[2]}",)


@pytest.mark.parametrize("case", ["tls", "plaintext", "production"])
def test_the_internal_address_of_a_gateway_is_its_own_name_in_the_cluster(processes: list[Running]) -> None:
    (gateway,) = [each.settings for each in processes if each.role == "gateway"]
    address = GrpcAddress.parse(gateway.gateway.internal_grpc)
    assert address.host == f"chat-rookery-gateway-0.chat-rookery-gateway.{NAMESPACE}.svc"
    assert (address.port, address.is_secure) == (gateway.gateway.grpc_port, gateway.tls.certificate_file is not None)


@pytest.mark.parametrize("case", ["tls", "plaintext"])
def test_inside_the_cluster_a_gateway_has_its_own_name_and_accepts_the_page_of_the_bffs(
    objects: list[Manifest], processes: list[Running]
) -> None:
    (gateway,) = [each.settings.gateway for each in processes if each.role == "gateway"]
    service = named(objects, "Service", "chat-rookery-gateway")["spec"]
    host = f"chat-rookery-gateway-0.chat-rookery-gateway.{NAMESPACE}.svc"
    assert urlsplit(gateway.public_websocket).hostname == GrpcAddress.parse(gateway.public_grpc).host == host
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    scheme = urlsplit(gateway.public_websocket).scheme.replace("ws", "http")
    assert gateway.allowed_origins == (f"{scheme}://chat-rookery-bff.{NAMESPACE}.svc:8080",)
