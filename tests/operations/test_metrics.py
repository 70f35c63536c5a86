"""Prometheus counts what users do, per process; every metric is documented, and none has user data."""

import re
from collections.abc import Iterable, Iterator, Mapping

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from shared.contract.errors import Code
from shared.telemetry.metrics.catalogue import CATALOGUE, TRANSPORTS
from shared.telemetry.metrics.instruments import ROLES, Role
from tests.needed import needed
from tests.operations.watched import (
    ENOUGH_SECONDS,
    MESSAGES,
    Use,
    Watched,
    in_use,
    metrics_at,
    use_http,
    wait_until_scraped,
)
from tools.engines.engine import running
from tools.engines.kinds import Engines
from tools.launch.cluster import PARTITIONS, UNHURRIED, Cluster, running_cluster
from tools.launch.process import Process, Rookery, wait_until
from tools.operations.prometheus import Prometheus, promtool

OF_THE_PROCESS = ("process_", "python_")
"""Prefixes of metrics of client libraries."""

ELSEWHERE = {"Cassandra", "Redis", "TLS"}
"""Parts that the embedded platform does not have."""

ABOUT_SPEED = {"RookeryAcceptsSlow", "RookeryDeliveriesSlow", "RookeryEventLoopSlow"}
"""Alerts that may fire on a busy machine."""


def families(text: str) -> dict[str, str]:
    """Kinds of our metrics, by name as in the catalogue."""
    found = {family.name: family.type for family in text_string_to_metric_families(text)}
    return {
        f"{name}_total" if kind == "counter" else name: kind
        for name, kind in found.items()
        if not name.startswith(OF_THE_PROCESS)
    }


def documented(*, role: Role | None = None, without: frozenset[str] | set[str] = frozenset()) -> dict[str, str]:
    """Documented metrics of a role, or of all roles."""
    return {
        each.name: each.kind for each in CATALOGUE if each.needs not in without and (role is None or role in each.roles)
    }


class Counts:
    """Increases of counters in Prometheus of one job."""

    def __init__(self, prometheus: Prometheus, selector: str) -> None:
        self._prometheus = prometheus
        self._selector = selector
        self._before: dict[str, float] = {}

    def __getitem__(self, name: str) -> float:
        """Increase of a counter, such as `rookery_refusals_total{code="invalid"}`, since `begin`."""
        return self._now(name) - self._before.get(name, 0)

    def begin(self, *names: str) -> None:
        """Count from now on, after earlier use is recorded and scraped."""
        wait_until_scraped(self._prometheus)  # the last scrape may be older than earlier use
        assert wait_until(self._is_quiet, ENOUGH_SECONDS)
        wait_until_scraped(self._prometheus)
        self._before = {name: self._now(name) for name in names}

    def _is_quiet(self) -> bool:
        """No session is open, and the archives have recorded each message."""
        recorded, accepted = self._now("rookery_recorded_events_total"), self._now("rookery_accept_seconds_count")
        return self._now("rookery_sessions") == 0 and recorded == accepted

    def _now(self, name: str) -> float:
        metric, _, labels = name.partition("{")
        together = ",".join(part for part in (labels.rstrip("}"), self._selector) if part)
        return self._prometheus.newest(f"{metric}{{{together}}}")


EXPECTED = {
    "rookery_accept_seconds_count": 1.5 * MESSAGES,
    "rookery_delivery_seconds_count": 1.5 * MESSAGES,
    "rookery_recorded_events_total": 1.5 * MESSAGES,
    'rookery_store_seconds_count{operation="record"}': None,
    'rookery_refusals_total{code="not_found"}': 3,
    'rookery_refusals_total{code="invalid"}': 2,
    'rookery_registrations_total{result="ok"}': 2,
    'rookery_registrations_total{result="name_taken"}': 1,
    'rookery_sign_ins_total{result="ok"}': 2,
    'rookery_sign_ins_total{result="wrong_password"}': 2,
    'rookery_refreshes_total{result="ok"}': 1,
    'rookery_sessions_opened_total{transport="websocket"}': 1,
    'rookery_sessions_opened_total{transport="grpc"}': 1,
    'rookery_sessions_ended_total{reason="left"}': 2,
    'rookery_session_frames_total{direction="in"}': 2 + 1.5 * MESSAGES + 5,
    'rookery_session_frames_total{direction="out"}': 2 + 2 * 1.5 * MESSAGES + 5,
    "rookery_session_dropped_events_total": 0,
    "rookery_publish_failures_total": 0,
    "rookery_published_records_total": None,
    "rookery_dead_letters_total": 0,
    'rookery_http_request_seconds_count{route="/v1/users",status="201"}': 2,
    'rookery_http_request_seconds_count{route="/v1/users",status="409"}': 1,
    'rookery_http_request_seconds_count{route="/v1/tokens",status="401"}': 2,
    'rookery_rpc_server_calls_total{method="rookery.v1.SessionService/Connect"}': 1,
}
"""Increases by one round of use; None for any number above 0."""


async def use(bff: str, prometheus: Prometheus) -> None:
    """One round of use, with a check of the gauges while sessions are open."""
    async with in_use(bff) as use:
        await use.chat()
        await use.send_invalid()
        await use_http(bff, use.ada, use.grace)
        await trio.to_thread.run_sync(wait_until_scraped, prometheus)
        open_sessions = {each: prometheus.newest(f'rookery_sessions{{transport="{each}"}}') for each in TRANSPORTS}
        assert open_sessions == {"websocket": 1, "grpc": 1}
        assert prometheus.newest("rookery_session_users") == 2
        assert prometheus.newest("rookery_tail_events") > 0


async def chat(bff: str) -> Use:
    """One round of use without that check."""
    async with in_use(bff) as people:
        await people.chat()
        await use_http(bff, people.ada, people.grace)
        return people


