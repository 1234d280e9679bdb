"""`python -m simulator`: starts the server, says where it is as one line of JSON, runs until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from simulator.mailbox_control import fill_mailbox
from simulator.server import Server, run
from simulator.state import DEFAULT_SEED

SEEDED = (
    ("google", "alex.rivera@northwind.example", "Alex Rivera"),
    ("google", "sam.okafor@northwind.example", "Sam Okafor"),
    ("microsoft", "kim.larsen@northwind.example", "Kim Larsen"),
)


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description="A stand-in for Google and Microsoft.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="same seed, same mail, ids and tokens")
    parser.add_argument(
        "--seed-messages", type=int, default=0, metavar="N",
        help="start with two Google accounts and a Microsoft one of N messages each",
    )  # fmt: skip
    parser.add_argument("--ready-file", type=Path, help="write the base URL here as JSON once it listens")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input is closed")
    return parser.parse_args(arguments)


def announce(base_url: str, ready_file: Path | None) -> None:
    """One line of JSON on standard output, and in a file that appears only when it is whole."""
    line = json.dumps({"base_url": base_url, "control_url": f"{base_url}/_control", "pid": os.getpid()})
    if ready_file:
        draft = ready_file.with_name(ready_file.name + ".part")
        draft.write_text(line + "\n")
        draft.replace(ready_file)
    print(line, flush=True)


def seed(server: Server, count: int) -> None:
    for vendor, email, name in SEEDED:
        account = server.world.add_account(vendor, email, name)
        fill_mailbox(server.world, account, {"messages": count, "until": "now"})


def stop_with_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Standard input is a pipe that the parent holds; its end means that the parent is gone."""

    def read() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            stop.set()

    descriptor = sys.stdin.fileno()
    loop.add_reader(descriptor, read)


async def main() -> None:
    options = read_arguments()
    server = Server(options.seed)
    if options.seed_messages:
        seed(server, options.seed_messages)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.exit_with_parent:
        stop_with_parent(loop, stop)
    await run(server, options.host, options.port, lambda url: announce(url, options.ready_file), stop)


if __name__ == "__main__":
    asyncio.run(main())
