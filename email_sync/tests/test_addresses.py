"""Addresses: what is accepted from clients, and when two are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from email_sync.addresses import ascii_domain, domain_of, exact, is_email, parse_address
from email_sync.records import Address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("anna@example.com", Address("", "anna@example.com")),
        ("  anna@Example.COM ", Address("", "anna@example.com")),
        ("Anna Smith <anna@example.com>", Address("Anna Smith", "anna@example.com")),
        ('"Smith, Anna" <anna@example.com>', Address("Smith, Anna", "anna@example.com")),
        ("Smith, Anna <anna@example.com>", Address("Smith, Anna", "anna@example.com")),
        ("Ännä <a+tag@bücher.example>", Address("Ännä", "a+tag@xn--bcher-kva.example")),
        ("<o'neil@example.co.uk>", Address("", "o'neil@example.co.uk")),
        ("root@localhost", Address("", "root@localhost")),
    ],
)
def test_parse_address_good_form_is_ready_for_the_wire(text: str, expected: Address) -> None:
    assert parse_address(text, "to") == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "anna", "anna@", "@example.com", "anna@example", "anna smith@example.com",
     "anna@example.com bob@example.com", "anna@example.com, bob@example.com", "Team: anna@example.com;, b@example.com",
     "<anna@example.com", "a..b@example.com",
     "anna@exam_ple.com", "anna@example..com", "anna@-example.com", "ännä@example.com", '"a b"@example.com',
     "a@" + "x" * 64 + ".com", "a@" + "x." * 130 + "com", "x" * 1000 + "@example.com", "anna@example.com\n"],
)  # fmt: skip
def test_parse_address_bad_form_names_the_field(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_address(text, "cc")
    assert list(caught.value.fields) == ["cc"]


@given(st.text(max_size=100))
def test_parse_address_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        email = parse_address(text, "to").email
    except InvalidInput:
        return
    assert is_email(email)
    assert email.isascii()


def test_exact_makes_spellings_of_one_address_equal() -> None:
    spellings = ["Anna@Bücher.example", " anna@bücher.EXAMPLE ", "ANNA@xn--bcher-kva.example"]
    assert {exact(text) for text in spellings} == {"anna@xn--bcher-kva.example"}


def test_exact_without_an_address_stays_harmless() -> None:
    assert exact("") == ""
    assert exact(" Anna ") == "anna"


@given(st.text(max_size=60))
def test_exact_twice_changes_nothing(text: str) -> None:
    assert exact(exact(text)) == exact(text)


def test_domain_of_is_in_compared_form() -> None:
    assert domain_of("anna@Mail.Bücher.Example") == "mail.xn--bcher-kva.example"
    assert domain_of("anna") == ""


def test_ascii_domain_without_punycode_form_stays() -> None:
    assert ascii_domain("Ü" * 80 + ".example") == "ü" * 80 + ".example"
