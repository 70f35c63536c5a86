"""A real rsyslog ships logs to a real OpenSearch, where each line is found by its fields.

The configurations of Fluentd and Fluent Bit, which are not installed here, are compared with rsyslog's.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

from tests.needed import needed
from tests.system.sessions import TRANSPORTS, connector, open_session
from tools.engines.engine import running
from tools.launch.people import open_http, read_history, sign_up
from tools.launch.process import Rookery, wait_until
from tools.launch.process import running as running_process
from tools.operations.rsyslog import need_rsyslog, shipping
from tools.operations.search import OpenSearch

DEPLOY = Path(__file__).resolve().parents[2] / "deploy/logs"

DOCUMENTATION = DEPLOY.parents[1] / "docs/logs.md"

TEMPLATE: dict[str, Any] = json.loads((DEPLOY / "index-template.json").read_text())

SAVED = [json.loads(line) for line in (DEPLOY / "saved-objects.ndjson").read_text().splitlines()]

INDEX = "rookery-logs-*"

SHIP_SECONDS = 180.0
"""Only ends a test that has failed: rsyslog may wait half a minute before a retry."""

LONG = "x" * 100_000

ODD: list[dict[str, Any]] = [
    {"level": "info", "logger": "odd", "event": "wrong kinds", "milliseconds": "many", "status": 200, "new": 1},
    {"level": "info", "logger": "odd", "event": "other kinds", "milliseconds": 1, "status": "OK", "new": "text"},
    {"level": "info", "logger": "odd", "event": "new fields first", "newer": "text", "flag": True, "inside": {"a": 1}},
    {"level": "info", "logger": "odd", "event": "new fields of other kinds", "newer": 1, "flag": "so", "inside": 2},
    {"level": "info", "logger": "odd", "event": "long", "exception": LONG, "long": "y" * 40_000, "many": [1, 2]},
]
"""Lines whose fields have other types than the same fields of other lines."""

NO_LINE = "Traceback (most recent call last): this is not JSON"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSearch]:
    """A node with our index template."""
    needed(OpenSearch.install)
    with running(OpenSearch(tmp_path_factory.mktemp("engines") / "opensearch")) as ready:
        ready.ask("PUT", "_index_template/rookery-logs", TEMPLATE)
        yield ready


@pytest.fixture(scope="module")
def rookery(tmp_path_factory: pytest.TempPathFactory) -> Rookery:
    """A stopped Rookery with many kinds of log lines."""
    settings = {"ROOKERY_LOG_LEVEL": "debug", "ROOKERY_TRACES__ENDPOINT": "http://127.0.0.1:9"}
    rookery = Rookery(tmp_path_factory.mktemp("shipped") / "data", settings=settings, trace_ratio=1, max_text_bytes=-1)
    with running_process(rookery):
        trio.run(use, rookery)
    return rookery


@pytest.fixture(scope="module")
def shipped(node: OpenSearch, rookery: Rookery, tmp_path_factory: pytest.TempPathFactory) -> OpenSearch:
    """The node, after all lines are shipped."""
    needed(need_rsyslog)
    odd = rookery.log.with_name("odd.log")
    odd_lines = [json.dumps({"time": "2001-02-03T04:05:06.789012Z"} | line) for line in ODD]
    odd.write_text("".join(f"{line}\n" for line in [*odd_lines, NO_LINE]))
    expected = len(rookery.log_lines()) + len(ODD) + 1
    with shipping(str(odd.with_name("*.log")), node, tmp_path_factory.mktemp("rsyslog")):
        wait_until(lambda: count(node) >= expected, SHIP_SECONDS)
    assert count(node) == expected
    return node


async def use(rookery: Rookery) -> None:
    """Sign up, chat over both transports, read history, be refused: each logs lines."""
    ada, grace = await sign_up(rookery.url, "ada"), await sign_up(rookery.url, "grace")
    for transport in TRANSPORTS:
        async with open_session(connector(rookery, transport), ada) as session:
            await session.send_text(grace.user_id, "hello")
    await read_history(rookery.url, ada, ada.chat_with(grace))
    async with open_http(rookery.url) as http:
        assert (await http.get("/v1/chats/none/messages", headers=ada.headers)).is_client_error


def count(node: OpenSearch) -> int:
    """Number of documents. An index in creation has none, and can't be searched."""
    node.ask("POST", f"{INDEX}/_refresh")
    indices: Any = node.ask("GET", f"_cat/indices/{INDEX}?format=json")
    return sum(int(index["docs.count"] or 0) for index in indices)


