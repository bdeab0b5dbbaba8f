"""The wire form of a request to make a batch."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from server.wire import Metadata, Wire


class ExpiresAfter(Wire):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


class CreateBatch(Wire):
    input_file_id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    endpoint: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None
