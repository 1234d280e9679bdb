"""Composing: what goes over the wire, as an independent parser reads it back."""

from __future__ import annotations

import email
import email.policy
from collections import Counter
from datetime import UTC, datetime
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput, TooLarge
from email_sync.composing import OutgoingAttachment, compose, reply_references, reply_subject
from email_sync.parsing.message import attachment, parse
from email_sync.records import OWN_ID_HEADER, Address

ANNA = Address("Anna", "anna@example.com")
INJECTIONS = ["\r\n", "\r", "\n", "\x00", "\x85", "\u2028", "\u2029", "\x0b", "\x1b", "\ud800"]
printable = st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=80)


def reread(mime: bytes) -> EmailMessage:
    """By the standard library, which shares no code with the writer."""
    return email.message_from_bytes(mime, policy=email.policy.default)


def refused(**fields: object) -> set[str]:
    with pytest.raises(InvalidInput) as caught:
        compose(**{"sender": ANNA, "to": ["bob@example.com"], "subject": "Hi", **fields})  # type: ignore[arg-type]
    return set(caught.value.fields)


def addresses(message: EmailMessage, name: str) -> list[HeaderAddress]:
    return list(message[name].addresses)


def test_compose_plain_mail_reads_back_as_given() -> None:
    mail = compose(
        sender=Address("Anna Müller", "anna@example.com"),
        to=["Bob <bob@example.com>", "carol@example.com"],
        cc=['"Doe, John" <john@example.com>'],
        subject="Grüße",
        text="Hällo\nBob",
        date=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
    )
    message = reread(mail.mime)
    assert addresses(message, "from")[0].display_name == "Anna Müller"
    assert [a.addr_spec for a in addresses(message, "to")] == ["bob@example.com", "carol@example.com"]
    assert addresses(message, "cc")[0].display_name == "Doe, John"
    assert message["subject"] == "Grüße"
    assert message.get_content() == "Hällo\r\nBob\r\n"
    assert message["date"].datetime == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert message["message-id"] == f"<{mail.message_id}>"
    assert mail.message_id.endswith("@example.com")


def test_compose_wire_form_is_ascii_with_crlf_and_short_lines() -> None:
    mail = compose(sender=ANNA, to=["b@example.com"], subject="ü" * 900, text="x" * 5000 + "\nü", html="<p>ü</p>" * 500)
    assert mail.mime.isascii()
    assert mail.mime.count(b"\n") == mail.mime.count(b"\r\n") == mail.mime.count(b"\r")
    assert max(map(len, mail.mime.split(b"\r\n"))) <= 998


def test_compose_bcc_is_in_the_envelope_and_never_in_the_mime() -> None:
    mail = compose(sender=ANNA, to=["b@example.com"], bcc=["Eve <eve@example.com>"], subject="x")
    assert mail.bcc == ("eve@example.com",)
    assert mail.recipients == ("b@example.com", "eve@example.com")
    assert b"eve" not in mail.mime.lower()
    assert b"bcc" not in mail.mime.lower()


def test_compose_bcc_alone_names_no_recipient_in_the_header() -> None:
    mail = compose(sender=ANNA, bcc=["eve@example.com"], subject="x")
    assert reread(mail.mime)["to"] == "undisclosed-recipients:;"


def test_compose_recipient_named_twice_is_in_the_envelope_once() -> None:
    assert compose(sender=ANNA, to=["b@example.com"], cc=["B <b@EXAMPLE.com>"]).recipients == ("b@example.com",)


def test_compose_international_domain_goes_out_as_punycode() -> None:
    mail = compose(sender=ANNA, to=["Bob <bob@bücher.example>"], subject="x")
    assert mail.recipients == ("bob@xn--bcher-kva.example",)
    assert b"bob@xn--bcher-kva.example" in mail.mime


def test_compose_sender_with_an_international_domain_goes_out_as_punycode() -> None:
    mail = compose(sender=Address("Anna", "anna@bücher.example"), to=["b@example.com"])
    assert mail.sender == "anna@xn--bcher-kva.example"
    assert mail.message_id.endswith("@xn--bcher-kva.example")


def test_compose_html_is_the_richer_alternative_and_files_stand_behind() -> None:
    files = [
        OutgoingAttachment("übersicht 2026.pdf", "application/pdf", b"%PDF\x00\xff"),
        OutgoingAttachment("notes.txt", "text/plain", b"a\nb\n"),
        OutgoingAttachment("mail.eml", "message/rfc822", b"Subject: inner\r\n\r\nhi"),
    ]
    mail = compose(sender=ANNA, to=["b@example.com"], text="plain", html="<p>rich</p>", attachments=files)
    message = reread(mail.mime)
    assert message.get_body(("html",)).get_content() == "<p>rich</p>"  # type: ignore[union-attr]
    assert message.get_body(("plain",)).get_content() == "plain"  # type: ignore[union-attr]
    read = list(message.iter_attachments())
    assert [part.get_filename() for part in read] == ["übersicht 2026.pdf", "notes.txt", "mail.eml"]
    assert [part.get_payload(decode=True) for part in read] == [file.content for file in files]
    assert [attachment(mail.mime, part.part_id) for part in parse(mail.mime).attachments] == [f.content for f in files]


