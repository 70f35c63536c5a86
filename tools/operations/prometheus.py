"""Prometheus and promtool, from Debian's package."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tools.engines.engine import Engine, Options
from tools.engines.install import install_lock, need_program
from tools.toolchains import ROOT

ALERTS = ROOT / "deploy/prometheus/alerts.yml"

SECONDS = 120.0
"""Seconds for one response; only ends a test that has failed."""

Labels = Mapping[str, str]

Jobs = Mapping[str, Sequence[str]]
"""URLs to scrape, with scheme and port, by job name."""


class Prometheus(Engine):
    """It scrapes every second, has the alerts of the deployment, and verifies no certificates."""

    name = "prometheus"
    request = b"GET /-/ready HTTP/1.0\r\n\r\n"
    reply = re.compile(rb"HTTP/1\.\d 200 ")

    def __init__(self, home: Path, jobs: Jobs, options: Options | None = None) -> None:
        super().__init__(home, options)
        self.jobs = jobs

    @classmethod
    def install(cls) -> None:
        with install_lock():
            need_program("prometheus", "prometheus")
            need_program("promtool", "prometheus")

    def command(self, ports: dict[str, int]) -> list[str]:
        file = self.home / "prometheus.yml"
        file.write_text(json.dumps(self._configuration()))  # JSON is YAML
        listen = f"{self.host}:{ports['port']}"
        return [
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={self.home / 'data'}",
            f"--web.listen-address={listen}",
            "--log.level=warn",
        ]

    def _configuration(self) -> dict[str, Any]:
        seconds = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        jobs = [
            {
                "job_name": job,
                "scheme": urls[0].partition("://")[0],
                "tls_config": {"insecure_skip_verify": True},
                "static_configs": [{"targets": [url.partition("://")[2] for url in urls]}],
            }
            for job, urls in self.jobs.items()
        ]
        return {"global": seconds, "rule_files": [str(ALERTS)], "scrape_configs": jobs}

    def query(self, expression: str) -> list[tuple[Labels, float]]:
        """Evaluate a query now: series with their values. Raises httpx.HTTPStatusError if it is invalid."""
        data = self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def value(self, expression: str) -> float:
        """The value of a query with one result."""
        ((_, value),) = self.query(expression)
        return value

    def newest(self, selector: str) -> float:
        """The sum of the newest values of series; 0 if there are none. Unlike a query, it includes targets that missed
        the last scrape."""
        return self.value(f"sum(last_over_time({selector}[1h])) or vector(0)")

    def alerts(self) -> Mapping[str, str]:
        """States of pending and firing alerts, by name."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self._get("alerts")["alerts"]}

    def rules(self) -> Sequence[Mapping[str, Any]]:
        """All rules, with their health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **query: str) -> Any:
        answer = httpx.get(f"http://{self.address}/api/v1/{path}", params=query, timeout=SECONDS)
        return answer.raise_for_status().json()["data"]


def promtool(*words: str | Path, typed: str = "", folder: Path = ALERTS.parent) -> "subprocess.CompletedProcess[str]":
    """Run promtool in the folder of the deployment; return the finished process."""
    program = shutil.which("promtool")
    assert program is not None
    return subprocess.run(
        [program, *map(str, words)],
        input=typed,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
    )
