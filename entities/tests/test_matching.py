"""Which spellings are one address, and which domains belong to nobody."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entities.matching import FREE_MAIL, MAX_KEY, domain_of, is_free_mail, normalise, normalise_domain

ONE_PERSON = [
    ("Anna@Example.COM", "anna@example.com"),
    ("  anna@example.com ", "anna@example.com"),
    ("anna+lists@example.com", "anna@example.com"),
    ("anna+a+b@example.com", "anna@example.com"),
    ("anna@example.com.", "anna@example.com"),
    ('"anna"@example.com', "anna@example.com"),
    ("anna@bücher.example", "anna@xn--bcher-kva.example"),
    ("anna@XN--BCHER-KVA.example", "anna@xn--bcher-kva.example"),
    ("anna@BÜCHER.example", "anna@bücher.example"),
    ("ÄNNA@example.com", "änna@example.com"),
    ("a\u0308nna@example.com", "änna@example.com"),
    ("a.nna@gmail.com", "anna@gmail.com"),
    ("An.Na+x@googlemail.com", "anna@gmail.com"),
]
TWO_PEOPLE = [
    ("anna@example.com", "anna@example.org"),
    ("a.nna@example.com", "anna@example.com"),
    ("anna@mail.example.com", "anna@example.com"),
    ("+anna@example.com", "+ben@example.com"),
    ("anna-x@example.com", "anna@example.com"),
]
NO_ADDRESS = [
    "", " ", "anna", "anna@", "@example.com", "a b@example.com", "anna@exa mple.com", "anna@@example.com",
    "anna@-example.com", "anna@example..com", "anna\x00@example.com", "anna@[10.0.0.1]", "a" * 400 + "@example.com",
    "anna@\u2028example.com", '"a@b"@example.com', "\ud800@example.com", "anna@" + "a" * 64 + ".com", "anna@.",
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), ONE_PERSON)
def test_normalise_spellings_of_one_address_are_equal(one: str, other: str) -> None:
    assert normalise(one) == normalise(other) != ""


@pytest.mark.parametrize(("one", "other"), TWO_PEOPLE)
def test_normalise_addresses_of_two_people_differ(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize("text", NO_ADDRESS)
def test_normalise_of_what_is_no_address_is_empty(text: str) -> None:
    assert normalise(text) == ""
    assert domain_of(text) == ""


def test_domain_of_is_the_compared_form() -> None:
    assert domain_of("anna@Mail.Bücher.Example") == "mail.xn--bcher-kva.example"
    assert domain_of("anna@GoogleMail.com") == "gmail.com"


words = st.text(st.characters(codec="utf-8") | st.sampled_from('.+@" \\ßſİKÅ'), max_size=30)
addresses = words | st.builds("{}@{}".format, words, words | st.sampled_from(["gmail.com", "x.example", "Ⅷ.example"]))


@settings(max_examples=200, deadline=None)
@given(text=addresses)
def test_normalise_twice_changes_nothing_and_gives_an_address_or_nothing(text: str) -> None:
    key = normalise(text)
    assert normalise(key) == key
    if key:
        assert key.count("@") == 1
        assert len(key) <= MAX_KEY
        assert not any(character.isspace() or character == "\x00" for character in key)
        assert domain_of(text) == normalise_domain(key.partition("@")[2]) == key.partition("@")[2]


@settings(max_examples=200, deadline=None)
@given(
    local=st.from_regex(r"[A-Za-z0-9_-]{1,20}(\.[A-Za-z0-9_-]{1,20}){0,2}", fullmatch=True),
    tag=st.text("ab+.", max_size=5),
)
def test_normalise_ignores_case_and_tag_of_any_plain_address(local: str, tag: str) -> None:
    assert (
        normalise(f"{local}+{tag}@Example.com")
        == normalise(f"{local.upper()}@example.COM")
        == f"{local.lower()}@example.com"
    )


@pytest.mark.parametrize(
    "domain",
    [
        "gmail.com",
        "outlook.com",
        "hotmail.co.uk",
        "yahoo.com.br",
        "web.de",
        "gmx.net",
        "proton.me",
        "qq.com",
        "icloud.com",
    ],
)
def test_free_mail_is_known(domain: str) -> None:
    assert is_free_mail(domain)


@pytest.mark.parametrize(
    "domain",
    ["example.com", "live.io", "gmail.example.com", "notgmail.com", "yahoo.engineering", "yahoo.corp.example.com", ""],
)
def test_company_domains_are_no_free_mail(domain: str) -> None:
    assert not is_free_mail(domain)


def test_free_mail_list_is_in_compared_form_without_repeats() -> None:
    lines = [line for line in FREE_MAIL.read_text().splitlines() if line and not line.startswith("#")]
    assert len(set(lines)) == len(lines) > 250
    for line in lines:
        name = line.removesuffix(".*")
        assert normalise_domain(name) == name or line == "googlemail.com"
        assert is_free_mail(normalise_domain(line.replace(".*", ".com")))
