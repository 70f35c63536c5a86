"""Ship log files to a search engine by rsyslog with `deploy/logs/rsyslog.conf`."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.engines.engine import STOP_SECONDS
from tools.engines.install import install_lock, install_package, need_program
from tools.operations.search import OpenSearch

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy/logs/rsyslog.conf"

LIBRARIES = Path("/usr/lib")


def need_rsyslog() -> None:
    """Install rsyslog, unless it is installed. Raises Missing."""
    with install_lock():
        need_program("rsyslogd", "rsyslog-elasticsearch")
        if not any(LIBRARIES.glob("**/rsyslog/omelasticsearch.so")):
            install_package("rsyslog-elasticsearch", "rsyslog can't ship to a search engine")


@contextmanager
def shipping(logs: str, to: OpenSearch, state: Path) -> Iterator[None]:
    """Ship present and new lines of the files that match the pattern, during the block. `state`: an empty folder."""
    state.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "ELASTICSEARCH_HOST": to.host,
        "ELASTICSEARCH_PORT": str(to.port),
        "ROOKERY_LOGS": logs,
        "RSYSLOG_STATE": str(state),
    }
    with (state / "log").open("ab") as log:
        process = subprocess.Popen(
            ["rsyslogd", "-n", "-iNONE", "-f", CONFIGURATION], env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
