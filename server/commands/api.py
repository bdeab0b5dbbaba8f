"""What chat and bench share of the client's side: where the server is, which model it serves, how errors read."""

import ipaddress
import json
from typing import Any

import httpx


class ServerTrouble(Exception):
    """The server is not there, or it answered with an error; the text is for the person at the terminal."""


def make_client(base_url: str, api_key: str | None) -> httpx.Client:
    """An HTTP client for the server. Proxies of the environment are not used for this machine's own addresses."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = httpx.Timeout(10.0, read=None)  # a long prompt may take long
    return httpx.Client(
        base_url=base_url.rstrip("/").removesuffix("/v1"),
        headers=headers,
        timeout=timeout,
        trust_env=not is_loopback_url(base_url),
    )


def first_model(client: httpx.Client) -> str:
    """The first model that the server lists. Raises ServerTrouble."""
    try:
        response = client.get("/v1/models")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise no_server(client, error) from None
    if response.status_code != 200:
        raise ServerTrouble(error_text(response.status_code, response.content))
    try:
        return str(response.json()["data"][0]["id"])
    except (ValueError, LookupError, TypeError):
        raise ServerTrouble(f"{client.base_url} does not list models as an OpenAI-compatible server does") from None


def no_server(client: httpx.Client, error: Exception) -> ServerTrouble:
    """The trouble when no connection comes about."""
    return ServerTrouble(f"no server answers at {client.base_url} ({error}); start one with `abruzzi serve`")


def error_text(status: int, body: bytes) -> str:
    """The server's own words about an error, if there are any."""
    try:
        return f"the server answered {status}: {json.loads(body)['error']['message']}"
    except (ValueError, LookupError, TypeError):
        return f"the server answered {status}"


def chunk_error(chunk: Any) -> str | None:
    """The message of an error object inside a stream."""
    if isinstance(chunk, dict) and chunk.get("error"):
        error = chunk["error"]
        return str(error.get("message", error)) if isinstance(error, dict) else str(error)
    return None


def is_loopback_url(url: str) -> bool:
    """Whether `url` points at this machine."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
