"""Files, batches and stored chat completions against OpenAI's specification, the schema and the document."""

import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support.responses import check, schemas, specified
from support.served import Served, chat
from support.stores import running

from server.batches import fields as batches
from server.batches.schema import CreateBatch
from server.files import fields as files
from server.files.upload import FIELDS

ROOT = Path(__file__).parents[3]
NAMES = json.loads((ROOT / "tests" / "data" / "openai_batch_fields.json").read_text())


def test_each_field_of_the_specification_is_listed() -> None:
    assert set(batches.HONOURED) == set(NAMES["CreateBatchRequest"]) == set(CreateBatch.model_fields)
    assert set(files.HONOURED) == set(NAMES["CreateFileRequest"]) == {name.split("[")[0] for name in FIELDS}
    assert set(NAMES["purposes"]) <= {*files.PURPOSES, *files.REFUSED_PURPOSES}


def test_the_copied_names_are_those_of_the_specification() -> None:
    for name in ("CreateBatchRequest", "CreateFileRequest"):
        assert specified(name) == set(NAMES[name])
    assert set(schemas()["CreateFileRequest"]["properties"]["purpose"]["enum"]) == set(NAMES["purposes"])


def table(heading: str) -> dict[str, str]:
    """The rows of the table under a heading of the document."""
    section = (ROOT / "docs" / "batches.md").read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
    return {name.strip("`"): text for name, text in rows}


def test_the_document_shows_the_lists() -> None:
    assert table("Files") == files.HONOURED
    assert table("Batches") == batches.HONOURED
    assert table("Lines") == batches.LINE
    refused = {name: why for name, why in files.REFUSED_PURPOSES.items() if name != "batch_output"}
    assert table("Purposes") == refused
    document = (ROOT / "docs" / "batches.md").read_text()
    for endpoint in batches.ENDPOINTS:
        assert f"`{endpoint}`" in document


@pytest.fixture
async def storing(serve: Callable[..., Served], tmp_path: Path) -> AsyncIterator[Served]:
    async with running(serve(store=f"sqlite:///{tmp_path}/store.db")) as served:
        yield served


def told(batch: dict[str, Any]) -> dict[str, Any]:
    """Without what is null: the specification's own example has nulls that its schema does not allow."""
    return {name: value for name, value in batch.items() if value is not None}


@pytest.mark.anyio
async def test_every_answer_is_as_specified(storing: Served) -> None:
    schemas()
    async with storing.client() as client:
        lines = [{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat()}]
        text = "\n".join([*map(json.dumps, lines), "broken"])
        file = (await client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("f", text)})).json()
        check("OpenAIFile", file)
        check("OpenAIFile", (await client.get(f"/v1/files/{file['id']}")).json())
        for status, input in (("completed", file["id"]), ("failed", None)):
            if input is None:
                empty = await client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("f", "")})
                input = empty.json()["id"]
            body = {"input_file_id": input, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
            batch = (await client.post("/v1/batches", json={**body, "metadata": {"a": "b"}})).json()
            check("Batch", told(batch))
            while batch["status"] != status:
                batch = (await client.get(f"/v1/batches/{batch['id']}")).json()
                check("Batch", told(batch))
        page = (await client.get("/v1/batches")).json()
        assert len(page["data"]) == 2
        check("ListBatchesResponse", {**page, "data": [told(one) for one in page["data"]]})
        check("ListFilesResponse", (await client.get("/v1/files")).json())
        check("DeleteFileResponse", (await client.delete(f"/v1/files/{file['id']}")).json())

        made = (await client.post("/v1/chat/completions", json=chat(store=True, logprobs=True))).json()
        path = f"/v1/chat/completions/{made['id']}"
        check("CreateChatCompletionResponse", (await client.get(path)).json())
        check("CreateChatCompletionResponse", (await client.post(path, json={"metadata": {"a": "b"}})).json())
        check("ChatCompletionList", (await client.get("/v1/chat/completions")).json())
        messages = (await client.get(f"{path}/messages")).json()
        # The specification has one role here, the assistant's, and user messages in its example.
        messages["data"] = [{**one, "role": "assistant"} for one in messages["data"]]
        check("ChatCompletionMessageList", messages)
        check("ChatCompletionDeleted", (await client.delete(path)).json())
