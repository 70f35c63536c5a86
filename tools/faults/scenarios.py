"""The faults: each is injected while clients chat; after each, no accepted message may be lost."""

import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import trio

from rookery.client import Refused, RookeryError
from rookery.load.measure import summarize
from rookery.verify import Run
from tools.faults.stage import ClusterStage, Report, Stage, UpStage, formatted
from tools.launch.process import Process
from tools.launch.relay import Relay

LIVE_ELSEWHERE = 10.0
"""Seconds from the kill of a gateway to new sessions of its clients, at p99."""

BROKER_BACK = 30.0
"""Seconds from the kill of the broker, which restarts at once, to the next accepted message."""

RECOVERED = 12.0
"""Seconds without a session, at p99, while faults overlap."""

FILES = 10.0
"""Percent of the messages that have a file, where files are what is disturbed."""

FLAP_SECONDS = 5.0
"""Between two kills of a gateway."""

LATENCY = 0.2
"""Seconds by which a bad network delays bytes, in each direction."""

STOPPED = 10.0
"""Seconds from SIGTERM to the end: the stop deadline and a margin."""

QUERY_ANSWERED = 1.0
"""Seconds until a query is refused while the store is away."""

ENGINE_AWAY_PAUSE = 5.0
"""Longest seconds without an accepted message while an engine is away that sends do not need."""

STEP = 5.0
"""Seconds of a clock step, in each direction."""

GROWTH = 0.05
"""Largest relative growth of sockets, threads and memory after many sessions."""

RELEASED = 30.0
"""Seconds until a process has released the resources of closed sessions."""

CALM = 0.5
"""Part of the usual rate at which latencies are compared: a busy machine would hide a difference."""

CHURN_MESSAGES = 200
"""Sent during the churn: few, since recent messages stay in memory for minutes."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A fault and its promise."""

    name: str
    fault: str
    promise: str
    where: Literal["cluster", "up"]
    inject: Callable[[Any, Report], Awaitable[None]]


async def up_killed(stage: UpStage, report: Report) -> None:
    async with stage.load(report) as run:
        killed = trio.current_time()
        await stage.do(stage.up.kill)
        await stage.do(stage.up.start)
    live_within(report, run, killed)


async def gateway_killed(stage: ClusterStage, report: Report) -> None:
    async with stage.load(report) as run:
        killed = trio.current_time()
        await stage.do(stage.cluster["gateway-1"].kill)
    live_within(report, run, killed)


