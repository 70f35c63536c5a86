"""Helm accepts the chart, refuses invalid values, and packages the alerts."""

import json
import tarfile
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from shared.settings import ENV_PREFIX
from tools.operations.helm import Helm, HelmFailed
from tools.operations.manifests import CASES, CHART, SECRETS, secret_settings, values_of
from tools.operations.node.distributed import values_for
from tools.toolchains import ROOT

if TYPE_CHECKING:
    from tools.engines.kinds import Engines


@pytest.mark.slow
@pytest.mark.parametrize("case", [None, *CASES])
def test_lint_finds_nothing(helm: Helm, case: str | None) -> None:
    values: list[str | Path] = ["-f", values_of(case)] if case else []
    done = helm.run("lint", "--strict", CHART, *values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert case is None or "Fail:" not in done.stderr  # the defaults lack required values


@pytest.mark.slow
def test_the_chart_takes_the_values_of_the_run_on_a_node(helm: Helm, tmp_path: Path) -> None:
    engines = SimpleNamespace(
        kafka=SimpleNamespace(address="127.0.0.1:9092"),
        cassandra=SimpleNamespace(port=9042),
        redis=SimpleNamespace(url="redis://127.0.0.1:6379/0"),
    )
    values = tmp_path / "values.json"
    values.write_text(json.dumps(values_for(cast("Engines", engines))))
    helm.template(CHART, "-f", values)


@pytest.mark.slow
def test_all_missing_values_are_named_at_once(helm: Helm) -> None:
    with pytest.raises(HelmFailed) as refused:
        helm.template(CHART)
    for words in (
        "exactly one of tls.secretName, tls.certManager.enabled and tls.plaintext",
        "kafka.servers",
        "cassandra.hosts",
        "one of redis.url and redis.secretName",
        "one of files.url and files.claimName",
        "kafka.security SASL_SSL needs kafka.credentials.secretName",
    ):
        assert words in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("tls.secretName=too", "exactly one of tls"),
        ("exposure.kind=ingress", "needs public.host and public.gatewayDomain"),
        ("exposure.kind=loadBalancer,public.host=a,public.gatewayDomain=b", "which tls.plaintext disables"),
        ("exposure.kind=gatewayApi,public.host=a,public.gatewayDomain=b", "needs exposure.gatewayApi.parentRefs"),
        ("tls.publicSecretName=own", "which tls.plaintext disables"),
        ("terminationGracePeriodSeconds=43", "more than archive.preStopSeconds and stopDeadlineSeconds together, 43"),
        ("gateway.replicas=13", "13 pods of gateway exceed kafka.partitions, 12"),
        ("archive.autoscaling.enabled=true,kafka.partitions=6", "12 pods of archive exceed kafka.partitions, 6"),
        ("bff.autoscaling.minReplicas=11", "bff.autoscaling.minReplicas is more"),
        ("kafka.minInSync=2", "kafka.minInSync is more"),
        ("redis.secretName=too", "one of redis.url and redis.secretName"),
        ("files.url=s3://too", "one of files.url and files.claimName"),
        ("files.url=s3://own", "files.url needs files.credentials.secretName"),
        ("mode=embedded", "files.claimName is for mode distributed"),
        ("kafka.security=SASL_SSL", "needs kafka.credentials.secretName"),
        ("kafka.credentials.secretName=own", "kafka.credentials.secretName needs kafka.security SASL_SSL"),
        ("kafka.tls.secretName=own", "kafka.tls.secretName needs kafka.security SSL or SASL_SSL"),
        ("cassandra.tls.clientCertificate=true", "cassandra.tls.clientCertificate needs cassandra.tls.secretName"),
    ],
)
def test_contradictory_values_are_refused(helm: Helm, values: str, words: str) -> None:
    with pytest.raises(HelmFailed, match=words):
        helm.template(CHART, "-f", values_of("plaintext"), "--set", values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "values", "words"),
    [
        ("production", "exposure.trustedProxies={10.0.0.0/8}", "exposure.trustedProxies is for proxies of HTTP"),
        ("ingress", "exposure.kind=loadBalancer,exposure.trustedProxies=null", "needs tls.publicSecretName"),
        ("production", "monitoring.podMonitor.tlsConfig=null", "needs monitoring.podMonitor.tlsConfig"),
    ],
)
def test_contradictions_of_exposed_values_are_refused(helm: Helm, case: str, values: str, words: str) -> None:
    with pytest.raises(HelmFailed, match=words):
        helm.template(CHART, "-f", values_of(case), "--set", values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("gatway.replicas=2", "gatway"),
        ("gateway.replica=2", "replica"),
        ("mode=both", "mode"),
        ("stopDeadlineSeconds=0", "stopDeadlineSeconds"),
        ("redis.url=redis://:hidden@redis:6379/0", "redis/url"),
        ("kafka.servers={kafka}", "kafka/servers"),
        ("image.digest=latest", "image/digest"),
        ("settings.STOP_DEADLINE=20", "STOP_DEADLINE"),
        ("settings.BFF__HEALTH_PORT=8080", "BFF__HEALTH_PORT"),
        ("exposure.loadBalancer.grpcPort=443", "loadBalancer/grpcPort"),
        ("bff.resources.request.cpu=1", "request"),
        *((f"settings.{name}=hidden", name) for name in (*secret_settings(), "TRACES__HEADERS__AUTHORIZATION")),
    ],
)
def test_the_schema_rejects_unknown_values_and_secrets(helm: Helm, values: str, words: str) -> None:
    with pytest.raises(HelmFailed, match="don't meet the specifications of the schema") as refused:
        helm.template(CHART, "-f", values_of("plaintext"), "--set", values)
    assert words in str(refused.value)


def test_the_secret_settings_are_known() -> None:
    assert {f"{ENV_PREFIX}{name}" for name in secret_settings()} == {
        name for name in SECRETS if not name.endswith(("__USERNAME", "__ACCESS_KEY"))
    }


@pytest.mark.slow
def test_the_package_has_the_alerts(helm: Helm, tmp_path: Path) -> None:
    assert helm.run("package", CHART, "-d", tmp_path).returncode == 0
    (package,) = tmp_path.glob("rookery-*.tgz")
    with tarfile.open(package) as archive:
        packed = archive.extractfile("rookery/files/alerts.yml")
        assert packed is not None
        assert packed.read() == (ROOT / "deploy/prometheus/alerts.yml").read_bytes()
        assert not any("/ci/" in name for name in archive.getnames())


def test_the_chart_is_of_the_version_of_the_project() -> None:
    chart: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
