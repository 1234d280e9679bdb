"""What the sender wrote, without the history: the forms of the usual mail programs and languages."""

from __future__ import annotations

import time

import pytest

from email_sync.parsing.message import parse
from email_sync.parsing.replies import reply_text

ATTRIBUTIONS = [
    "On Mon, 1 Jan 2026 at 10:00, Anna Smith <anna@example.com> wrote:",
    "On Mon, 1 Jan 2026 at 10:00, Anna Smith\n<anna@example.com> wrote:",
    "Am 01.01.2026 um 10:00 schrieb Anna Müller:",
    "Am Mo., 1. Jan. 2026 um 10:00 Uhr schrieb Anna Müller <\nanna@example.com>:",
    "Le lun. 1 janv. 2026 à 10:00, Anna <anna@example.com> a écrit :",
    "Le lun. 1 janv. 2026 à 10:00, Anna <anna@example.com>\na écrit :",
    "El lun, 1 ene 2026 a las 10:00, Anna (<anna@example.com>) escribió:",
    "Il giorno lun 1 gen 2026 alle ore 10:00 Anna <anna@example.com> ha scritto:",
    "Op ma 1 jan 2026 om 10:00 schreef Anna <anna@example.com>:",
    "Em seg., 1 de jan. de 2026 às 10:00, Anna <anna@example.com> escreveu:",
    "Den mån 1 jan. 2026 kl 10:00 skrev Anna <anna@example.com>:",
    "2026-01-01 10:00 GMT+01:00 Anna <anna@example.com> wrote:",
]
HISTORIES = [
    "-----Original Message-----\nFrom: Anna\nold words",
    "-----Ursprüngliche Nachricht-----\nVon: Anna\nold words",
    "-------- Message d'origine --------\nDe : Anna\nold words",
    "________________________________\nFrom: Anna <anna@example.com>\nSent: Monday\n\nold words",
    "From: Anna <anna@example.com>\nSent: Monday\nTo: Bob\nSubject: Lunch\n\nold words",
    "Von: Anna <anna@example.com>\nGesendet: Montag\nAn: Bob\nBetreff: Essen\n\nold words",
    "De : Anna <anna@example.com>\nEnvoyé : lundi\nÀ : Bob\nObjet : Midi\n\nold words",
    "*From:* Anna\n*Sent:* Monday\n*To:* Bob\n\nold words",
]


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
def test_reply_text_quoted_mail_below_goes(attribution: str) -> None:
    assert reply_text(f"Fine.\n\nSee you\n\n{attribution}\n\n> old words\n>\n> more\n") == "Fine.\n\nSee you"


@pytest.mark.parametrize("history", HISTORIES)
def test_reply_text_outlook_history_goes(history: str) -> None:
    assert reply_text(f"Fine.\r\n\r\n{history}".replace("\n", "\r\n")) == "Fine."


def test_reply_text_answers_between_the_lines_stay() -> None:
    text = "On Mon, 1 Jan 2026, Anna wrote:\n> When?\nAt one.\n> Where?\nHere.\n"
    assert reply_text(text) == "At one.\nHere."


def test_reply_text_attribution_without_quotes_ends_the_reply() -> None:
    assert reply_text("Fine.\n\nOn Mon, 1 Jan 2026, Anna wrote:\n\nold words") == "Fine."


@pytest.mark.parametrize(
    "text",
    [
        "On the other hand, I like it.",
        "On Monday he wrote: nothing new.\nBye",
        "From: here to there\nis a long way",
        "A list:\n- one\n- two\n\n-- \nAnna",
        "---------- Forwarded message ---------\nFrom: Anna <a@b.c>\nDate: Monday\nSubject: x\nTo: Bob\n\nwords",
    ],
)
def test_reply_text_ordinary_words_stay(text: str) -> None:
    assert reply_text(text).startswith(text.split("\nFrom: Anna")[0])


def test_reply_text_of_quotes_alone_is_the_whole() -> None:
    assert reply_text("> only\n> quotes\n") == "> only\n> quotes"
    assert reply_text("") == ""


def test_reply_text_works_on_the_text_of_html_mail() -> None:
    html = (
        "<div>Fine.</div><div class=gmail_quote><div>On Mon, 1 Jan 2026, Anna wrote:<br></div>"
        "<blockquote><div>old words</div></blockquote></div>"
    )
    assert reply_text(parse(b"Content-Type: text/html\n\n" + html.encode()).text) == "Fine."


@pytest.mark.parametrize(
    "piece", ["on ", "on a\n", "From: a\n", ">\n", "wrote ", "-", "_", "on " + "x wrote y " * 40 + ":\n", " \n", "Von:"]
)
def test_reply_text_costs_in_proportion_to_its_length(piece: str) -> None:
    def cost(size: int) -> float:
        text = piece * (size // len(piece))
        began = time.process_time()
        reply_text(text)
        return time.process_time() - began

    assert cost(500_000) < max(cost(50_000), 0.005) * 30