async def roles_terminated(stage: ClusterStage, report: Report) -> None:
    async with stage.load(report) as run:
        for name in ("archive-1", "gateway-1", "bff-1"):
            begin = trio.current_time()
            code = await stage.do(stage.cluster[name].terminate)
            report.at_most(f"exit code of {name}", code, 0)
            report.within(f"{name} ended after", trio.current_time() - begin, STOPPED)
            await run.until(accepted=run.accepted_count + stage.scale.messages // 10)
    refused_nothing(report)


async def broker_killed(stage: ClusterStage, report: Report) -> None:
    async with stage.load(report):
        await stage.do(stage.engines.kafka.kill)
        await stage.do(stage.engines.kafka.start)
    pause_at_most(report, BROKER_BACK)


async def partitions_moved(stage: ClusterStage, report: Report) -> None:
    before = await stage.do(stage.gateway_answers)
    async with stage.load(report) as run:
        began = trio.current_time()
        await stage.do(stage.spare.start)
        await stage.do(stage.cluster.wait_until_settled)
        await run.until(accepted=run.accepted_count + stage.scale.messages // 10)
        await stage.do(stage.spare.terminate)
        await stage.do(stage.cluster.wait_until_settled)
    assert report.result is not None
    report.at_least("sessions that moved", report.result.reconnects, 2)
    live_within(report, run, began, RECOVERED)
    pause_at_most(report, LIVE_ELSEWHERE)
    await measure_gateway_answers(stage, report, before)


async def store_stopped(stage: ClusterStage, report: Report) -> None:
    async with stage.load(report, files=0) as run:  # messages with files wait for the store
        await stage.do(stage.engines.cassandra.kill)
        accepted = run.accepted_count
        answers, slowest = await query_until(run, trio.current_time() + stage.scale.away)
        report.keeps_rate("accepted meanwhile", run.accepted_count - accepted, stage.scale.rate * stage.scale.away / 2)
        report.within("slowest query", slowest, QUERY_ANSWERED)
        report.at_most("queries without a 503", answers.total() - answers["unavailable"], 0)
        await stage.do(stage.engines.cassandra.start)
    pause_at_most(report, ENGINE_AWAY_PAUSE)


async def configuration_stopped(stage: ClusterStage, report: Report) -> None:
    async with stage.load(report) as run:
        await stage.do(stage.engines.redis.kill)
        accepted = run.accepted_count
        await trio.sleep(stage.scale.away)
        report.keeps_rate("accepted meanwhile", run.accepted_count - accepted, stage.scale.rate * stage.scale.away / 2)
        await stage.do(stage.engines.redis.start)
    pause_at_most(report, ENGINE_AWAY_PAUSE)


async def gateway_frozen(stage: ClusterStage, report: Report) -> None:
    async with stage.load(report), frozen(stage.cluster["gateway-1"]):
        await trio.sleep(stage.scale.away)
    assert report.result is not None
    report.measured.append(f"slowest answer {report.result.to_accepted.max / 1000:,.1f} s")


async def clock_stepped(stage: ClusterStage, report: Report) -> None:
    gateway = stage.cluster["gateway-1"]
    async with AsyncExitStack() as stack, stage.load(report) as run:
        stack.callback(stage.step_clock, gateway, 0.0)
        for offset in (STEP, 0.0, -STEP, 0.0):
            stage.step_clock(gateway, offset)
            await run.until(accepted=run.accepted_count + stage.scale.messages // 5)
    pause_at_most(report, STEP + 1.0)


async def slow_client(stage: ClusterStage, report: Report) -> None:
    scale = stage.scale
    p99 = {True: math.inf, False: math.inf}
    for _ in range(scale.rounds):
        for reads in p99:
            least, rate = scale.messages // scale.rounds, scale.rate * CALM
            async with stage.load(report, least=least, rate=rate, slow_clients=1, slow_clients_read=reads):
                pass
            assert report.result is not None
            p99[reads] = min(p99[reads], report.result.to_delivered.p99)
    limit = max(1.2 * p99[True], p99[True] + scale.slack) * scale.lenience
    report.at_most(f"p99 of the others {p99[True]:,.1f} ms, beside a client that never reads", p99[False], limit, " ms")


async def come_and_go(stage: ClusterStage, report: Report) -> None:
    gateways = stage.cluster.running("gateway")
    async with stage.load(report, churn=stage.scale.churn // 4, messages=CHURN_MESSAGES, rate=None):
        pass  # lazy initialisation happens here
    before = [usage(gateway) for gateway in gateways]
    async with stage.load(report, churn=stage.scale.churn, messages=CHURN_MESSAGES, rate=None):
        pass
    assert report.result is not None
    report.at_least("sessions that came and went", report.result.churned, stage.scale.churn)
    growth = 1 + GROWTH * report.lenience
    for gateway, old in zip(gateways, before, strict=True):
        new = await usage_within(gateway, {quantity: growth * value for quantity, value in old.items()})
        for quantity in old:
            report.at_most(
                f"{quantity} of {gateway.name} {formatted(old[quantity])}, then", new[quantity], growth * old[quantity]
            )


async def everything_restarted(stage: ClusterStage, report: Report) -> None:
    async with stage.load(report):
        for process in stage.cluster.running(stage.scale.restarted):
            report.at_most(f"exit code of {process.name}", await stage.do(stage.restart, process), 0)
    refused_nothing(report)


async def everything_killed(stage: ClusterStage, report: Report) -> None:
    scale = stage.scale
    async with stage.load(report, least=scale.overlapping) as run:
        killed = trio.current_time()
        processes = stage.cluster.running()
        async with trio.open_nursery() as nursery:
            for process in processes:
                nursery.start_soon(stage.do, process.kill)
        await trio.sleep(scale.away)  # meanwhile the pauses between the clients' attempts grow
        for process in processes:
            await stage.do(process.launch)
        for process in processes:
            await stage.do(process.wait_until_announced)
        await stage.do(stage.cluster.wait_until_ready)
        ready = trio.current_time()
    report.at_least("sessions lost", len(run.outages_since(killed)), 1)
    after = run.outages_after(ready)
    report.within("live after everything is ready, p99", summarize(after).p99 / 1000 if after else 0.0, RECOVERED)


async def gateway_and_archive_killed(stage: ClusterStage, report: Report) -> None:
    scale = stage.scale
    async with (
        stage.late_retries() as late,
        stage.load(report, least=scale.overlapping, absences=scale.clients // 3, **late) as run,
    ):
        killed = trio.current_time()
        async with trio.open_nursery() as nursery:
            for name in ("gateway-1", "archive-1"):
                nursery.start_soon(stage.do, stage.cluster[name].kill)
    live_within(report, run, killed)


async def broker_and_gateway_killed(stage: ClusterStage, report: Report) -> None:
    async with stage.late_retries() as late, stage.load(report, least=stage.scale.overlapping, **late):
        async with trio.open_nursery() as nursery:
            for process in (stage.engines.kafka, stage.cluster["gateway-1"]):
                nursery.start_soon(stage.do, process.kill)
        await stage.do(stage.engines.kafka.start)
    pause_at_most(report, BROKER_BACK)


async def configuration_emptied(stage: ClusterStage, report: Report) -> None:
    scale = stage.scale
    async with stage.load(report, least=scale.overlapping, absences=scale.clients // 3) as run:
        await stage.do(stage.engines.redis.empty)
        await stage.do(stage.cluster.wait_until_settled)
        await run.until(accepted=run.accepted_count + scale.messages // 5)
        await stage.do(stage.cluster.configure)
    pause_at_most(report, ENGINE_AWAY_PAUSE)


async def gateway_partitioned(stage: ClusterStage, report: Report) -> None:
    async with stage.kafka_relayed(stage.cluster["gateway-1"]) as relay:
        async with stage.load(report, least=stage.scale.overlapping) as run:
            await partition(stage, relay, run, report)
        assert report.result is not None
        report.measured.append(f"longest pause {report.result.longest_pause_ms / 1000:,.1f} s")


async def archive_partitioned(stage: ClusterStage, report: Report) -> None:
    async with stage.cassandra_relayed(stage.cluster["archive-1"]) as relay:
        async with stage.load(report, least=stage.scale.overlapping) as run:
            await partition(stage, relay, run, report)
        pause_at_most(report, ENGINE_AWAY_PAUSE)


async def files_partitioned(stage: ClusterStage, report: Report) -> None:
    async with stage.files_relayed() as relay:
        async with stage.load(report, files=FILES) as run:
            await partition(stage, relay, run, report)
            for bff in stage.cluster.bffs:
                await stage.do(bff.kill)
                await run.until(accepted=run.accepted_count + stage.scale.messages // 10)
                await stage.do(bff.start)
        pause_at_most(report, ENGINE_AWAY_PAUSE)
        assert report.result is not None
        report.at_least("files read at the end", report.result.files_read, 1)


async def gateways_flapping(stage: ClusterStage, report: Report) -> None:
    scale = stage.scale
    before = await stage.do(stage.gateway_answers)
    async with stage.load(report, least=scale.overlapping, absences=scale.clients // 3) as run:
        began = trio.current_time()
        for flap in range(scale.flaps):
            gateway = stage.cluster[f"gateway-{1 + flap % 2}"]
            await stage.do(gateway.kill)
            await trio.sleep(FLAP_SECONDS / 2)
            await stage.do(gateway.start)
            await trio.sleep(FLAP_SECONDS / 2)
    live_within(report, run, began, RECOVERED)
    await measure_gateway_answers(stage, report, before)


async def engines_restarted(stage: ClusterStage, report: Report) -> None:
    async with stage.load(report, least=stage.scale.overlapping) as run:
        for engine in stage.engines:
            await stage.do(engine.stop)
            await stage.do(engine.start)
            await run.until(accepted=run.accepted_count + stage.scale.messages // 5)
    pause_at_most(report, BROKER_BACK)


SCENARIOS = (
    Scenario("up-killed", "SIGKILL of `rookery up`, started again", "live within 10 s at p99", "up", up_killed),
    Scenario("gateway-killed", "SIGKILL of a gateway", "live elsewhere within 10 s at p99", "cluster", gateway_killed),
    Scenario("terminated", "SIGTERM of each role", "exit code 0, no send fails", "cluster", roles_terminated),
    Scenario("broker-killed", "SIGKILL of the broker, started again", "recovered in 30 s", "cluster", broker_killed),
    Scenario("moved", "a third gateway joins and leaves", "sending goes on", "cluster", partitions_moved),
    Scenario("store-stopped", "Cassandra stopped", "sends accepted, queries 503 at once", "cluster", store_stopped),
    Scenario("redis-stopped", "Redis stopped", "everything goes on", "cluster", configuration_stopped),
    Scenario(
        "frozen", "SIGSTOP of a gateway", "no message is lost or forked when it continues", "cluster", gateway_frozen
    ),
    Scenario("clock", "a gateway's clock stepped by 5 s both ways", "ids increase", "cluster", clock_stepped),
    Scenario("slow", "one client never reads", "p99 of the others within 20 %", "cluster", slow_client),
    Scenario("churn", "sessions come and go", "their resources are released", "cluster", come_and_go),
    Scenario("rolling", "everything restarted, one by one", "no send fails", "cluster", everything_restarted),
    Scenario(
        "all-killed",
        "SIGKILL of all processes at once, started again later",
        "live within 12 s at p99 once they are ready",
        "cluster",
        everything_killed,
    ),
    Scenario(
        "gateway-archive-killed",
        "SIGKILL of a gateway and an archive at once",
        "live elsewhere within 10 s at p99",
        "cluster",
        gateway_and_archive_killed,
    ),
    Scenario(
        "broker-gateway-killed",
        "SIGKILL of the broker and a gateway at once, the broker started again",
        "recovered in 30 s",
        "cluster",
        broker_and_gateway_killed,
    ),
    Scenario("redis-emptied", "FLUSHALL of Redis", "everything goes on", "cluster", configuration_emptied),
    Scenario(
        "gateway-partitioned",
        "the network between a gateway and Kafka is slow, then carries nothing, then drops",
        "no message is lost or overtaken",
        "cluster",
        gateway_partitioned,
    ),
    Scenario(
        "archive-partitioned",
        "the same between an archive and Cassandra",
        "sends accepted, history whole afterwards",
        "cluster",
        archive_partitioned,
    ),
    Scenario(
        "files-partitioned",
        "the same between the BFFs and an object store, then SIGKILL of each BFF",
        "sends accepted, files whole afterwards",
        "cluster",
        files_partitioned,
    ),
    Scenario(
        "flapping",
        "two gateways in turn, killed and started every 5 s",
        "live again within 12 s at p99",
        "cluster",
        gateways_flapping,
    ),
    Scenario("rolling-engines", "each engine restarted in order", "recovered in 30 s", "cluster", engines_restarted),
)


# ---- shared checks


def live_within(report: Report, run: Run, since: float, seconds: float = LIVE_ELSEWHERE) -> None:
    outages = summarize(run.outages_since(since))
    report.at_least("sessions lost", outages.count, 1)
    report.within("live again, p99", outages.p99 / 1000, seconds)


def pause_at_most(report: Report, seconds: float) -> None:
    assert report.result is not None
    report.within("longest pause", report.result.longest_pause_ms / 1000, seconds)


async def measure_gateway_answers(stage: ClusterStage, report: Report, before: Counter[str]) -> None:
    """Report how many clients that asked for their gateway got a 503, after its BFF had waited for an owner."""
    answers = await stage.do(stage.gateway_answers) - before
    report.measured.append(f"503 to {answers['503']:,} of {answers.total():,} requests of /v1/me/gateway")


def refused_nothing(report: Report) -> None:
    assert report.result is not None
    report.at_most("sends refused", sum(report.result.refused.values()), 0)
    report.at_most("sends unanswered", report.result.unanswered, 0)


async def partition(stage: Stage, relay: Relay, run: Run, report: Report) -> None:
    """Make the network slow, then let it carry nothing for longer than any timeout, then reset its connections. Check
    that it has connections each time: a process that bypasses the relay would notice nothing."""
    await stage.do(relay.delay, LATENCY)
    await run.until(accepted=run.accepted_count + stage.scale.messages // 10)
    for interrupt in (relay.hold, relay.drop):
        await stage.do(interrupt)
        await trio.sleep(stage.scale.away)
        report.at_least("connections interrupted", await stage.do(relay.delay, 0.0), 1)
        await run.until(accepted=run.accepted_count + stage.scale.messages // 10)


async def query_until(run: Run, deadline: float) -> tuple[Counter[str], float]:
    """Send one query after the other; return the number of each outcome, and the seconds of the slowest."""
    answers, slowest = Counter[str](), 0.0
    while trio.current_time() < deadline:
        client = run.clients[answers.total() % len(run.clients)]
        began = trio.current_time()
        try:
            await client.api.chats(limit=1)
            answers["answered"] += 1
        except Refused as refused:
            answers[refused.code] += 1
        except RookeryError:
            answers["unreachable"] += 1
        slowest = max(slowest, trio.current_time() - began)
        await trio.sleep(0.1)
    return answers, slowest


@asynccontextmanager
async def frozen(process: Process) -> AsyncIterator[None]:
    process.freeze()
    try:
        yield
    finally:
        process.thaw()


async def usage_within(process: Process, limits: dict[str, float]) -> dict[str, float]:
    """Return the usage once it is within the limits, or after RELEASED: sockets close with a delay."""
    with trio.move_on_after(RELEASED):
        while any(value > limits[quantity] for quantity, value in usage(process).items()):
            await trio.sleep(0.1)
    return usage(process)


def usage(process: Process) -> dict[str, float]:
    return {"sockets": process.open_files, "threads": process.threads, "MiB": process.resident_bytes / 2**20}
