"""Secrets in every spelling go; ordinary words stay."""

from __future__ import annotations

import json
import logging
import time

import pytest

from core.redaction import SECRET_NAME, RedactSecrets, clean_words, redact

MARK = "S3cr3tM4rk"
FORMS = [
    f"Authorization: Bearer {MARK}abc.def",
    f"authorization: Basic {MARK}==",
    f"'Authorization': 'Bearer {MARK}'",
    f'{{"Authorization": "Bearer {MARK}"}}',
    f"bearer {MARK}",
    f"AUTH=Bearer {MARK}",
    f"auth XOAUTH2 {MARK}",
    f"refresh_token={MARK}",
    f"Range Not Satisfiable: /api/v1/integrations/documents/content/{MARK}~x~y",
    f'"GET /api/v1/integrations/documents/preview/{MARK} HTTP/1.1"',
    f"?refresh_token={MARK}&x=1",
    f'{{"refresh_token": "{MARK}"}}',
    f"'refresh_token': '{MARK}'",
    f'{{"refreshToken":"{MARK}"}}',
    f'{{\\"access_token\\": \\"{MARK}\\"}}',
    f"client_secret={MARK}",
    f"clientSecret: {MARK}",
    f"password={MARK}",
    f"PASSWORD = {MARK}",
    f"smtp_password: {MARK}",
    f'"password": "{MARK} with spaces; and more"',
    f"passwd={MARK}",
    f"api_key={MARK}",
    f"apiKey={MARK}",
    f"X-Api-Key: {MARK}",
    f"api-key={MARK}",
    f"GOOGLE_CLIENT_SECRET={MARK}",
    f"https://x/cb?state=1&code={MARK}",
    f"code={MARK}&grant_type=authorization_code",
    f"code_verifier={MARK}",
    f"https://user:{MARK}@host/path",
    f"Set-Cookie: sid={MARK}",
    f"Cookie: {MARK}",
    f"token={MARK}",
    f"bot_token: {MARK}",
    f"eyJhbGciOiJI.{MARK}.sig",
    f"ya29.{MARK}",
    f"1//0g{MARK}{MARK}",
    f"xoxb-1-{MARK}",
    f"SG.{MARK}.{MARK}",
    f"re_{MARK}{MARK}",
    f"whsec_{MARK}{MARK}",
    f"GOCSPX-{MARK}",
    f"hub_0123456789ab_{MARK * 5}",
    f'{{"password": "a\\"{MARK}"}}',
]
HARMLESS = [
    "POST https://api.example.com/v1/messages 200 12ms",
    "error code: invalid_grant",
    '{"error": {"code": 403, "message": "Quota"}}',
    "status=200 path=/api/x",
    "The tokenizer works",
    "secretary of state",
    "message 18c2f0a9b7d3e411 synced",
    "keyboard: qwerty",
    "0198a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
    "monkey=banana",
    "invalid_grant: Token has been expired or revoked.",
]


@pytest.mark.parametrize("text", FORMS)
def test_redact_secret_is_masked(text: str) -> None:
    assert MARK not in redact(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_redact_ordinary_words_stay(text: str) -> None:
    assert redact(text) == text


def test_redact_json_stays_json() -> None:
    text = json.dumps({"refresh_token": 'a"b\\', "n": [{"password": "x", "keep": "y"}]})
    assert json.loads(redact(text)) == {"refresh_token": "***", "n": [{"password": "***", "keep": "y"}]}


def test_redact_long_text_takes_linear_time() -> None:
    for piece in (
        "token",
        "a",
        "token=",
        '"password": "',
        "Bearer ",
        "eyJ",
        "code=",
        "a_token_",
        "\\",
        "https://x",
        "re_",
        "x-",
    ):
        started = time.process_time()
        redact(piece * (200_000 // len(piece)))
        assert time.process_time() - started < 3, piece


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "refresh_token",
        "client_secret",
        "Authorization",
        "X-Api-Key",
        "apiKey",
        "botToken",
        "code",
        "signingSecret",
        "smtp_password",
        "api_key",
        "token",
    ],
)
def test_secret_name_is_known(name: str) -> None:
    assert SECRET_NAME.search(name)


@pytest.mark.parametrize(
    "name", ["subject", "grant_type", "keyboard", "monkey", "zipcode", "to", "q", "passage", "tokens_used"]
)
def test_secret_name_ordinary_names_are_none(name: str) -> None:
    assert not SECRET_NAME.search(name)


def test_clean_words_are_one_short_printable_line() -> None:
    words = clean_words("a\r\nb\x00\x1b[0m\u2028\u202e c\ud800   d" + "x" * 500)
    assert words.startswith("a b [0m c d")
    assert words.isprintable()
    assert len(words) == 300
    assert words.endswith("…")


def emit(message: object, *args: object, error: Exception | None = None) -> str:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, message, args, None)
    if error is not None:
        try:
            raise error
        except type(error) as caught:
            record.exc_info = (type(caught), caught, caught.__traceback__)
    assert RedactSecrets().filter(record)
    return logging.Formatter("%(message)s").format(record)


def test_redact_secrets_masks_arguments_and_tracebacks() -> None:
    assert emit("sent %s to %s", {"refresh_token": MARK}, "x") == "sent {'refresh_token': '***'} to x"
    text = emit("failed", error=ValueError(f"password={MARK}"))
    assert "Traceback" in text
    assert MARK not in text


def test_redact_secrets_record_with_wrong_arguments_is_kept() -> None:
    assert emit("only %s and %s", "one") == "only %s and %s"
    assert emit({"a": 1}) == "{'a': 1}"
