"""Generated mail looks like mail: parsable, threaded, in many charsets, spread over years."""

from __future__ import annotations

import email
from collections import Counter
from email.message import EmailMessage
from email.policy import default

import pytest

from simulator import mailgen
from simulator.mailbox import Mailbox
from simulator.mime import parse, snippet

END = mailgen.moment(mailgen.DEFAULT_UNTIL)


@pytest.fixture(scope="module")
def mails() -> list[mailgen.GeneratedMail]:
    return mailgen.generate("Ada Lovelace", "ada@hub.example", 1500, 1, END, 3)


def test_generate_repeats_itself_and_counts_exactly(mails: list[mailgen.GeneratedMail]) -> None:
    assert len(mails) == 1500
    assert mails == mailgen.generate("Ada Lovelace", "ada@hub.example", 1500, 1, END, 3)
    assert mails != mailgen.generate("Ada Lovelace", "ada@hub.example", 1500, 2, END, 3)


def test_generate_spreads_over_the_years_and_ends_before_the_end(mails: list[mailgen.GeneratedMail]) -> None:
    dates = [mail.internal_date / 1000 for mail in mails]
    assert dates == sorted(dates)
    assert dates[-1] <= END
    assert END - dates[0] > 2 * 365 * mailgen.DAY


def test_generate_has_all_kinds_of_content(mails: list[mailgen.GeneratedMail]) -> None:
    parts: Counter[str] = Counter()
    charsets: Counter[str] = Counter()
    for mail in mails:
        for part in email.message_from_bytes(mail.raw).walk():
            parts[part.get_content_type()] += 1
            charsets[part.get_content_charset("none")] += 1
    assert {"text/plain", "text/html", "multipart/alternative", "multipart/mixed", "multipart/related"} <= set(parts)
    assert {"application/pdf", "image/png", "text/calendar"} <= set(parts)
    assert {"utf-8", "iso-8859-1", "koi8-r", "iso-2022-jp", "gb2312", "windows-1252"} <= set(charsets)


def test_generate_labels_cover_every_folder(mails: list[mailgen.GeneratedMail]) -> None:
    labels = {label for mail in mails for label in mail.labels}
    assert {"INBOX", "SENT", "SPAM", "TRASH", "UNREAD", "STARRED", "IMPORTANT", "Receipts"} <= labels
    assert any(label.startswith("Customers/") for label in labels)


def test_generate_few_are_broken_and_most_parse_without_defect(mails: list[mailgen.GeneratedMail]) -> None:
    defective = 0
    some = mails[:400]
    for mail in some:
        message = email.message_from_bytes(mail.raw, policy=default)
        assert isinstance(message, EmailMessage)
        defective += bool(message.defects)
    assert defective < len(some) * 0.01
    assert all(snippet(mail.raw) for mail in some if b"Date: " in mail.raw and parse(mail.raw).parts)


def test_generate_replies_join_their_threads(mails: list[mailgen.GeneratedMail]) -> None:
    mailbox = Mailbox("ada@hub.example", 1)
    for mail in mails:
        mailbox.add(mail.raw, {label for label in mail.labels if label in mailbox.labels}, mail.internal_date)
    sizes = Counter(len(members) for members in mailbox.threads.values())
    assert sizes[1] > 100
    assert sum(count for size, count in sizes.items() if size > 3) > 30