def properties(node: OpenSearch) -> dict[str, Any]:
    """Mappings of the fields of the indices."""
    fields: dict[str, Any] = {}
    for mapping in node.ask("GET", f"{INDEX}/_mapping").values():
        fields |= mapping["mappings"]["properties"]
    return fields


# ---- shipped lines


@pytest.mark.slow
def test_every_line_is_complete_in_the_index_of_its_day(shipped: OpenSearch, rookery: Rookery) -> None:
    lines = rookery.log_lines()
    for day in {line["time"][:10] for line in lines}:
        found = shipped.search(f"rookery-logs-{day.replace('-', '.')}", {"exists": {"field": "role"}}, sort=["time"])
        assert sorted(found, key=repr) == sorted((line for line in lines if line["time"][:10] == day), key=repr)
    assert len(lines) < 1_000


@pytest.mark.slow
def test_lines_with_fields_of_other_types_are_indexed_too(shipped: OpenSearch) -> None:
    found = shipped.search("rookery-logs-2001.02.03", {"term": {"logger": "odd"}})
    assert sorted(line["event"] for line in found) == sorted(line["event"] for line in ODD)
    assert next(line for line in found if line["event"] == "long")["exception"] == LONG
    (newer,) = shipped.search(INDEX, {"term": {"newer": 1}})
    assert newer["event"] == "new fields of other kinds"


@pytest.mark.slow
def test_a_line_that_is_not_json_is_an_event_of_the_console(shipped: OpenSearch) -> None:
    (line,) = shipped.search(INDEX, {"term": {"logger": "console"}})
    assert line.pop("time")[:2] == "20"
    assert line == {"level": "info", "logger": "console", "event": NO_LINE}


@pytest.mark.slow
def test_a_trace_id_finds_all_lines_of_a_request(shipped: OpenSearch, rookery: Rookery) -> None:
    history = "/v1/chats/<chat_id>/messages"
    (request, *_) = [line for line in rookery.log_lines() if line.get("route") == history and line["status"] == 200]
    found = shipped.search(INDEX, {"term": {"trace_id": request["trace_id"]}})
    assert {(line["role"], line["event"]) for line in found} >= {("archive", "rpc_call_ended"), ("bff", "request")}
    logged = [line for line in rookery.log_lines() if line.get("trace_id") == request["trace_id"]]
    assert sorted(found, key=repr) == sorted(logged, key=repr)


@pytest.mark.slow
def test_fields_have_the_documented_types(shipped: OpenSearch, rookery: Rookery) -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| ([a-z_]+) \| (.+) \|$", DOCUMENTATION.read_text())
    kinds = {name: kind for name, kind, _ in rows}
    assert kinds == {name: field["type"] for name, field in TEMPLATE["template"]["mappings"]["properties"].items()}
    assert {name: properties(shipped)[name]["type"] for name in kinds} == kinds
    for name, _, meaning in rows:
        has_it = [name in line for line in rookery.log_lines()]
        assert all(has_it) == meaning.startswith("on every line"), name
    slow = shipped.search(INDEX, {"range": {"milliseconds": {"gt": 0}}}, sort=[{"milliseconds": "desc"}])
    assert slow == sorted(slow, key=lambda line: -line["milliseconds"]) != []


# ---- saved objects


def saved(kind: str) -> list[dict[str, Any]]:
    return [each for each in SAVED if each["type"] == kind]


def query_of(attributes: dict[str, Any]) -> dict[str, Any]:
    """Query of a saved search."""
    query = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])["query"]
    assert query["language"] == "lucene"
    return {"query_string": {"query": query["query"], "analyze_wildcard": True}}


def test_saved_objects_refer_to_each_other() -> None:
    ids = {(each["type"], each["id"]) for each in SAVED}
    assert len(ids) == len(SAVED)
    for each in SAVED:
        assert {(reference["type"], reference["id"]) for reference in each["references"]} <= ids
        names = {reference["name"] for reference in each["references"]}
        text = json.dumps(each["attributes"])
        assert all(name in text for name in names), each["id"]
    (dashboard,) = saved("dashboard")
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    assert [panel["panelRefName"] for panel in panels] == [each["name"] for each in dashboard["references"]]


@pytest.mark.slow
def test_the_data_view_has_the_lines_by_their_time(shipped: OpenSearch) -> None:
    (view,) = saved("index-pattern")
    title, time = view["attributes"]["title"], view["attributes"]["timeFieldName"]
    assert [title] == TEMPLATE["index_patterns"]
    last_year = shipped.search(title, {"range": {time: {"gt": "now-1y"}}})
    assert len(last_year) == count(shipped) - len(ODD)
    assert "date" in properties(shipped)[time]["type"]


