"""Folders: what LIST tells, which role a folder has, and what its id is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from imapclient.imap_utf7 import decode as decode_utf7
from imapclient.imap_utf7 import encode as encode_utf7

from core.errors import RemoteMissing
from email_sync.providers.imap import wire
from email_sync.records import ARCHIVE, DRAFTS, INBOX, SENT, SPAM, TRASH, RemoteFolder, Stream

FOLDER_ID_LIMIT = 470
"""Longer names get a hashed id, so that a remote id stays within 500 characters."""
_HASHED = "#sha256:"

_SPECIAL_USE = {
    "\\inbox": INBOX, "\\sent": SENT, "\\archive": ARCHIVE, "\\drafts": DRAFTS, "\\trash": TRASH, "\\junk": SPAM,
}  # fmt: skip
_VIRTUAL = {"\\all", "\\flagged", "\\important"}
"""RFC 6154, 8457: views of messages that are in other folders too; to sync them would double everything."""
_UNUSABLE = {"\\noselect", "\\nonexistent"}
_ORDER = {INBOX: 0, SENT: 1, ARCHIVE: 2, TRASH: 4, SPAM: 5}

# Names that servers and mail programs give, for servers without SPECIAL-USE: English, German, French, Spanish, Italian,
# Portuguese, Dutch, Danish, Swedish, Norwegian, Finnish, Polish, Czech, Hungarian, Turkish, Russian, Japanese, Chinese,
# Korean. Compared without case.
_NAMES: dict[str, str] = {
    SENT: "sent|sent items|sent messages|sent mail|gesendet|gesendete objekte|gesendete elemente|envoyés"
    "|éléments envoyés|messages envoyés|enviados|elementos enviados|mensajes enviados|itens enviados|inviata|inviati"
    "|posta inviata|verzonden|verzonden items|sendt|sendt post|skickat|skickade|sendte elementer|lähetetyt|wysłane"
    "|elementy wysłane|odeslané|odeslaná pošta|elküldött|elküldött elemek|gönderilmiş öğeler|gönderilenler"
    "|отправленные|送信済み|送信済みアイテム|已发送|已发送邮件|寄件備份|보낸편지함",
    DRAFTS: "drafts|draft|entwürfe|brouillons|borradores|bozze|rascunhos|concepten|kladder|utkast|luonnokset|szkice"
    "|wersje robocze|koncepty|rozepsané|piszkozatok|taslaklar|черновики|下書き|草稿|草稿箱|임시보관함",
    ARCHIVE: "archive|archives|archiv|archivo|archivio|arquivo|archief|arkiv|arkisto|archiwum|archívum|arşiv|архив"
    "|アーカイブ|归档|存档|封存|보관함",
    TRASH: "trash|deleted items|deleted messages|deleted|bin|papierkorb|gelöscht|gelöschte objekte|gelöschte elemente"
    "|corbeille|éléments supprimés|papelera|elementos eliminados|cestino|posta eliminata|lixo|lixeira|itens excluídos"
    "|prullenbak|verwijderde items|papirkurv|slettet post|papperskorgen|slettede elementer|roskakori|kosz"
    "|elementy usunięte|koš|odstraněná pošta|lomtár|törölt elemek|çöp kutusu|silinmiş öğeler|корзина|удаленные"
    "|ゴミ箱|已删除|已删除邮件|垃圾桶|휴지통",
    SPAM: "junk|spam|junk e-mail|junk email|junk mail|bulk mail|bulk|spamverdacht|unerwünscht|courrier indésirable"
    "|indésirables|correo no deseado|posta indesiderata|lixo eletrônico|ongewenste e-mail|uønsket e-mail|skräppost"
    "|søppelpost|roskaposti|wiadomości-śmieci|nevyžádaná pošta|levélszemét|gereksiz e-posta|спам|нежелательная почта"
    "|迷惑メール|垃圾邮件|垃圾郵件|스팸편지함",
}
_ROLE_BY_NAME = {name: role for role, names in _NAMES.items() for name in names.split("|")}


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of LIST."""

    wire_name: bytes
    delimiter: str
    attributes: frozenset[str]
    """Lower case."""
    folder: RemoteFolder

    @property
    def usable(self) -> bool:
        """False for mere parents of other folders."""
        return self.attributes.isdisjoint(_UNUSABLE)

    @property
    def virtual(self) -> bool:
        """True for a view of messages that are in other folders too."""
        return not self.attributes.isdisjoint(_VIRTUAL)


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Prefixes of folder names, as the server writes them."""

    personal: bytes = b""
    """What the user's own new folders begin with: some servers keep all of them under `INBOX.`."""
    foreign: tuple[bytes, ...] = ()
    """What other users' and shared folders begin with: not this user's mail, even where they may read it."""


def namespaces(collected: Sequence[wire.Piece]) -> Namespaces:
    """The answer to NAMESPACE: personal, other users', shared; each NIL or a list of (prefix, delimiter)."""
    try:
        personal, *foreign = (_prefixes(value) for value in wire.tokens(collected))
    except (wire.Garbled, ValueError):
        return Namespaces()
    prefixes = (prefix for some in foreign[:2] for prefix in some if prefix and prefix not in personal)
    return Namespaces(personal[0] if personal else b"", tuple(prefixes))


