"""The examples of `/docs`: requests that the server accepts, and calls that the Python client has."""

import ast
import inspect
import shlex
from typing import Any

import pytest

from bff.openapi.examples import PYTHON, curl
from rookery.client import Api as PythonApi
from rookery.client.groups import Groups
from rookery.client.people import People
from tests.bff.conftest import Api

INVALID = ("invalid", "malformed", "method_not_allowed", "unauthenticated")


@pytest.fixture
async def operations(api: Api) -> list[tuple[str, str, dict[str, Any]]]:
    """The methods, paths and descriptions of all operations."""
    paths = (await api.call("GET", "/openapi.json")).body["paths"]
    return [(method.upper(), path, each) for path, methods in paths.items() for method, each in methods.items()]


async def test_each_curl_example_is_a_valid_request(
    api: Api, operations: list[tuple[str, str, dict[str, Any]]]
) -> None:
    user = await api.register("admin")
    await api.accounts.make_admin(int(user["user_id"]))
    token, ending = [(await api.sign_in("admin"))["access_token"] for _ in range(2)]
    for method, path, operation in operations:
        words = shlex.split(curl(method, path, operation))
        url = next(word for word in words if "/v1/" in word).removeprefix("$ROOKERY")
        body = words[words.index("-d") + 1].encode() if "-d" in words else b""
        valid = ending if path == "/v1/tokens/current" else token
        used = valid if "Authorization: Bearer $TOKEN" in words else ""
        assert method == (words[words.index("-X") + 1] if "-X" in words else "POST" if body else "GET")
        reply = await api.call(method, url, raw=body, token=used, headers={"Host": "localhost"})
        is_example = path == "/v1/tokens/refresh" or "-T" in words  # a token, or a file, that is none
        assert reply.status < 300 or is_example or reply.refusal[1] not in INVALID, (words, reply.text)
        assert b"nothing at this path" not in reply.text, words


async def test_each_python_example_is_a_call_of_the_client(operations: list[tuple[str, str, dict[str, Any]]]) -> None:
    assert PYTHON.keys() <= {operation["operationId"] for _, _, operation in operations}
    for example in PYTHON.values():
        for call in (node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Call)):
            assert isinstance(call.func, ast.Attribute)
            given = {str(each.arg): ast.unparse(each.value) for each in call.keywords}
            owner = {"api": PythonApi, "client.groups": Groups, "client.people": People}[ast.unparse(call.func.value)]
            signature = inspect.signature(getattr(owner, call.func.attr))
            signature.bind("self", *map(ast.literal_eval, call.args), **given)
