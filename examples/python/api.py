"""The HTTP requests of the chat client: tokens, users, history, files, and the gateway."""

import asyncio
import secrets
from typing import Any

import httpx


class ApiError(Exception):
    """The server refused with this HTTP status and code, or did not respond, which counts as 503."""

    def __init__(self, message: str, status: int = 503, code: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.is_retryable = status in (408, 429) or (status >= 500 and code != "internal")
        self.retry_after = retry_after  # seconds


class Api:
    """All methods raise ApiError."""

    def __init__(self, http: httpx.AsyncClient, name: str, password: str) -> None:
        self._http = http
        self._credentials = {"name": name, "password": password, "device_name": "Python example"}
        self._tokens: dict[str, Any] = {"access_token": ""}
        # A refresh token works once. Its reuse ends the sign-in, as it may have been stolen: so one refresh at a time.
        self._refreshing = asyncio.Lock()

    async def access_token(self, stale: str = "") -> str:
        """Return the newest token; if that is the `stale` one, refresh it first."""
        async with self._refreshing:
            if self._tokens["access_token"] == stale:
                self._tokens = await self._refresh()
            return self._tokens["access_token"]

    async def my_id(self) -> int:
        return int((await self._get("/v1/me"))["user_id"])

    async def gateway(self) -> str:
        """The address of the user's gateway for gRPC. It changes: request it before each connection."""
        return (await self._get("/v1/me/gateway"))["grpc"]

    async def user_id(self, name: str) -> int:
        page = await self._get("/v1/profiles", name_contains=name, limit=100)
        for user in page["profiles"]:
            if user["name"] == name:
                return int(user["user_id"])
        raise ApiError(f"there is no user {name}", status=404)

    async def members(self, chat_id: str) -> dict[int, str]:
        """The names of at most 100 members of a group that is no channel, by user id."""
        if (await self._get(f"/v1/chats/{chat_id}"))["settings"].get("is_channel"):
            raise ApiError("channels need `follow`, which this example leaves out", status=400)
        page = await self._get(f"/v1/chats/{chat_id}/members", limit=100)
        user_ids = ",".join(member["user_id"] for member in page["members"])
        profiles = await self._get("/v1/profiles", user_ids=user_ids)
        return {int(user["user_id"]): user["name"] for user in profiles["profiles"]}

    async def history(self, chat_id: str) -> dict[str, Any]:
        """The newest messages of a chat, oldest first, with their changes. 64-bit numbers are strings in JSON."""
        return await self._get(f"/v1/chats/{chat_id}/messages", limit=100)

    async def changes(self, chat_id: str, after: int) -> dict[str, Any]:
        """All events of a chat after this id."""
        return await self._get(f"/v1/chats/{chat_id}/changes", after=after)

    async def upload(self, name: str, content: bytes) -> int:
        """Upload a file in parts, and return its id, which a message then names."""
        file = {"client_file_id": secrets.token_hex(16), "name": name, "size": len(content)}
        reserved = await self._persist("POST", "/v1/files", json=file)
        below, size = f"/v1/files/{reserved['file_id']}", reserved["part_bytes"]
        for number, start in enumerate(range(0, len(content), size), 1):
            await self._persist("PUT", f"{below}/parts/{number}", content=content[start : start + size])
        await self._persist("POST", f"{below}/complete")
        return int(reserved["file_id"])

    async def _persist(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """Make a request until it has an answer: one that has a single effect, however often it is made."""
        while True:
            try:
                return await self._call(method, path, **content)
            except ApiError as error:
                if not error.is_retryable:
                    raise
                await asyncio.sleep(max(error.retry_after, 1.0))

    async def _refresh(self) -> dict[str, Any]:
        if refresh_token := self._tokens.get("refresh_token"):
            try:
                return await self._ask("POST", "/v1/tokens/refresh", json={"refresh_token": refresh_token})
            except ApiError as error:
                if error.is_retryable:
                    raise
            # It has expired, or was used already and the response was lost: use the password.
        tokens = await self._ask("POST", "/v1/tokens", json=self._credentials)
        # Wrong passwords that others try do not delay a known device. Also keep it on disk if the client may restart.
        self._credentials["device_token"] = tokens["device_token"]
        return tokens

    async def _get(self, path: str, **query: Any) -> dict[str, Any]:
        return await self._call("GET", path, params=query)

    async def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        token = await self.access_token()
        try:
            return await self._ask(method, path, token, **content)
        except ApiError as error:
            if error.status != 401:
                raise
        return await self._ask(method, path, await self.access_token(stale=token), **content)

    async def _ask(self, method: str, path: str, token: str = "", **content: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            response = await self._http.request(method, path, headers=headers, **content)
            if response.is_error:
                raise problem(response)
            return response.json() if response.content else {}
        except (httpx.TransportError, ValueError) as error:  # ValueError: not JSON, so not of Rookery
            raise ApiError(f"no answer over HTTP: {error}") from error


def problem(response: httpx.Response) -> ApiError:
    """Read an answer of the type application/problem+json. That of a proxy has another type, and no code."""
    is_problem = "application/problem+json" in response.headers.get("Content-Type", "")
    answer = response.json() if is_problem else {}
    message, status = answer.get("detail", f"HTTP status {response.status_code}"), response.status_code
    return ApiError(message, status, answer.get("code", ""), answer.get("retry_after_ms", 0) / 1000)