@pytest.mark.slow
@pytest.mark.parametrize("search", saved("search"), ids=lambda each: each["id"])
def test_a_saved_search_finds_lines_and_shows_their_fields(shipped: OpenSearch, search: dict[str, Any]) -> None:
    attributes = search["attributes"]
    sort = [{field: order} for field, order in attributes["sort"]]
    found = shipped.search(INDEX, query_of(attributes), sort=sort)
    assert found != []
    fields = properties(shipped)
    for column in attributes["columns"]:
        assert column in fields
        assert any(column in line for line in found), column
    times = [datetime.fromisoformat(line["time"]) for line in found]
    assert times == sorted(times, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("visualization", saved("visualization"), ids=lambda each: each["id"])
def test_a_chart_has_something_to_show(shipped: OpenSearch, visualization: dict[str, Any]) -> None:
    attributes = visualization["attributes"]
    count_lines, by_time, by_group = json.loads(attributes["visState"])["aggs"]
    assert (count_lines["type"], by_time["type"], by_group["type"]) == ("count", "date_histogram", "terms")
    groups = {"terms": {"field": by_group["params"]["field"], "size": by_group["params"]["size"]}}
    over_time = {"field": by_time["params"]["field"], "fixed_interval": "1h", "min_doc_count": 1}
    body = {
        "size": 0,
        "query": query_of(attributes),
        "aggs": {"time": {"date_histogram": over_time, "aggs": {"group": groups}}},
    }
    answer = shipped.ask("POST", f"{INDEX}/_search", body)
    buckets = [group for bucket in answer["aggregations"]["time"]["buckets"] for group in bucket["group"]["buckets"]]
    assert len(buckets) > 0
    assert sum(bucket["doc_count"] for bucket in buckets) > 0


# ---- other shippers


def test_fluent_bit_makes_the_same_document_of_a_line_as_rsyslog() -> None:
    text = (DEPLOY / "fluent-bit.yaml").read_text()
    configuration = yaml.safe_load(text)
    (output,) = configuration["pipeline"]["outputs"]
    assert output["name"] == "es"
    assert goes_to_the_template(output["logstash_prefix"], output["logstash_dateformat"])
    assert (output["time_key"], output["suppress_type_name"], output["generate_id"]) == ("time", True, True)
    (parser,) = configuration["parsers"]
    assert (parser["format"], parser["time_key"]) == ("json", "time")
    assert reads_time(parser["time_format"].replace("%L", "%f"))
    filters = configuration["pipeline"]["filters"]
    assert {each["parser"] for each in filters if each["name"] == "parser"} == {parser["name"]}
    assert variables(text, r"\$\{(\w+)\}") == {
        "ELASTICSEARCH_HOST", "ELASTICSEARCH_PORT", "ROOKERY_LOGS", "FLUENT_BIT_STATE",
    }  # fmt: skip


def test_fluentd_makes_the_same_document_of_a_line_as_rsyslog() -> None:
    text = (DEPLOY / "fluentd.conf").read_text()
    sections = fluentd_sections(text)
    (output,) = [section for name, section in sections if name == "match **" and section["@type"] == "elasticsearch"]
    assert goes_to_the_template(output["logstash_prefix"], output["logstash_dateformat"])
    assert (output["time_key"], output["suppress_type_name"], output["request_timeout"]) == ("time", "true", "30s")
    parsers = [section for name, section in sections if name == "parse" and section["@type"] == "json"]
    assert len(parsers) == 2
    for parser in parsers:
        assert (parser["time_key"], parser["keep_time_key"]) == ("time", "true")
        assert reads_time(parser["time_format"].replace("%N", "%f"))
    assert [section["port"] for name, section in sections if section.get("@type") == "forward"] == ["24224"]
    assert variables(text, r"ENV\['(\w+)'\]") == {
        "ELASTICSEARCH_HOST", "ELASTICSEARCH_PORT", "ROOKERY_LOGS", "FLUENTD_STATE",
    }  # fmt: skip


def test_the_service_of_systemd_writes_the_files_that_are_shipped() -> None:
    operations = (DOCUMENTATION.parent / "operations.md").read_text()
    (path,) = re.findall(r"^    StandardError=append:(\S+)$", operations, re.MULTILINE)
    for configuration in ("fluent-bit.yaml", "fluentd.conf", "rsyslog.conf"):
        (followed,) = set(re.findall(r"/var/log/rookery/\S*\.log", (DEPLOY / configuration).read_text()))
        assert fnmatch(path, followed)
        assert not fnmatch(f"{path}.1", followed)  # no line of a rotated file is shipped again
    # systemd opens the file before it creates a LogsDirectory.
    assert re.search(rf"^    install -d .* {Path(path).parent}$", operations, re.MULTILINE)
    assert "\n    LogsDirectory=" not in operations
    (rotation,) = re.findall(rf"^    {path} {{\n((?:        \S.*\n)+)    }}$", operations, re.MULTILINE)
    assert "copytruncate" in rotation.split()  # the process has the file open
    assert 'reopenOnTruncate="on"' in (DEPLOY / "rsyslog.conf").read_text()


def test_a_line_that_is_too_long_costs_no_other_line() -> None:
    """Without these options Fluent Bit follows its file no longer, and Fluentd reads it whole."""
    fluent_bit = yaml.safe_load((DEPLOY / "fluent-bit.yaml").read_text())
    (tail,) = [each for each in fluent_bit["pipeline"]["inputs"] if each["name"] == "tail"]
    assert (tail["buffer_max_size"], tail.get("skip_long_lines")) == ("1M", True)
    sections = fluentd_sections((DEPLOY / "fluentd.conf").read_text())
    (source,) = [section for name, section in sections if name == "source" and section["@type"] == "tail"]
    assert source.get("max_line_size") == "1m"


def test_fluentd_reads_the_lines_in_files_of_kubernetes_and_leaves_others_to_its_next_parsers() -> None:
    parsers = [section for name, section in fluentd_sections((DEPLOY / "fluentd.conf").read_text()) if name == "parse"]
    assert [parser["@type"] for parser in parsers] == ["none", "regexp", "json", "json"]
    expression = re.compile(parsers[1]["expression"].strip("/").replace("(?<", "(?P<"))
    line = json.dumps({"time": "2001-02-03T04:05:06.789012Z", "level": "info", "event": "a b"})
    for time in ("2001-02-03T04:05:06.789012345Z", "2001-02-03T05:05:06.7+01:00"):
        for tag in "FP":
            found = expression.match(f"{time} stderr {tag} {line}")
            assert found is not None
            assert found.groupdict() == {"time": time, "stream": "stderr", "log": line}
    docker = json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2001-02-03T04:05:06.789012345Z"})
    assert [expression.match(other) for other in (line, docker, NO_LINE)] == [None, None, None]
    assert (parsers[1]["keep_time_key"], parsers[1]["time_format"]) == ("true", parsers[2]["time_format"])


def test_old_indices_are_found_by_their_names() -> None:
    policy = json.loads((DEPLOY / "retention-opensearch.json").read_text())["policy"]
    assert policy["ism_template"][0]["index_patterns"] == TEMPLATE["index_patterns"]
    states = {state["name"] for state in policy["states"]}
    assert {policy["default_state"], *(t["state_name"] for s in policy["states"] for t in s["transitions"])} == states
    phases = json.loads((DEPLOY / "retention-elasticsearch.json").read_text())["policy"]["phases"]
    assert phases["delete"]["actions"] == {"delete": {}}


def goes_to_the_template(prefix: str, date: str) -> bool:
    """Whether an index of a day matches the template, and has the same name as with rsyslog."""
    name = f"{prefix}-{datetime(2001, 2, 3).strftime(date)}"
    (pattern,) = TEMPLATE["index_patterns"]
    return name == "rookery-logs-2001.02.03" and name.startswith(pattern.rstrip("*"))


def reads_time(time_format: str) -> bool:
    """Whether a format parses a line's time with microseconds."""
    read = datetime.strptime("2001-02-03T04:05:06.789012Z", time_format)
    return read.isoformat() == "2001-02-03T04:05:06.789012+00:00"


def variables(text: str, pattern: str) -> set[str]:
    """Environment variables; the comment at the top must explain each."""
    used = set(re.findall(pattern, re.sub(r"(?m)^\s*#.*", "", text)))
    explained = "".join(line for line in text.splitlines() if line.startswith("#"))
    assert all(name in explained for name in used)
    return used


def fluentd_sections(text: str) -> list[tuple[str, dict[str, str]]]:
    """Sections with their own settings, outer ones first; tags must be balanced."""
    sections: list[tuple[str, dict[str, str]]] = []
    open_ones: list[tuple[str, dict[str, str]]] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if line.startswith("#"):
            continue
        if line.startswith("</"):
            assert open_ones.pop()[0].split()[0] == line[2:-1]
        elif line.startswith("<"):
            open_ones.append((line[1:-1], {}))
            sections.append(open_ones[-1])
        else:
            name, _, value = line.partition(" ")
            open_ones[-1][1][name] = value
    assert open_ones == []
    return sections
