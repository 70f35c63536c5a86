"""Prometheus sees what people do, process by process; and is told of nothing that the docs do not explain."""

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
    UNHURRIED,
    Use,
    Watched,
    in_use,
    said_by,
    use_http,
    wait_until_scraped,
)
from tools.engines.cassandra import Cassandra
from tools.engines.engine import running
from tools.engines.kafka import Kafka
from tools.engines.redis import Redis
from tools.launch.cluster import PARTITIONS, Cluster, Engines, running_cluster
from tools.launch.process import Process, wait_until
from tools.operations.prometheus import Prometheus, promtool

OF_THE_PROCESS = ("process_", "python_")
"""How names begin that are not ours."""

ELSEWHERE = {"Cassandra", "Redis", "TLS"}
"""What the embedded platform does not have."""

ABOUT_SPEED = {"RookeryAcceptsSlow", "RookeryDeliveriesSlow", "RookeryEventLoopSlow"}
"""Alerts that are right on a machine that has other things to do."""


def families(text: str) -> dict[str, str]:
    """By name as in the catalogue, the kind of each metric of ours that was said."""
    found = {family.name: family.type for family in text_string_to_metric_families(text)}
    return {
        f"{name}_total" if kind == "counter" else name: kind
        for name, kind in found.items()
        if not name.startswith(OF_THE_PROCESS)
    }


def documented(*, role: Role | None = None, without: frozenset[str] | set[str] = frozenset()) -> dict[str, str]:
    """What a process of the role, or of all roles, should say."""
    return {
        each.name: each.kind for each in CATALOGUE if each.needs not in without and (role is None or role in each.roles)
    }


class Counts:
    """What Prometheus counts of one job from now on."""

    def __init__(self, prometheus: Prometheus, selector: str) -> None:
        self._prometheus = prometheus
        self._selector = selector
        self._before: dict[str, float] = {}

    def __getitem__(self, name: str) -> float:
        """How much more there is of a counter, such as `rookery_refusals_total{code="invalid"}`, than at first."""
        return self._now(name) - self._before.get(name, 0)

    def begin(self, *names: str) -> None:
        """Count these from now on, once all that went before has come to its end."""
        wait_until_scraped(self._prometheus)  # it may not yet know of what went before
        assert wait_until(self._is_quiet, ENOUGH_SECONDS)
        wait_until_scraped(self._prometheus)
        self._before = {name: self._now(name) for name in names}

    def _is_quiet(self) -> bool:
        """Nobody is here, and the archives have recorded each message."""
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
    "rookery_dead_letters_total": 0,
    'rookery_http_request_seconds_count{route="/v1/users",status="201"}': 2,
    'rookery_http_request_seconds_count{route="/v1/users",status="409"}': 1,
    'rookery_http_request_seconds_count{route="/v1/tokens",status="401"}': 2,
    'rookery_rpc_server_calls_total{method="rookery.v1.SessionService/Connect"}': 1,
}
"""What a round of use counts; None for any number above 0."""


async def use(bff: str, prometheus: Prometheus) -> None:
    """One round of what people do, with a look at what there is while they are here."""
    async with in_use(bff) as use:
        await use.chat()
        await use.ask_too_much()
        await use_http(bff, use.ada, use.grace)
        await trio.to_thread.run_sync(wait_until_scraped, prometheus)
        open_sessions = {each: prometheus.newest(f'rookery_sessions{{transport="{each}"}}') for each in TRANSPORTS}
        assert open_sessions == {"websocket": 1, "grpc": 1}
        assert prometheus.newest("rookery_session_users") == 2
        assert prometheus.newest("rookery_tail_events") > 0


async def chat(bff: str) -> Use:
    """The same, without a look."""
    async with in_use(bff) as people:
        await people.chat()
        await use_http(bff, people.ada, people.grace)
        return people


def see_expected(counts: Counts, prometheus: Prometheus) -> None:
    """What comes by and by (the archive records, a session ends) is waited for."""

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
    """That it comes true, since a process that is busy may miss a look, or be late with its readiness."""
    assert wait_until(lambda: bool(prometheus.query(expression)), ENOUGH_SECONDS), expression


def see_documented(urls: Iterable[str], expected: Mapping[str, str]) -> None:
    """That all these URLs say together what they should: some of it comes a moment later, when a call has ended."""

    def said() -> dict[str, str]:
        return optional_errors() | {name: kind for url in urls for name, kind in families(said_by(url)).items()}

    wait_until(lambda: said() == expected, ENOUGH_SECONDS)
    assert said() == expected


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


def test_every_metric_that_is_said_is_documented_and_every_documented_one_is_said(watch: Watched) -> None:
    trio.run(chat, watch.rookery.url)
    see_documented([watch.rookery.url], documented(without=ELSEWHERE))
    secured = families(said_by(watch.secured.url))
    assert secured["rookery_tls_certificate_not_after_seconds"] == "gauge"
    assert secured.items() <= documented().items()


def optional_errors() -> dict[str, str]:
    """What is said only once something has failed."""
    return {"rookery_store_errors_total": "counter"}


def test_no_label_has_what_a_person_chose_or_is(watch: Watched) -> None:
    """Values are of a bounded set: in all that is said there is no id, no name and no text of anyone."""

    people = trio.run(chat, watch.rookery.url)
    said = said_by(watch.rookery.url)
    for person in (people.ada, people.grace):
        assert str(person.user_id) not in said
        assert person.name not in said
    codes = {
        sample.labels["code"]
        for f in text_string_to_metric_families(said)
        for sample in f.samples
        if "code" in sample.labels
    }
    assert codes == {str(code) for code in Code}


def test_promtool_finds_nothing_wrong_with_what_is_said(watch: Watched) -> None:
    linted = promtool("check", "metrics", typed=said_by(watch.rookery.url))
    assert (linted.returncode, linted.stdout.strip()) == (0, "")


def test_the_rules_can_be_evaluated_and_no_alert_fires_while_all_is_well(watch: Watched) -> None:
    watch.wait_until_scraped(times=2)
    rules = watch.prometheus.rules()
    assert wait_until(lambda: all(rule["health"] == "ok" for rule in watch.prometheus.rules())), rules
    assert {name for name, state in watch.prometheus.alerts().items() if state == "firing"} <= ABOUT_SPEED


# ---- roles of their own, on real engines


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, kafka_server: Kafka, cassandra_server: Cassandra, redis_server: Redis
) -> Iterator[Cluster]:
    """One for all tests here, that has been used."""
    engines = Engines(kafka_server, cassandra_server, redis_server)
    folder = tmp_path_factory.mktemp("cluster")
    with running_cluster(Cluster(folder, engines, bffs=1, archives=1, settings=UNHURRIED)) as ready:
        trio.run(chat, ready.bffs[0].url)
        yield ready


def url_of(process: Process) -> str:
    """Where its metrics are."""
    address = process.addresses.get("page") or process.addresses[f"{process.role}_health"]
    return re.sub(r"/(readyz)?$", "", address)


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


@pytest.mark.parametrize("role", ["bff", "gateway", "archive"])
def test_a_role_says_what_the_docs_say_of_it(cluster: Cluster, role: Role) -> None:
    urls = [url_of(process) for process in cluster.running(role)]
    see_documented(urls, documented(role=role, without={"SQLite", "TLS", "the embedded log"}))
