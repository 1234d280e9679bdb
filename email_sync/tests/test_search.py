"""Search: queries and documents agree in a real PostgreSQL, and nothing a user types is an error of ours."""

from __future__ import annotations

import time
import unicodedata
from datetime import UTC, datetime

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from email_sync import search
from email_sync.search import FOLDER_WORDS, MAX_BODY, MAX_WORD, Query, document, fold, parse_query
from email_sync.services import searching


def found(q: str, *, subject: str = "", sender: str = "", recipients: str = "", body: str = "") -> bool:
    """Whether a search finds a message, by PostgreSQL's account."""
    kept, said = document(subject, sender, recipients, body), searching.said(parse_query(q))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {said.sql} FROM (SELECT array_to_tsvector(%s) AS words, %s AS text) AS kept",
            [*said.values, kept.words, kept.text],
        )
        return bool(cursor.fetchone()[0])


def refused(q: str) -> bool:
    with pytest.raises(InvalidInput) as caught:
        parse_query(q)
    return list(caught.value.fields) == ["q"]


# --- folding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Crème BRÛLÉE", "creme brulee"),
        ("Anna.Smith+tag@Example-Mail.COM", "anna smith tag example mail com"),
        ("Straße, Œuvre, Ærø, Łódź, Đà, þorn", "strasse oeuvre aero lodz da thorn"),
        ("ﬁne ﬂow ½ ² Ⅷ", "fine flow 1 2 2 viii"),
        ("İSTANBUL ısı", "istanbul isi"),
        ("Привет, ΣΊΣΥΦΟΣ", "привет σισυφοσ"),
        ("日本語テスト abc", "日 本 語 テ ス ト abc"),
        ("snake_case a-b/c:d", "snake case a b c d"),
        ("a\u200bb soft\u00adhyphen", "ab softhyphen"),
        ("'); DROP TABLE x; --", "drop table x"),
        ("", ""),
    ],
)
def test_fold_text_becomes_the_words_people_type(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text(max_size=200))
def test_fold_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


_TANGLED = "aZ1 .\u0308\u0323\u01b7éß\uff21İΣς가\u1100\u1161ﬁ會\u13a0"
"""Marks that change places, letters that unfold or join, capitals that are the folded form."""


@given(st.text(max_size=60) | st.text(_TANGLED, max_size=30))
def test_fold_run_by_run_folds_as_the_whole_text(text: str) -> None:
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    whole = " ".join(word[:MAX_WORD] for word in decomposed.translate(search._folding).split())
    assert fold(text) == whole


def test_fold_folds_20_000_short_texts_a_second() -> None:
    text = "Überblick für das Quartal: Jürgen.Müller@beispiel.de, naïve café – Straße 12"
    fold(text)
    began = time.process_time()
    for _ in range(4_000):
        fold(text)
    assert 4_000 / (time.process_time() - began) > 20_000


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body", ["x" * 3_000_000, "ﷺ" * 200_000, "語" * 400_000, " ".join(f"{n:x}" for n in range(400_000)), "é" * 999_999],
    ids=["one word", "letters that unfold", "words of one letter", "many words", "accents"],
)  # fmt: skip
def test_document_of_any_size_fits_a_tsvector(body: str) -> None:
    kept = document(body, body, body, body)
    assert all(len(line.encode()) <= MAX_BODY + 2 for line in kept.text.split("\n"))
    assert found("kept", subject="kept", sender=body, recipients=body, body=body)


@pytest.mark.django_db
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(
        st.text(min_size=1, max_size=12).filter(lambda text: fold(text) != "" and '"' not in text),
        min_size=1,
        max_size=4,
    )
)
def test_document_words_are_found_by_themselves(words: list[str]) -> None:
    text = " ".join(words).replace("\x00", " ")
    for quoted in (f'"{text}"', f'from:"{text}"'):
        assert found(quoted, body=text, sender=text)