def test_compose_html_alone_gets_its_words_as_text() -> None:
    message = reread(compose(sender=ANNA, to=["b@example.com"], html="<p>Hello <b>Bob</b></p>").mime)
    assert message.get_body(("plain",)).get_content() == "Hello Bob"  # type: ignore[union-attr]


def test_compose_same_values_twice_differ_only_in_id_and_boundary() -> None:
    first, second = (compose(sender=ANNA, to=["b@example.com"], subject="x") for _ in range(2))
    assert first.message_id != second.message_id
    given = compose(sender=ANNA, to=["b@example.com"], message_id="fixed@example.com")
    assert given.message_id == "fixed@example.com"
    assert b"Message-ID: <fixed@example.com>\r\n" in given.mime


@pytest.mark.parametrize("bad", INJECTIONS)
@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_compose_control_character_in_a_recipient_is_refused(field: str, bad: str) -> None:
    assert refused(**{field: [f"Bob{bad}Bcc: eve@example.com <bob@example.com>"]}) == {field}
    assert refused(**{field: [f"bob@example.com{bad}"]}) == {field}


@pytest.mark.parametrize("bad", INJECTIONS)
def test_compose_control_character_elsewhere_is_refused_with_the_field(bad: str) -> None:
    assert refused(subject=f"Hi{bad}Bcc: eve@example.com") == {"subject"}
    assert refused(sender=Address(f"Anna{bad}", "anna@example.com")) == {"fromName"}
    assert refused(sender=Address("Anna", f"anna@example.com{bad}")) == {"fromEmail"}
    assert refused(attachments=[OutgoingAttachment(f"a{bad}.txt", "text/plain", b"")]) == {"fileName"}


@pytest.mark.parametrize(
    "bad", ["", "bob", "bob@", "@example.com", "bob@localnet", "a b@example.com", "a@example.com, b@example.com",
            "bob@exa mple.com", "bob@[127.0.0.1]", "bob@1.2.3.4", "büb@example.com", ".a@example.com", "a@-x.example",
            "x" * 65 + "@example.com", "<script>"],
)  # fmt: skip
def test_compose_bad_address_is_refused(bad: str) -> None:
    assert refused(to=[bad]) == {"to"}


def test_compose_encoded_word_trick_stays_inside_one_name() -> None:
    mail = compose(
        sender=ANNA, to=["=?utf-8?q?x=0D=0ABcc:_eve@example.com?= <bob@example.com>"], subject="=?utf-8?q?a?="
    )
    message = reread(mail.mime)
    assert message["bcc"] is None
    assert mail.recipients == ("bob@example.com",)
    assert message["subject"] == "=?utf-8?q?a?="


def test_compose_over_the_providers_limit_says_the_limit() -> None:
    with pytest.raises(TooLarge, match=r"at most 1\.0 MB") as refusal:
        compose(sender=ANNA, to=["bob@example.com"], text="x" * 1_000_001, max_bytes=1_000_000)
    assert refusal.value.extra == {"limit": 1_000_000}
    with pytest.raises(TooLarge):
        compose(sender=ANNA, to=["bob@example.com"], attachments=[OutgoingAttachment("a", "a/b", bytes(800_000))],
                max_bytes=1_000_000)  # fmt: skip


def test_compose_no_recipient_or_too_much_is_refused() -> None:
    assert refused(to=[]) == {"to"}
    assert refused(to=[f"a{n}@example.com" for n in range(501)]) == {"to"}
    assert refused(subject="x" * 999) == {"subject"}
    assert refused(attachments=[OutgoingAttachment("a", "text/x\r\nBcc: e", b"")]) == {"contentType"}


def test_compose_reply_headers_keep_both_ends_of_a_long_chain() -> None:
    chain = [f"{n}@x" for n in range(50)]
    mail = compose(sender=ANNA, to=["b@example.com"], in_reply_to="parent@x", references=chain)
    message = parse(mail.mime)
    assert message.in_reply_to == ("parent@x",)
    assert message.references == (*chain[:10], *chain[41:], "parent@x")


