"""The server: one event loop, one port, every vendor. A request is matched to a route, faults are asked, the handler
does the work, the ledger keeps what happened, the answer goes out (whole, late, cut or not at all)."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from simulator import (
    airtable,
    carbone,
    control,
    drive,
    gmail,
    google_calendar,
    google_oauth,
    graph,
    hooks_platform,
    hubspot,
    microsoft_oauth,
    receiver,
    resend,
    sendgrid,
    slack,
)
from simulator.errors import Refusal
from simulator.faults import Fault, Faults
from simulator.graph import calendar_control
from simulator.ledger import Entry
from simulator.push import Push
from simulator.routing import Handler, Route, Router
from simulator.state import DEFAULT_SEED, World
from simulator.wire import MAX_HEAD_BYTES, MalformedRequest, Request, Response, html_response, read_request

NO_ANSWER = 0
SLOW_STEP_SECONDS = 0.1


class Server:
    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self.world = World(seed)
        self.faults = Faults(seed)
        self.router = Router()
        self.push = Push(self.world)
        self.base_url = ""
        google_oauth.register(self.router, self.world)
        microsoft_oauth.register(self.router, self.world)
        gmail.register(self.router, self.world, self.perform)
        graph.register(self.router, self.world, self.perform)
        calendar_control.register(self.router, self.world)
        drive.register(self.router, self.world)
        google_calendar.register(self.router, self.world)
        slack.register(self.router, self.world)
        hooks_platform.register(self.router, self.world)
        carbone.register(self.router, self.world)
        receiver.register(self.router, self.world)
        resend.register(self.router, self.world, self.push)
        sendgrid.register(self.router, self.world, self.push)
        airtable.register(self.router, self.world)
        hubspot.register(self.router, self.world)
        control.register(self.router, self)

    def reset(self, seed: int) -> None:
        """As if just started, with this seed."""
        self.push.reset()
        self.world.reset(seed)
        self.faults.reset(seed)

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listens; `base_url` is known afterwards."""
        server = await asyncio.start_server(self._connection, host, port, limit=MAX_HEAD_BYTES)
        address = server.sockets[0].getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.base_url = f"http://{shown}:{address[1]}"
        return server

    # One connection

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, MalformedRequest, TimeoutError):
            pass
        except asyncio.CancelledError:
            # The server stops: a connection that waits for its next request is no error.
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is to be closed."""
        request = await read_request(reader, writer)
        if request is None:
            return False
        route = self.router.find(request)
        with self._under_way(request):
            return await self._respond(request, route, writer)

    @contextmanager
    def _under_way(self, request: Request) -> Iterator[None]:
        """Remembers a request for as long as its caller waits, and counts Graph's per mailbox."""
        email = self._account_behind(request) if request.operation.startswith("graph.") else ""
        counts, waiting = self.world.mailbox_requests.under_way, self.world.under_way
        waiting.append(request)
        if email:
            counts[email] = request.in_flight = counts.get(email, 0) + 1
        try:
            yield
        finally:
            waiting[:] = [item for item in waiting if item is not request]
            if email:
                counts[email] -= 1

    async def _respond(self, request: Request, route: Route | None, writer: asyncio.StreamWriter) -> bool:
        wait, fault = self._pick(request, route)
        if wait:
            await asyncio.sleep(wait)
        if request.operation == "graph.subscriptions.create":
            await self.push.handshake(request)
        response = self._work(request, route, fault)
        self.push.flush()
        if response.delay:
            await asyncio.sleep(response.delay)
        if fault is not None and fault.kind in ("hang", "close"):
            return await self._vanish(writer, fault)
        head = request.method == "HEAD"
        if fault is not None and fault.kind in ("truncate", "slow"):
            return await self._spoil(writer, response.encode(keep_alive=False), fault)
        writer.write(response.encode(keep_alive=request.keep_alive, head=head))
        await writer.drain()
        return request.keep_alive

    async def _vanish(self, writer: asyncio.StreamWriter, fault: Fault) -> bool:
        """No answer: at once or after a while, by FIN or by RST."""
        if fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
        connection = writer.get_extra_info("socket")
        if fault.reset and connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return False

    async def _spoil(self, writer: asyncio.StreamWriter, answer: bytes, fault: Fault) -> bool:
        """`truncate`: only a part of the body it promised; `slow`: a few bytes at a time."""
        head, body = answer[: answer.index(b"\r\n\r\n") + 4], answer[answer.index(b"\r\n\r\n") + 4 :]
        writer.write(head)
        if fault.kind == "truncate":
            writer.write(body[: int(len(body) * fault.fraction)])
            await writer.drain()
            return False
        step = max(1, int(fault.bytes_per_second * SLOW_STEP_SECONDS))
        for start in range(0, len(body), step):
            writer.write(body[start : start + step])
            await writer.drain()
            await asyncio.sleep(SLOW_STEP_SECONDS)
        return False

    # One request

    def perform(self, request: Request) -> Response:
        """A request that has no connection of its own: one part of a batch."""
        route = self.router.find(request)
        _, fault = self._pick(request, route)
        return self._work(request, route, fault)

    def _pick(self, request: Request, route: Route | None) -> tuple[float, Fault | None]:
        if not self.faults.rules or route is None or route.vendor == control.VENDOR:
            return 0.0, None
        return self.faults.pick(request, self._account_behind(request))

    def _account_behind(self, request: Request) -> str:
        """Whose request it is, from its bearer token or, at a token endpoint, from what it brings to trade in."""
        authority = self.world.authority
        form = request.form if request.operation.endswith((".token", ".revoke")) else {}
        candidates = [request.bearer(), form.get("refresh_token", ""), form.get("code", ""), form.get("token", "")]
        return next((account for account in map(authority.account_of, candidates) if account), "")

    def _work(self, request: Request, route: Route | None, fault: Fault | None) -> Response:
        """Does what is asked unless the fault forbids, and writes the ledger."""
        if route is None:
            response = self._not_found(request)
            self._note(request, response, None)
            return response
        before = fault is not None and fault.kind in ("status", "garbage", "hang", "close") and not fault.effect
        response = Response() if before else self._handle(request, route.handler)
        if fault is not None and fault.kind in ("status", "garbage"):
            response = fault.answer(request)
        elif fault is not None and fault.kind == "merge":
            response = fault.merge(response)
        if route.vendor != control.VENDOR:
            self._note(request, response, fault)
        return response

    def _handle(self, request: Request, handler: Handler) -> Response:
        try:
            return handler(request)
        except Refusal as refusal:
            return refusal.response
        except Exception:  # noqa: BLE001 - the outermost boundary: a defect of ours must not look like a dead provider
            traceback.print_exc(file=sys.stderr)
            return html_response("<h1>Simulator defect</h1><p>See its standard error.</p>", 500)

    def _not_found(self, request: Request) -> Response:
        """A path no vendor here has; in the ledger as operation `unknown`, because a hub that asks for it errs."""
        request.operation = "unknown"
        return html_response(f"<title>Error 404 (Not Found)</title><p>{request.method} has no route here.</p>", 404)

    def _note(self, request: Request, response: Response, fault: Fault | None) -> None:
        silent = fault is not None and fault.kind in ("hang", "close")
        account = request.account or self._account_behind(request)
        self.world.ledger.add(
            Entry(
                seq=self.world.ledger.next_seq(),
                time=self.world.now(),
                vendor=request.vendor,
                account=account,
                operation=request.operation,
                method=request.method,
                target=request.target,
                status=NO_ANSWER if silent else response.status,
                effect=request.effect,
                fault=fault.id if fault else "",
                units=request.units,
                batch=request.batch,
            )
        )


async def run(server: Server, host: str, port: int, ready: Callable[[str], None], stop: asyncio.Event) -> None:
    """Serves until `stop` is set; `ready` gets the base URL once requests are taken."""
    listener = await server.start(host, port)
    ready(server.base_url)
    async with listener:
        await stop.wait()