def _prefixes(value: wire.Value) -> list[bytes]:
    pairs = [pair for pair in value if isinstance(pair, list)] if isinstance(value, list) else []
    return [pair[0] for pair in pairs if pair and isinstance(pair[0], bytes)]


def listed(collected: Iterable[wire.Piece], *, foreign: tuple[bytes, ...] = ()) -> list[Listed]:
    """LIST lines with roles, by special use where the server tells, else by name; without `foreign` prefixes."""
    found: list[Listed] = []
    for pieces in wire.responses(collected):
        try:
            entry = _entry(wire.tokens(pieces))
        except wire.Garbled:
            continue
        if entry is not None and not entry.wire_name.startswith(foreign):
            found.append(entry)
    return _named_roles(found)


def _entry(values: list[wire.Value]) -> Listed | None:
    """`(attributes) "/" name`; RFC 9051 servers may add more behind."""
    if len(values) < 3 or not isinstance(values[2], bytes) or any(byte in values[2] for byte in b"\r\n\0"):
        return None  # no such name can be said in a command
    attributes, name = wire.words(values[0]), values[2]
    delimiter = values[1].decode("ascii", "replace") if isinstance(values[1], bytes) else ""
    text = _readable(name)
    role = next((role for use, role in _SPECIAL_USE.items() if use in attributes), "")
    if text.upper() == "INBOX":  # the one name without case (RFC 3501 5.1)
        return Listed(name, delimiter, attributes, RemoteFolder("INBOX", "INBOX", INBOX))
    shown = text.replace(delimiter, "/") if delimiter else text
    return Listed(name, delimiter, attributes, RemoteFolder(_folder_id(name, text), shown[:500], role))


def _readable(name: bytes) -> str:
    """A name for people: modified UTF-7 decoded, and nothing a database or a terminal would choke on."""
    try:
        text: str = decode_utf7(name)
    except UnicodeDecodeError:
        text = name.decode("utf-8", "replace")
    if not text.isascii() and not name.isascii():  # raw UTF-8, as servers send it that do not know RFC 3501 5.1.3
        text = name.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _folder_id(name: bytes, text: str) -> str:
    """The decoded name, where that leads back to exactly this folder; else a hash of what the server calls it."""
    faithful = len(text) <= FOLDER_ID_LIMIT and not text.startswith(_HASHED) and encode_utf7(text) == name
    return text if faithful else _HASHED + hashlib.sha256(name).hexdigest()


def wire_name(folder_id: str, listing: Callable[[], Sequence[Listed]]) -> bytes:
    """The server's name of a folder. RemoteMissing where a hashed id is no longer listed."""
    if not folder_id.startswith(_HASHED):
        name: bytes = encode_utf7(folder_id)
        return name
    for entry in listing():
        if entry.folder.remote_id == folder_id:
            return entry.wire_name
    raise RemoteMissing()


def _named_roles(entries: list[Listed]) -> list[Listed]:
    """Give roles that no folder has by special use to the first top-level folder with a usual name."""
    taken = {entry.folder.role for entry in entries}
    result: list[Listed] = []
    for entry in entries:
        role = "" if entry.folder.role or entry.virtual or not entry.usable else _ROLE_BY_NAME.get(_top_name(entry), "")
        if role and role not in taken:
            taken.add(role)
            entry = replace(entry, folder=replace(entry.folder, role=role))
        result.append(entry)
    return result


def _top_name(entry: Listed) -> str:
    """The name of a top-level folder without case; "" for a deeper one. Some servers keep all folders under INBOX."""
    name = entry.folder.name
    if name.upper().startswith("INBOX/"):
        name = name[6:]
    return "" if "/" in name else name.casefold()


def synced(entries: Sequence[Listed], *, gmail: bool) -> list[RemoteFolder]:
    """The folders that together hold every message once. At Gmail every label is a folder, and all mail is in \\All."""
    if gmail and any("\\all" in entry.attributes for entry in entries):
        return [e.folder for e in entries if "\\all" in e.attributes or e.folder.role in (SPAM, TRASH)]
    return [entry.folder for entry in entries if entry.usable and not entry.virtual]


def streams(entries: Sequence[Listed], folders: Sequence[RemoteFolder], *, gmail: bool) -> list[Stream]:
    """A stream per synced folder of `folders`: inbox, sent, archive, others, trash, spam."""
    known = {folder.remote_id for folder in folders}
    wanted = [folder for folder in synced(entries, gmail=gmail) if folder.remote_id in known]
    ordered = sorted(wanted, key=lambda folder: (_ORDER.get(folder.role, 3), folder.name.casefold()))
    return [Stream(folder.remote_id, folder) for folder in ordered]


def labels(entries: Sequence[Listed]) -> dict[bytes, RemoteFolder]:
    """X-GM-LABELS → folder. System labels have names of their own (developers.google.com/workspace/gmail/imap)."""
    system = {"\\sent": b"\\Sent", "\\drafts": b"\\Draft", "\\flagged": b"\\Starred", "\\important": b"\\Important"}
    found = {entry.wire_name: entry.folder for entry in entries if entry.usable}
    for entry in entries:
        if entry.folder.role == INBOX:
            found[b"\\Inbox"] = entry.folder
        for attribute in entry.attributes & system.keys():
            found[system[attribute]] = entry.folder
    return found