def test_compose_hostile_parent_ids_are_left_out() -> None:
    mail = compose(
        sender=ANNA, to=["b@example.com"], in_reply_to="p@x", references=["a b@x", "x>\r\nBcc: e", "ü@x", "q@x"]
    )
    assert parse(mail.mime).references == ("q@x", "p@x")
    assert b"References" not in compose(sender=ANNA, to=["b@example.com"], in_reply_to="p>\r\nBcc: e@x").mime


@pytest.mark.parametrize(
    ("given_subject", "parent", "expected"),
    [
        ("", "Lunch?", "Re: Lunch?"),
        ("Lunch?", "x", "Re: Lunch?"),
        ("", "Re: AW: Re[2]: Lunch", "Re: Lunch"),
        ("", "", "Re:"),
    ],
)
def test_reply_subject_carries_re_once(given_subject: str, parent: str, expected: str) -> None:
    assert reply_subject(given_subject, parent) == expected


def test_reply_references_falls_back_to_a_single_in_reply_to() -> None:
    assert reply_references(("a@x",), ("b@x",)) == ("a@x",)
    assert reply_references((), ("b@x",)) == ("b@x",)
    assert reply_references((), ("b@x", "c@x")) == ()


@settings(max_examples=1500, deadline=None)
@given(subject=printable, name=printable, file_name=printable, body=st.text(max_size=300))
def test_compose_any_text_leaves_exactly_the_headers_we_wrote(
    subject: str, name: str, file_name: str, body: str
) -> None:
    mail = compose(
        sender=Address(name, "anna@example.com"),
        to=["bob@example.com"],
        bcc=["eve@example.com"],
        subject=subject,
        text=body,
        attachments=[OutgoingAttachment(file_name, "text/plain", b"x")],
    )
    message = reread(mail.mime)
    ids = ["Message-ID", OWN_ID_HEADER]
    assert message.keys() == ["From", "To", "Subject", "Date", *ids, "MIME-Version", "Content-Type"]
    assert [a.addr_spec for a in addresses(message, "from")] == ["anna@example.com"]
    assert [a.addr_spec for a in addresses(message, "to")] == ["bob@example.com"]
    again = parse(mail.mime)
    assert again.sender.email == "anna@example.com"
    assert not again.bcc
    assert " ".join(again.subject.split()) == " ".join(subject.split())
    assert [part.part_id for part in again.attachments] == ["2"]


pieces = [*INJECTIONS, "Bcc: e@x.io", "a@b.co", "<", ">", '"', ",", " ", "=?utf-8?q?=0A?="]
any_text = st.text(max_size=60) | st.lists(st.sampled_from(pieces)).map("".join)


@settings(max_examples=3500, deadline=None)
@given(to=any_text, subject=any_text, name=any_text, file_name=any_text)
def test_compose_hostile_fields_are_refused_or_add_no_header(to: str, subject: str, name: str, file_name: str) -> None:
    fields: set[str] = set()
    try:
        mail = compose(
            sender=Address(name, "anna@example.com"),
            to=[to],
            cc=["carol@example.com"],
            subject=subject,
            attachments=[OutgoingAttachment(file_name, "text/plain", b"x")],
        )
    except InvalidInput as error:
        fields = set(error.fields)
    assert fields <= {"to", "subject", "fromName", "fileName"}
    if not fields:
        message = reread(mail.mime)
        ids = ["Message-ID", OWN_ID_HEADER]
        assert message.keys() == ["From", "To", "Cc", "Subject", "Date", *ids, "MIME-Version", "Content-Type"]
        assert [a.addr_spec for a in addresses(message, "to")] == list(mail.recipients[:1])


@settings(max_examples=500, deadline=None)
@given(bcc=any_text, sender=any_text, content_id=any_text, reference=any_text)
def test_draft_with_hostile_fields_is_refused_or_has_one_of_each_header(
    bcc: str, sender: str, content_id: str, reference: str
) -> None:
    try:
        mail = compose(
            sender=Address(sender, "anna@example.com"),
            bcc=[bcc],
            html="<p>x</p>",
            attachments=[OutgoingAttachment("a.png", "image/png", b"x", content_id)],
            in_reply_to=reference,
            references=[reference, content_id],
            draft=True,
        )
    except InvalidInput:
        return
    message = reread(mail.with_bcc())
    assert [a.addr_spec for a in addresses(message, "bcc")] == list(mail.bcc)
    assert max(Counter(name.lower() for name in message).values()) == 1
    allowed = {"from", "to", "subject", "date", "message-id", OWN_ID_HEADER.lower(), "in-reply-to", "references", "bcc",
               "mime-version", "content-type"}  # fmt: skip
    assert {name.lower() for name in message} <= allowed
    assert reread(mail.mime)["bcc"] is None
    assert len(list(message.walk())) in (5, 6)