def see_expected(counts: Counts, prometheus: Prometheus) -> None:
    """Wait until the counters have the expected increases: archives record and sessions end with a delay."""

    def differences() -> dict[str, float]:
        now = {name: counts[name] for name in EXPECTED}
        return {
            name: now[name]
            for name, value in EXPECTED.items()
            if not (now[name] == value or (value is None and now[name]))
        }

    wait_until(lambda: not differences(), ENOUGH_SECONDS)
    assert differences() == {}
    see(prometheus, "min(rookery_ready) == 1")


def see(prometheus: Prometheus, expression: str) -> None:
    """Wait until an expression holds: a busy process may miss a scrape."""
    assert wait_until(lambda: bool(prometheus.query(expression)), ENOUGH_SECONDS), expression


def see_documented(urls: Iterable[str], expected: Mapping[str, str]) -> None:
    """Wait until the processes together have the expected metrics: some appear only when a call has ended."""

    def found() -> dict[str, str]:
        return optional_errors() | {name: kind for url in urls for name, kind in families(metrics_at(url)).items()}

    wait_until(lambda: found() == expected, ENOUGH_SECONDS)
    assert found() == expected


@pytest.mark.slow
def test_prometheus_counts_what_people_did(watch: Watched) -> None:
    rookery, prometheus = watch.rookery, watch.prometheus
    counts = Counts(prometheus, 'job="rookery"')
    counts.begin(*EXPECTED)
    trio.run(use, rookery.url, prometheus)
    see_expected(counts, prometheus)
    latencies = [
        f"{kind}_{part}" for kind in ("rookery_accept_seconds", "rookery_delivery_seconds") for part in ("sum", "count")
    ]
    accept, accepted, delivery, delivered = [prometheus.newest(f'{name}{{job="rookery"}}') for name in latencies]
    assert 0 < accept / accepted < 30
    assert 0 <= delivery / delivered < 30


def test_every_metric_is_documented_and_every_documented_one_is_there(rookery: Rookery) -> None:
    trio.run(chat, rookery.url)
    see_documented([rookery.url], documented(without=ELSEWHERE))


def test_metrics_of_tls_are_documented(secured: Rookery) -> None:
    metrics = families(metrics_at(secured.url))
    assert metrics["rookery_tls_certificate_not_after_seconds"] == "gauge"
    assert metrics.items() <= documented().items()


def optional_errors() -> dict[str, str]:
    """Metrics that appear only after a failure."""
    return {"rookery_store_errors_total": "counter"}


def test_no_label_has_user_data(rookery: Rookery) -> None:
    """Label values are of a bounded set: no id, name or text of a user is among them."""
    people = trio.run(chat, rookery.url)
    metrics = metrics_at(rookery.url)
    for person in (people.ada, people.grace):
        assert str(person.user_id) not in metrics
        assert person.name not in metrics
    codes = {
        sample.labels["code"]
        for f in text_string_to_metric_families(metrics)
        for sample in f.samples
        if "code" in sample.labels
    }
    assert codes == {str(code) for code in Code}


@pytest.mark.slow
def test_promtool_accepts_the_metrics(watch: Watched) -> None:
    linted = promtool("check", "metrics", typed=metrics_at(watch.rookery.url))
    assert (linted.returncode, linted.stdout.strip()) == (0, "")


@pytest.mark.slow
def test_the_rules_are_valid_and_no_alert_fires_on_a_healthy_platform(watch: Watched) -> None:
    watch.wait_until_scraped(times=2)
    rules = watch.prometheus.rules()
    assert wait_until(lambda: all(rule["health"] == "ok" for rule in watch.prometheus.rules())), rules
    assert {name for name, state in watch.prometheus.alerts().items() if state == "firing"} <= ABOUT_SPEED


# ---- a process per role, on real engines


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, engines: Engines) -> Iterator[Cluster]:
    """One for all tests of this module, after one round of use."""
    folder = tmp_path_factory.mktemp("cluster")
    with running_cluster(Cluster(folder, engines, bffs=1, archives=1, settings=UNHURRIED)) as ready:
        trio.run(chat, ready.bffs[0].url)
        yield ready


def url_of(process: Process) -> str:
    """URL of its metrics, without the path."""
    address = process.addresses.get("page") or process.addresses[f"{process.role}_health"]
    return re.sub(r"/(readyz)?$", "", address)


@pytest.mark.slow
def test_prometheus_counts_what_people_did_over_all_roles(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    needed(Prometheus.install)
    jobs = {process.name: [url_of(process)] for process in cluster.processes}
    with running(Prometheus(tmp_path_factory.mktemp("prometheus"), jobs)) as prometheus:
        counts = Counts(prometheus, "")
        counts.begin(*EXPECTED)
        trio.run(use, cluster.bffs[0].url, prometheus)
        see_expected(counts, prometheus)
        assert prometheus.newest("rookery_partitions_owned") == PARTITIONS
        see(prometheus, "max(rookery:partitions_unowned) == 0")
        assert prometheus.newest("rookery_cassandra_requests_total") > 0
        assert prometheus.newest("rookery_redis_commands_total") > 0
        see(prometheus, f"count(rookery_ready == 1) == {len(jobs)}")
        assert {labels["role"] for labels, _ in prometheus.query("last_over_time(rookery_ready[1h])")} == {*ROLES}


@pytest.mark.slow
@pytest.mark.parametrize("role", ["bff", "gateway", "archive"])
def test_a_role_has_the_documented_metrics(cluster: Cluster, role: Role) -> None:
    urls = [url_of(process) for process in cluster.running(role)]
    see_documented(urls, documented(role=role, without={"SQLite", "TLS", "the embedded log"}))
