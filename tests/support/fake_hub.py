"""A hub on this machine: the parts of Hugging Face's HTTP API that a download uses, for the files of one folder."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.types import Receive, Scope, Send

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Serves `folder` as `repository`. `requested` lists (method, file) of what was asked for; a download of a file in
    `cut` ends after so many bytes, once; `gated` repositories answer 403 as the hub does."""

    def __init__(self, folder: Path, repository: str = "org/tiny") -> None:
        self.folder = folder
        self.repository = repository
        self.requested: list[tuple[str, str]] = []
        self.ranges: list[str] = []
        self.tokens: set[str | None] = set()
        self.cut: dict[str, int] = {}
        self.gated = False

    def application(self) -> FastAPI:
        app = FastAPI()

        @app.get("/api/models/{owner}/{name}/revision/{revision:path}")
        async def info(owner: str, name: str, revision: str, request: Request) -> Any:
            self._check(owner, name, revision, request)
            files = [{"rfilename": path.name} for path in sorted(self.folder.iterdir())]
            return {"id": self.repository, "sha": COMMIT, "siblings": files, "private": False, "tags": []}

        @app.get("/api/models/{owner}/{name}")
        async def plain(owner: str, name: str, request: Request) -> Any:
            return await info(owner, name, "main", request)

        @app.get("/api/models/{owner}/{name}/tree/{revision}")
        async def tree(owner: str, name: str, revision: str, request: Request) -> Any:
            self._check(owner, name, revision, request)
            return [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": _oid(path)}
                for path in sorted(self.folder.iterdir())
            ]

        @app.api_route("/{owner}/{name}/resolve/{revision}/{file}", methods=["GET", "HEAD"])
        async def resolve(owner: str, name: str, revision: str, file: str, request: Request) -> Response:
            self._check(owner, name, revision, request)
            path = self.folder / file
            if not path.is_file():
                raise HTTPException(404, headers={"X-Error-Code": "EntryNotFound"})
            self.requested.append((request.method, file))
            return self._file(path, request)

        return app

    def _check(self, owner: str, name: str, revision: str, request: Request) -> None:
        self.tokens.add(request.headers.get("authorization"))
        if f"{owner}/{name}" != self.repository:
            raise HTTPException(401, headers={"X-Error-Code": "RepoNotFound"})
        if self.gated:
            raise HTTPException(403, headers={"X-Error-Code": "GatedRepo"})
        if revision not in ("main", "v1", COMMIT):
            raise HTTPException(404, headers={"X-Error-Code": "RevisionNotFound"})

    def _file(self, path: Path, request: Request) -> Response:
        content = path.read_bytes()
        headers = {"ETag": f'"{_oid(path)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if request.method == "HEAD":
            return Response(headers={**headers, "Content-Length": str(len(content))})
        status = 200
        if given := request.headers.get("range"):
            self.ranges.append(given)
            first = int(given.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            content, status = content[first:], 206
        if path.name in self.cut:
            short = content[: self.cut.pop(path.name)]
            return _Cut(short, status, {**headers, "Content-Length": str(len(content))})
        return Response(content, status, headers)


class _Cut(Response):
    """Sends a part of what it announced, then breaks the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await asyncio.sleep(0.2)  # so that it arrives before the connection breaks
        raise ConnectionAbortedError("cut, as the test wants it")


def _oid(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
