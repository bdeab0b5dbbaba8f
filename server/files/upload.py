"""A file and its fields, out of a multipart body. The body goes to the disk as it comes; nothing is kept in memory."""

import ntpath
from collections.abc import Callable

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from server.errors import ApiError, BodyTooLarge, ClientGone, InvalidRequest
from server.store.files import Incoming

FIELDS = ("file", "purpose", "expires_after[anchor]", "expires_after[seconds]")
MAX_VALUE = 1024  # bytes of a field that is no file
MAX_NAME = 255  # characters of a file's name
AROUND = 64 * 1024  # bytes of a body that are not of its file


class Form:
    """What came: `values` of the fields, and the name of the file, whose contents went to `incoming`."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.filename: str | None = None


async def read_form(request: Request, incoming: Incoming, limit: int, take: Callable[[int], None]) -> Form:
    """Reads the body; its file may have up to `limit` bytes. `take` is told of bytes of the file before they are
    written, and may raise. Raises InvalidRequest, BodyTooLarge, ClientGone, Unavailable."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit + AROUND:
        raise BodyTooLarge(limit)
    size = 0
    try:
        parts = _Parts(_boundary(request))
        async for chunk in request.stream():
            size += len(chunk)
            for data in parts.feed(chunk):
                take(len(data))
                if incoming.size + len(data) > limit:
                    raise BodyTooLarge(limit)
                await incoming.write(data)
            if size - incoming.size > AROUND:
                raise InvalidRequest(f"The body has more than {AROUND} bytes besides the file.")
    except ClientDisconnect:
        raise ClientGone from None
    except FormParserError as error:
        raise unread(_broken(str(error))) from None
    except ApiError as error:
        raise unread(error) from None
    return parts.end()


def unread(error: ApiError) -> ApiError:
    """The body was not read to its end, so that the connection cannot be used again."""
    error.headers.setdefault("Connection", "close")
    return error


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise InvalidRequest("Send the file as multipart/form-data, with its boundary in the content type.")
    return boundary


class _Parts:
    """The parts of a body, one after the other."""

    def __init__(self, boundary: bytes) -> None:
        self._form = Form()
        self._name = self._header = b""
        self._headers: dict[bytes, bytes] = {}
        self._value = b""
        self._field = ""
        self._data: list[bytes] = []
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_name,
                "on_header_value": self._on_header,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_part_end": self._end_part,
                "on_end": self._end_all,
            },
        )

    def feed(self, chunk: bytes) -> list[bytes]:
        """Pieces of the file that are in `chunk`."""
        self._data = []
        self._parser.write(chunk)
        return self._data

    def end(self) -> Form:
        if not self._complete:
            raise _broken("it ends too early")
        if self._form.filename is None:
            raise InvalidRequest("The parameter 'file' is missing.", param="file", code="missing_required_parameter")
        return self._form

    def _begin(self) -> None:
        self._headers = {}
        self._value = b""

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.lower()] = self._header
        self._name = self._header = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if self._field not in FIELDS:
            name = self._field[:80]
            raise InvalidRequest(f"There is no parameter {name!r}.", param=name, code="unknown_parameter")
        if self._field in self._form.values or (self._field == "file" and self._form.filename is not None):
            raise InvalidRequest(f"{self._field} is given twice.", param=self._field)
        if self._field == "file":
            name = ntpath.basename(options.get(b"filename", b"").decode("utf-8", "replace"))
            self._form.filename = name[:MAX_NAME] or "file"

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "file":
            self._data.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MAX_VALUE:
            raise InvalidRequest(f"{self._field} has more than {MAX_VALUE} bytes.", param=self._field)

    def _end_part(self) -> None:
        if self._field != "file":
            self._form.values[self._field] = self._value.decode("utf-8", "replace")

    def _end_all(self) -> None:
        self._complete = True


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(f"The multipart body cannot be read: {why[:200]}.", code="invalid_multipart")
