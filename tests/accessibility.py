"""What keeps somebody from using a page: text too faint to read, fields and buttons without a name, what only a mouse
reaches. Names are those the browser itself gives to assistive technology; contrast is computed as WCAG 2.2 has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selenium import webdriver

CONTRAST = 4.5
"""WCAG AA for text of any size; large text would do with 3."""
NAMED = frozenset(
    (
        "button", "checkbox", "combobox", "dialog", "Iframe", "image", "img", "link", "listbox", "menuitem",
        "progressbar", "radio", "searchbox", "slider", "spinbutton", "switch", "tab", "textbox",
    )
)  # fmt: skip
"""Roles that say nothing without a name."""
SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8") + "\nreturn barriers(arguments[0]);"


def barriers(driver: webdriver.Chrome) -> list[str]:
    """All that is found on the open page as it stands, in words; nothing on a good page."""
    shown: list[str] = driver.execute_script(SCRIPT, CONTRAST)
    return [*shown, *(f"no name: {words}" for words in _nameless(driver))]


def _nameless(driver: webdriver.Chrome) -> list[str]:
    """What assistive technology can only call by its role."""
    nodes: list[dict[str, Any]] = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found = []
    for node in nodes:
        role = node.get("role", {}).get("value", "")
        if node["ignored"] or role not in NAMED or str(node.get("name", {}).get("value", "")).strip():
            continue
        described = driver.execute_cdp_cmd("DOM.describeNode", {"backendNodeId": node["backendDOMNodeId"]})["node"]
        attributes = " ".join(described.get("attributes", ()))
        found.append(f"{role} <{described['localName']} {attributes[:160]}>")
    return found
