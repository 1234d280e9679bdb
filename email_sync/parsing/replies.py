"""The part of a mail its sender wrote: the body without the history quoted below or above it.

Called when a message is shown. Line by line, linear in the text; a guess by nature, so the whole body stays available.
"""

from __future__ import annotations

import re

MAX_ATTRIBUTION = 3
"""Lines over which "On …, Anna wrote:" may be wrapped."""
_MAX_LINE = 500

_STARTS = (
    "on", "am", "le", "el", "il", "op", "em", "den", "dne", "dnia", r"w dniu", r"w dn\.", "på", "pe", r"a\(z\)",
    r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}", r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,",
)  # fmt: skip
_WROTE = (
    "wrote", "writes", "schrieb", "a écrit", "escribió", "ha scritto", "scrisse", "schreef", "escreveu", "skrev",
    r"napsal(?:\(a\))?", r"napisał(?:\(a\))?", "kirjoitti", "írta", "a scris",
)  # fmt: skip
_ORIGINAL = (
    "original message", "ursprüngliche nachricht", "originalnachricht", "message d'origine", "message original",
    "mensaje original", "messaggio originale", "oorspronkelijk bericht", "ursprungligt meddelande",
    "original meddelelse", "mensagem original", "wiadomość oryginalna",
)  # fmt: skip
_FROM_WORDS = ("from", "von", "de", "da", "van", "fra", "från", "od")
_OTHER_WORDS = (
    "sent", "date", "to", "subject", "cc", "gesendet", "datum", "an", "betreff", "envoyé", "à", "objet",
    "enviado(?: el)?", "fecha", "para", "asunto", "inviato", "data", "a", "oggetto", "verzonden", "aan", "onderwerp",
    "skickat", "till", "ämne", "sendt", "til", "emne", "enviada", "assunto", "wysłano", "do", "temat",
)  # fmt: skip


def _any(words: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(words)})"


_ATTRIBUTION_START = re.compile(rf"{_any(_STARTS)}\s.*", re.IGNORECASE | re.DOTALL)
_ATTRIBUTION_END = re.compile(rf".*\b{_any(_WROTE)}(?:\s[^:]{{0,200}})?\s?:", re.IGNORECASE | re.DOTALL)
_SEPARATOR = re.compile(rf"\s*-{{2,}}\s*{_any(_ORIGINAL)}\s*-{{2,}}\s*", re.IGNORECASE)
_RULE = re.compile(r"\s*_{20,}\s*")
_FROM = re.compile(rf"\s*\*?{_any(_FROM_WORDS)}\s?:\*?\s?\S", re.IGNORECASE)
_OTHER_HEADER = re.compile(rf"\s*\*?{_any(_OTHER_WORDS)}\s?:", re.IGNORECASE)
_HEADER_LINES = 5


def reply_text(text: str) -> str:
    """`text` without quoted history: Gmail's and Outlook's forms, in the usual languages. Answers written between
    quoted lines are kept, the quotes go. Where nothing of one's own would be left, `text` as it is."""
    lines = text.replace("\r\n", "\n").split("\n")
    own: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index][:_MAX_LINE]
        if line.startswith(">"):
            index += 1
        elif _starts_history(lines, index):
            break
        elif skip := _attribution(lines, index):
            index += skip
            if not _quoted_follows(lines, index):
                break
        else:
            own.append(lines[index])
            index += 1
    reply = re.sub(r"\n{3,}", "\n\n", "\n".join(own)).strip()
    return reply or text.strip()


def _starts_history(lines: list[str], index: int) -> bool:
    """Outlook's forms: a separator, or a block of header lines, after which nothing is the sender's own."""
    line = lines[index][:_MAX_LINE]
    if _SEPARATOR.fullmatch(line):
        return True
    if _RULE.fullmatch(line):
        following = next((other for other in lines[index + 1 : index + 3] if other.strip()), "")
        return bool(_FROM.match(following[:_MAX_LINE]))
    if not _FROM.match(line):
        return False
    block = lines[index + 1 : index + 1 + _HEADER_LINES]
    return sum(bool(_OTHER_HEADER.match(other[:_MAX_LINE])) for other in block) >= 2


def _attribution(lines: list[str], index: int) -> int:
    """How many lines from here are "On …, Anna wrote:", 0 for none."""
    if not _ATTRIBUTION_START.match(lines[index][:_MAX_LINE].strip()):
        return 0
    for count in range(1, MAX_ATTRIBUTION + 1):
        if not lines[index : index + count][-1].rstrip().endswith(":"):
            continue
        joined = " ".join(line[:_MAX_LINE].strip() for line in lines[index : index + count])
        if _ATTRIBUTION_END.fullmatch(joined):
            return count
    return 0


def _quoted_follows(lines: list[str], index: int) -> bool:
    following = next((line for line in lines[index : index + 3] if line.strip()), "")
    return following.startswith(">")
