"""What Slack makes of a message's text and blocks: limits, and who is notified by it. Used by `slack` alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

MAX_TEXT = 40_000
MAX_BLOCKS = 50
MAX_SECTION = 3_000
MAX_HEADER = 150
MAX_BLOCKS_TEXT = 13_000
"""Not documented; reported by those who met it (reference workspace 6.2)."""
MENTION = re.compile(r"<(!(?:channel|here|everyone)(?:\|[^>]*)?|![a-z]+\^[^>]*|@[UW][A-Z0-9]+(?:\|[^>]*)?)>")


class Unfit(Exception):
    """Blocks Slack does not take: its error's name and a detail."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(error)
        self.error, self.detail = error, detail


def shortened(text: str) -> str:
    """Longer texts are cut without an error."""
    return text[:MAX_TEXT]


def check_blocks(given: Any) -> list[Any]:
    """The blocks of a message, also where they come as JSON in a string; Unfit where Slack would refuse them."""
    if given in (None, ""):
        return []
    try:
        blocks = json.loads(given) if isinstance(given, str) else given
    except ValueError as error:
        raise Unfit("invalid_blocks_format", "blocks is not JSON") from error
    if not isinstance(blocks, list) or not all(isinstance(block, dict) and block.get("type") for block in blocks):
        raise Unfit("invalid_blocks_format", "blocks must be a list of objects with a type")
    if len(blocks) > MAX_BLOCKS:
        raise Unfit("invalid_blocks", f"no more than {MAX_BLOCKS} items allowed [json-pointer:/blocks]")
    for number, block in enumerate(blocks):
        limit = {"section": MAX_SECTION, "header": MAX_HEADER}.get(block["type"])
        text = block.get("text", {}).get("text", "") if isinstance(block.get("text"), dict) else ""
        if limit and len(text) > limit:
            raise Unfit(
                "invalid_blocks", f"must be less than {limit + 1} characters [json-pointer:/blocks/{number}/text]"
            )
    if sum(map(len, readable(blocks))) > MAX_BLOCKS_TEXT:
        raise Unfit("msg_blocks_too_long", "the message's blocks are too long")
    return blocks


def readable(value: Any) -> Iterator[str]:
    """Every text in blocks, also of plain_text objects, in which Slack resolves no mention."""
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"] if value.get("type") != "plain_text" else value["text"].replace("<", "&lt;")
        for part in value.values():
            yield from readable(part)
    elif isinstance(value, list):
        for part in value:
            yield from readable(part)


def pinged(texts: list[str]) -> list[str]:
    """Mentions as written in mrkdwn: `!channel`, `!here`, `!everyone`, `!subteam^S1`, `@U1`."""
    return [found[1] for text in texts for found in MENTION.finditer(text)]