# --- queries against documents -------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("q", "hit"),
    [
        ("budget", True),
        ("BUDGÉT quarterly", True),
        ("budget missing", False),
        ('"quarterly budget"', True),
        ('"budget quarterly"', False),
        ("quart*", True),
        ("quart", False),
        ("-missing", True),
        ("budget -quarterly", False),
        ('-"budget quarterly"', True),
        ('-"quarterly budget"', False),
        ('tuesday -"quarterly budget"', False),
        ('-"quarterly budg*"', True),
        ("anna.smith@exam*", True),
        ("to:bob@example.o*", True),
        ("to:bob@example.c*", False),
        ('"budget anna"', False),
        ('"see you tues"', False),
        ('subject:"see you"', False),
        ('-from:"anna smith"', False),
        ('-to:"anna smith"', True),
        ("anna.smith@example.com", True),
        ("smith@example", True),
        ("from:anna", True),
        ("from:anna.smith@example.com", True),
        ("from:bob", False),
        ("-from:bob", True),
        ("to:bob", True),
        ("cc:bob@example.org", True),
        ("to:anna", False),
        ("subject:budget", True),
        ("subject:tuesday", False),
        ('subject:"quarterly budget"', True),
        ("from:ann*", True),
        ("note:tuesday", False),
        ("http://tuesday", False),
        ("see:you", True),
        ("tuesday!", True),
        ("3.14", True),
        ("1e5 0x1f v2.0", True),
        ("会議", True),
        ("議会", False),
        ("", None),
        ("!!! - ()", None),
    ],
)
def test_parse_query_finds_what_it_says(q: str, hit: bool | None) -> None:
    if hit is None:
        assert parse_query(q).terms == ()
        return
    message = {
        "subject": "Quarterly budget",
        "sender": "Anna Smith anna.smith@example.com",
        "recipients": "Bob bob@example.org",
        "body": "See you Tuesday. Pi is 3.14; 1e5, 0x1f, v2.0. 明日の会議です",
    }
    assert found(q, **message) is hit


@pytest.mark.django_db
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=80)
    | st.lists(
        st.sampled_from(["'", "\\", ":*", "&", "|", "!", "(", ")", "<->", "a", '""', "from:", "-", " ", "*"])
    ).map("".join)
)
def test_parse_query_any_text_is_refused_or_runs(q: str) -> None:
    try:
        query = parse_query(q)
    except InvalidInput as error:
        assert list(error.fields) == ["q"]  # noqa: PT017 - the other outcome is as good
        return
    if query.terms:
        found(q, body=q.replace("\x00", " "))


# --- filters ---------------------------------------------------------------------------------------------------------


def test_parse_query_reads_every_filter() -> None:
    query = parse_query("IS:unread is:starred has:attachment in:Sent after:2026-01-31 before:2026/03/01 x")
    assert query == Query(
        terms=query.terms,
        before=datetime(2026, 3, 1, tzinfo=UTC),
        after=datetime(2026, 1, 31, tzinfo=UTC),
        has_attachments=True,
        is_read=False,
        is_starred=True,
        folder="sent",
    )
    assert query.tsquery() == "'x'"


def test_parse_query_negated_flags_turn_round() -> None:
    query = parse_query("-is:unread -is:starred -has:attachment")
    assert (query.is_read, query.is_starred, query.has_attachments) == (True, False, False)
    assert parse_query("is:read").is_read is True


@pytest.mark.parametrize("folder", FOLDER_WORDS)
def test_parse_query_knows_every_folder(folder: str) -> None:
    assert parse_query(f"in:{folder}").folder == folder


@pytest.mark.parametrize(
    "q",
    ['"open', 'a "b" "c', "is:big", "is:", "has:fun", "has:", "in:nowhere", "in:", "-in:inbox", "in:inbox in:sent",
     "is:read is:unread", "is:starred -is:starred", "has:attachment -has:attachment",
     "after:2026-01-01 after:2026-02-01",
     "before:yesterday", "after:2026-13-01", "before:", "-before:2026-01-01", "x" * 501, "a " * 33],
)  # fmt: skip
def test_parse_query_malformed_names_q(q: str) -> None:
    assert refused(q)


def test_parse_query_same_filter_twice_is_one() -> None:
    assert parse_query("is:read -is:unread in:sent in:sent") == parse_query("is:read in:sent")


def test_parse_query_unknown_field_is_text() -> None:
    assert parse_query("foo:bar") == parse_query('"foo bar"')
