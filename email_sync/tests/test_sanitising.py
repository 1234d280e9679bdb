"""Sanitising: vectors that try to run, to load or to submit, checked by a parser that shares no code with it."""

from __future__ import annotations

import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from email_sync.sanitising import CleanHtml, sanitise

CID_URLS = {"logo@x": "/attachments/1", "a b": "/attachments/2"}
DANGEROUS_TAGS = {
    "script", "style", "iframe", "object", "embed", "form", "input", "button", "textarea", "select", "svg", "math",
    "base", "link", "meta", "video", "audio", "source", "template", "applet", "frame", "frameset", "noscript", "title",
    "body",
}  # fmt: skip
URL_ATTRIBUTES = {"href", "src", "srcset", "background", "action", "formaction", "poster", "data", "xlink:href", "ping"}

VECTORS = [
    line.encode().decode("unicode_escape")
    for line in (Path(__file__).parent / "data" / "html_vectors.txt").read_text().splitlines()
]
"""One a line, in Python's escapes: after the public cheat sheets of XSS, mutation XSS, CSS and tracking tricks."""


class Inspector(HTMLParser):
    """Collects what a browser might act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in DANGEROUS_TAGS:
            self.found.append(tag)
        for name, value in attrs:
            self._attribute(tag, name, value or "")

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name.startswith("on") or name in ("id", "name", "class", "srcdoc"):
            self.found.append(f"{tag} {name}")
        elif name == "style":
            lowered = value.lower()
            if any(word in lowered for word in ("url", "expression", "import", "image", "\\", "position", "var(")):
                self.found.append(f"{tag} style {value}")
        elif name in URL_ATTRIBUTES and not self._harmless(tag, name, value):
            self.found.append(f"{tag} {name} {value}")

    def _harmless(self, tag: str, name: str, value: str) -> bool:
        if (tag, name) == ("a", "href"):
            return value.startswith(("https://", "http://", "mailto:", "tel:"))
        own = value in CID_URLS.values() or value.startswith("data:image/png;base64,")
        return (tag, name) == ("img", "src") and own


@pytest.mark.parametrize("vector", VECTORS)
def test_sanitise_vector_leaves_nothing_to_act_on(vector: str) -> None:
    for source in (vector, f"<div>{vector}</div>", f"<table><tr><td>{vector}", f"<p>before {vector} after</p>"):
        clean = sanitise(source, cid_urls=CID_URLS)
        assert Inspector(clean.html).found == []
        assert sanitise(clean.html, cid_urls=CID_URLS) == CleanHtml(clean.html, 0)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.sampled_from([*VECTORS, "<", ">", "'", '"', "<b>", "</b>", "&lt;", "-->", "<td>", "</p>", "\n"]), max_size=8
    )
)
def test_sanitise_vectors_mixed_leave_nothing_to_act_on(pieces: list[str]) -> None:
    clean = sanitise("".join(pieces), cid_urls=CID_URLS)
    assert Inspector(clean.html).found == []
    assert sanitise(clean.html, cid_urls=CID_URLS).html == clean.html


def test_sanitise_ordinary_mail_keeps_its_looks() -> None:
    source = (
        '<div style="color: #333; font-family: Arial, sans-serif"><h1>Hi</h1><p>One <b>two</b> <i>three</i></p>'
        '<ul><li>x</li></ul><table width="600" cellpadding="0"><tbody><tr><td align="left" colspan="2">cell</td></tr>'
        "</tbody></table><blockquote>old</blockquote></div>"
    )
    html = sanitise(source).html
    for kept in (
        "color:#333",
        "Arial",
        "<h1>Hi</h1>",
        "<b>two</b>",
        "<li>x</li>",
        'width="600"',
        'colspan="2"',
        "<blockquote>",
    ):
        assert kept in html


def test_sanitise_remote_images_are_blocked_and_counted() -> None:
    source = '<img src="https://x.example/a.png"><img src="http://x.example/b.png"><img src="//x.example/c.png">'
    clean = sanitise(source)
    assert clean.blocked_remote == 3
    assert "x.example" not in clean.html


def test_sanitise_remote_images_asked_for_come_over_https_only() -> None:
    clean = sanitise('<img src="https://x.example/a.png"><img src="http://x.example/b.png">', allow_remote=True)
    assert clean.html.count("https://x.example/a.png") == 1
    assert "b.png" not in clean.html
    assert clean.blocked_remote == 1


def test_sanitise_cid_points_to_own_parts_only() -> None:
    clean = sanitise('<img src="cid:logo@x"><img src="cid:other@x">', cid_urls=CID_URLS)
    assert clean.html == '<img src="/attachments/1"><img>'


def test_sanitise_links_open_apart() -> None:
    html = sanitise('<a href="https://example.com/?a=1&amp;b=2">x</a>').html
    assert 'target="_blank"' in html
    assert 'rel="noopener noreferrer"' in html
    assert "https://example.com/?a=1&amp;b=2" in html


def test_sanitise_nothing_is_nothing() -> None:
    assert sanitise("") == CleanHtml("", 0)


TANGLED = {
    "nested": "<div>" * 400_000,
    "closed only in comments": "<div><!--</div>-->" * 100_000,
    "closed only in attributes": '<div><a title="</div>">' * 80_000,
    "closed only in a raw element": "<div><style></div></style>" * 80_000,
    "closed behind a table": "<div><table><td></div></table>" * 60_000,
    "script in a comment in a script": "<div><script><!--<script></script></div></script>" * 40_000,
    "formatting opened anew": "".join(f"<font color={n}>" for n in range(3_000)) + "<p>x</p>" * 3_000,
    "formatting in cells": "".join(f"<font color={n}><table><td></font></table>" for n in range(3000)) + "<p>x" * 3000,
    "attributes": "<a " + " ".join(f"a{n}=1" for n in range(100_000)) + ">",
}  # fmt: skip


@pytest.mark.parametrize("source", TANGLED.values(), ids=TANGLED.keys())
def test_sanitise_tangled_markup_is_shown_as_text_in_bounded_time(source: str) -> None:
    began = time.process_time()
    clean = sanitise(f"<p>words</p>{source}")
    assert time.process_time() - began < 4
    assert clean.html.startswith("<pre>words")
    assert Inspector(clean.html).found == []


@pytest.mark.parametrize("block", ["<p>text", "<li>text", "<tr><td>a<td>b", "<dt>a<dd>b", "<li><p>text", "<p>text</p>"])
def test_sanitise_long_list_of_unclosed_blocks_is_ordinary(block: str) -> None:
    html = sanitise(f"<table><ul><dl>{block * 20_000}").html
    assert not html.startswith("<pre>")
    assert html.count("text") + html.count("<td>") + html.count("<dd>") >= 20_000
