"""HTML of mail made safe to show: a strict list of tags, attributes and styles, and nothing that phones home.

Called on every read, so that a stricter list covers old mail. Promises: no script, form, frame, SVG or MathML; no
remote load unless asked for; `cid:` only to the message's own parts; sanitising twice changes nothing; bounded time.
"""

from __future__ import annotations

import functools
import html as escaping
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import nh3

from email_sync.parsing import markup
from email_sync.parsing.nesting import too_tangled

_TAGS = {
    "a", "abbr", "address", "b", "bdi", "bdo", "big", "blockquote", "br", "caption", "center", "cite", "code", "col",
    "colgroup", "dd", "del", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "font", "h1", "h2", "h3", "h4",
    "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp", "small", "span",
    "strike", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var",
    "wbr",
}  # fmt: skip
_DROPPED_WITH_CONTENT = {
    "applet", "audio", "embed", "frame", "frameset", "head", "iframe", "math", "noembed", "noframes", "noscript",
    "object", "script", "select", "style", "svg", "template", "textarea", "title", "video", "xmp",
}  # fmt: skip
_LAYOUT = {"align", "bgcolor", "height", "valign", "width"}
_ATTRIBUTES = {
    "*": {"dir", "lang", "style", "title"},
    "a": {"href"},
    "blockquote": {"type"},
    "font": {"color", "face", "size"},
    "img": {"align", "alt", "border", "height", "src", "width"},
    "li": {"value"},
    "ol": {"start", "type"},
    "table": {*_LAYOUT, "border", "cellpadding", "cellspacing", "summary"},
    "td": {*_LAYOUT, "colspan", "nowrap", "rowspan"},
    "th": {*_LAYOUT, "colspan", "nowrap", "rowspan", "scope"},
    **dict.fromkeys(("col", "colgroup", "tbody", "tfoot", "thead", "tr"), _LAYOUT),
    **{tag: {"align"} for tag in ("div", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "p")},
}
_SIDES = ("top", "right", "bottom", "left")
_STYLES = {
    "background-color", "border", "border-collapse", "border-color", "border-radius", "border-spacing", "border-style",
    "border-width", "color", "direction", "display", "font", "font-family", "font-size", "font-style", "font-variant",
    "font-weight", "height", "letter-spacing", "line-height", "list-style-type", "margin", "max-width", "min-width",
    "padding", "table-layout", "text-align", "text-decoration", "text-indent", "text-transform", "unicode-bidi",
    "vertical-align", "white-space", "width", "word-break", "word-spacing", "word-wrap",
    *(f"{name}-{side}" for name in ("border", "margin", "padding") for side in _SIDES),
}  # fmt: skip
"""Nothing that positions, layers or loads: no background, position, z-index, transform, content, cursor, filter."""
_SAFE_STYLE_VALUE = re.compile(r"[\w\s#%.,'\"()!+*/-]*")
_CALL = re.compile(r"([\w-]*)\s*\(")
_SAFE_CALLS = {"rgb", "rgba", "hsl", "hsla", "calc"}
_INLINE_IMAGE = re.compile(r"data:image/(?:png|jpeg|jpg|gif|webp);base64,[A-Za-z0-9+/=\s]*", re.IGNORECASE)
_LINK = re.compile(r"(?:https?|mailto|tel):", re.IGNORECASE)
_REMOTE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CleanHtml:
    """HTML that may be shown, and how many remote images were left out of it."""

    html: str
    blocked_remote: int


def sanitise(html: str, *, cid_urls: Mapping[str, str] | None = None, allow_remote: bool = False) -> CleanHtml:
    """`html` with only what is harmless. `cid_urls` maps the message's own content ids to where their bytes are;
    `allow_remote` keeps images over https. Markup too tangled to be read in bounded time is shown as its text."""
    if not html:
        return CleanHtml("", 0)
    if too_tangled(html):
        return CleanHtml(f"<pre>{escaping.escape(markup.to_text(html), quote=False)}</pre>", 0)
    rules = _Rules(cid_urls or {}, allow_remote=allow_remote)
    clean = _clean(html, rules)
    if rules.dropped_link:  # dropping a link's target reorders its other attributes; once more settles them
        clean = _clean(clean, rules)
    return CleanHtml(clean, rules.blocked)


def _clean(html: str, rules: _Rules) -> str:
    return nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags=_DROPPED_WITH_CONTENT,
        attributes=_ATTRIBUTES,
        attribute_filter=rules.attribute,
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
        filter_style_properties=_STYLES,
    )


class _Rules:
    """Decides attribute by attribute; counts the images it left out."""

    def __init__(self, cid_urls: Mapping[str, str], *, allow_remote: bool) -> None:
        self._cid_urls = cid_urls
        self._own = set(cid_urls.values())
        self._allow_remote = allow_remote
        self.blocked = 0
        self.dropped_link = False

    def attribute(self, tag: str, name: str, value: str) -> str | None:
        """The value to keep, None to drop the attribute."""
        if name == "style":
            return _safe_style(value)
        if name == "href":
            return self._link(value)
        if name == "src":
            return self._image(value.strip())
        return value

    def _link(self, target: str) -> str | None:
        if _LINK.match(target.strip()):
            return target
        self.dropped_link = True
        return None

    def _image(self, source: str) -> str | None:
        if source in self._own or _INLINE_IMAGE.fullmatch(source):
            return source
        if source[:4].lower() == "cid:":
            return self._cid_urls.get(unquote(source[4:]).strip("<>"))
        if not _REMOTE.match(source):
            return None
        if self._allow_remote and source[:8].lower() == "https://":
            return source
        self.blocked += 1
        return None


@functools.lru_cache(maxsize=2048)
def _safe_style(style: str) -> str | None:
    """The declarations whose values load nothing and hide nothing: no url(), no escapes, no unknown function."""
    kept = []
    for declaration in style.split(";"):
        name, colon, value = declaration.partition(":")
        calls = {call.lower() for call in _CALL.findall(value)}
        if colon and name.strip().lower() in _STYLES and _SAFE_STYLE_VALUE.fullmatch(value) and calls <= _SAFE_CALLS:
            kept.append(f"{name.strip().lower()}:{value.strip()}")
    return ";".join(kept) or None
