"""Commands of `rookery` beside a running platform, and the list of its processes."""

from subprocess import CompletedProcess
from typing import Any

import trio

from tools.launch.people import PATIENCE, Person, open_http
from tools.launch.process import Process

ROLES = {"bff", "gateway", "archive"}


async def command(process: Process, *words: str, typed: str = "") -> str:
    """Run a command of `rookery` with the settings of a process; return its output."""
    done = await trio.to_thread.run_sync(lambda: process.run(*words, typed=typed))
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def check_refused(done: CompletedProcess[str], code: int, *reasons: str) -> None:
    """Check that a command ended with this exit code, and printed the reasons as its error."""
    assert (done.returncode, done.stdout) == (code, "")
    assert [reason for reason in reasons if reason not in done.stderr] == [], done.stderr
    assert "Traceback" not in done.stderr


async def list_processes(bff: Process, admin: Person, *sessions: dict[str, int]) -> dict[str, Any]:
    """Wait until every role reports, and the gateways, in the order of their names, these sessions; return the list of
    processes."""
    async with open_http(bff.url) as http:
        with trio.fail_after(PATIENCE):
            while True:
                answer: dict[str, Any] = (await http.get("/v1/admin/processes", headers=admin.headers)).json()
                listed = [each["sessions"] for each in answer["processes"] if each["role"] == "gateway"]
                if listed == [*sessions] and {each["role"] for each in answer["processes"]} == ROLES:
                    return answer
                await trio.sleep(0.05)
