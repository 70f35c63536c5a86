"""Probes of all three roles. `test_log_secrecy.py` tests their logs."""

from urllib.parse import urljoin

import pytest

from tools.launch.people import open_http
from tools.launch.process import Rookery

ROLES = ("page", "gateway_health", "archive_health")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("probe", ["livez", "readyz", "startupz"])
async def test_every_role_answers_every_probe_with_named_checks(rookery: Rookery, role: str, probe: str) -> None:
    async with open_http(urljoin(rookery.addresses[role], "/")) as http:
        answer = await http.get(f"/{probe}")
        assert answer.status_code == 200
        assert answer.json()["status"] == "ok"
        checks = answer.json()["checks"]
        assert checks
        assert all(check["ok"] and check["name"] and check["explanation"] for check in checks)
        assert (await http.head(f"/{probe}")).status_code == 200
        assert (await http.get("/v1/nothing")).status_code == 404
