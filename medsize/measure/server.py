"""
The server of the page: on this computer only, for those who know its address.

The address holds a secret token. Requests of other hosts' pages are refused by their ``Host`` and ``Origin``, so that
no page in the same browser can read or write anything (DNS rebinding, cross-site requests). Only the page's own files
and slices of the cohort's scans are served, by number: no request names a path.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medsize.files import atomic_write
from medsize.measure.geometry import Geometry
from medsize.measure.session import ChangedScanError, MeasureSession
from medsize.model_errors import found_and_expected
from medsize.scans.fact_cache import cache_dir

__all__ = ["MeasureServer"]

PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "style.css": ("style.css", "text/css; charset=utf-8"),
    **{
        f"{name}.js": (f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("app", "calls", "drawing", "tools", "view")
    },
}
"""Files of the page, and their types, by what stands behind the token in their address."""
POLICY = "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
LARGEST_REQUEST = 2 * 2**20
LOCALHOST = "127.0.0.1"


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _SignIn(_Request):
    reader: str = Field(max_length=200)
    round: int = Field(default=1, ge=1, le=9)


class _Estimate(_Request):
    scan: int
    geometry: Geometry


class _Save(_Request):
    reader: str = Field(max_length=200)
    round: int = Field(default=1, ge=1, le=9)
    name: str
    structure: str
    geometry: Geometry
    seconds: float = Field(ge=0, le=1e6, allow_inf_nan=False)
    id: str = Field(pattern=r"^[0-9a-zA-Z-]{8,64}$")
    state: str = ""


class _RefusedError(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class MeasureServer(ThreadingHTTPServer):
    """
    Server of a session, at a random port of this computer.

    A server that is started again for the same output folder has the same address, if it is free: a page that is still
    open goes on, and saves what it could not.

    Args:
        session: the session.
        port: port. Default: the last one for this output, else a free one.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, session: MeasureSession, port: int | None = None) -> None:
        self.session = session
        known_port, self.token = _last_address(session)
        for candidate in (port,) if port is not None else (known_port, 0):
            try:
                super().__init__((LOCALHOST, candidate), _Handler)
                break
            except OSError as e:
                if candidate == 0 or port is not None:
                    raise ValueError(
                        f"port {candidate} cannot be used: {e.strerror}. Leave --port out, or give another one."
                    ) from e
        _remember(session, self.server_port, self.token)

    def server_bind(self) -> None:
        """Bind without looking the computer's name up in the network, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = LOCALHOST, self.server_address[1]

    @property
    def address(self) -> str:
        """The page's address, with its token."""
        return f"http://{LOCALHOST}:{self.server_port}/{self.token}/"


def _last_address(session: MeasureSession) -> tuple[int, str]:
    """Return port and token of the last server for the same output folder, else 0 and a new token."""
    file = _address_file(session)
    try:
        port, token = file.read_text().split()
        return int(port), token
    except (OSError, ValueError):
        return 0, secrets.token_urlsafe(24)


def _remember(session: MeasureSession, port: int, token: str) -> None:
    file = _address_file(session)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(file) as partial:
            partial.touch(mode=0o600)
            partial.write_text(f"{port} {token}")
    except OSError:  # then a new server has another address
        return


def _address_file(session: MeasureSession) -> Any:
    import hashlib

    name = hashlib.sha256(str(session.output_dir.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    return cache_dir() / "measure" / name


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 600
    server: MeasureServer

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the address holds the token."""

    def version_string(self) -> str:
        return "medsize"

    def _answer(self, answer: Callable[[str, Mapping[str, str]], tuple[bytes, str, Mapping[str, str]]]) -> None:
        try:
            path, query = self._allowed()
            content, kind, headers = answer(path, query)
            status = HTTPStatus.OK
        except _RefusedError as e:
            content, kind, headers, status = _json({"error": str(e)}), "application/json", {}, e.status
            self.close_connection = True
        except ValidationError as e:
            text = found_and_expected(e.errors()[0])
            content, kind, headers, status = _json({"error": text}), "application/json", {}, HTTPStatus.BAD_REQUEST
        except ChangedScanError as e:
            content, kind, headers, status = _json({"error": str(e)}), "application/json", {}, HTTPStatus.CONFLICT
        except ValueError as e:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            content, kind, headers = _json({"error": str(e)}), "application/json", {}
        except (OSError, MemoryError) as e:  # the page keeps the reading, and sends it again
            status = HTTPStatus.INSUFFICIENT_STORAGE
            content, kind, headers = _json({"error": str(e) or "not enough memory"}), "application/json", {}
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the page was closed
            self.close_connection = True

    def _allowed(self) -> tuple[str, Mapping[str, str]]:
        """Return the path behind the token, and the query; refuse requests of others."""
        own = {f"{LOCALHOST}:{self.server.server_port}", f"localhost:{self.server.server_port}"}
        if self.headers.get("Host") not in own:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "another host")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in {f"http://{host}" for host in own}:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "another origin")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "another site")
        address = urlsplit(self.path)
        token, slash, path = address.path.removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise _RefusedError(HTTPStatus.FORBIDDEN, "the token is missing: open the address that medsize printed")
        return path, {name: values[0] for name, values in parse_qs(address.query).items()}

    def _get(self, path: str, query: Mapping[str, str]) -> tuple[bytes, str, Mapping[str, str]]:
        session = self.server.session
        if path in PAGE:
            name, kind = PAGE[path]
            return files("medsize.measure").joinpath("page", name).read_bytes(), kind, {}
        if path == "start":
            start = {
                "cohort": session.cohort.folder.name,
                "output": str(session.output_dir),
                "structures": list(session.structures),
                "scans": len(session.scans),
                "problems": list(session.cohort.problems),
            }
            return _json(start), "application/json", {}
        if path == "scan":
            return _json(session.describe(_number(query, "scan"))), "application/json", {}
        if path == "slice":
            shown = session.shown(_number(query, "scan")).plane(_number(query, "axis"), _number(query, "at"))
            shape = ",".join(map(str, shown.shape))
            little = shown.astype(shown.dtype.newbyteorder("<"), copy=False)
            headers = {"X-Shape": shape, "X-Type": shown.dtype.name}
            return little.tobytes(), "application/octet-stream", headers
        raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")

    def _post(self, path: str, query: Mapping[str, str]) -> tuple[bytes, str, Mapping[str, str]]:
        session = self.server.session
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_REQUEST:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {LARGEST_REQUEST} bytes")
        body = self.rfile.read(int(length))
        if path == "reader":
            wanted = _SignIn.model_validate_json(body)
            return _json(session.sign_in(wanted.reader, wanted.round)), "application/json", {}
        if path == "estimate":
            drawn = _Estimate.model_validate_json(body)
            size = session.estimate(drawn.scan, drawn.geometry)
            shown = {key: getattr(size, key) for key in ("kind", "value", "low", "high", "detail")}
            return _json(shown), "application/json", {}
        if path == "save":
            saved = _Save.model_validate_json(body)
            values = {
                name: getattr(saved, name) for name in ("name", "structure", "geometry", "seconds", "id", "state")
            }
            return _json(session.save(saved.reader, saved.round, **values)), "application/json", {}
        if path == "undo":
            undone = _SignIn.model_validate_json(body)
            return _json(session.take_back(undone.reader, undone.round)), "application/json", {}
        raise _RefusedError(HTTPStatus.NOT_FOUND, "there is no such page")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _number(query: Mapping[str, str], name: str) -> int:
    try:
        return int(query[name])
    except (KeyError, ValueError) as e:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, f"expected a number as '{name}'") from e
