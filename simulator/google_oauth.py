"""Google's OAuth 2.0 endpoints: authorize, token, revoke, userinfo.

What clients must cope with and what is therefore kept: a refresh token comes only with access_type=offline, and then
only on the first consent or with prompt=consent; a refresh brings no new one (unless a setting says so); the user may
untick scopes; `email` and `profile` come back under their long names; revoking any token kills the whole grant.
"""

from __future__ import annotations

from typing import Any

from simulator.consent import Asked, answer_of, consent_page, error_page, granted, send_back
from simulator.errors import google_error, oauth_error
from simulator.grants import Client, Code, Grant, challenge_of
from simulator.routing import Router
from simulator.rs256 import key_set
from simulator.state import AutoConsent, World
from simulator.wire import Request, Response, json_response

VENDOR = "google"
PREFIX = "https://www.googleapis.com/auth/"
LONG_NAMES = {"email": PREFIX + "userinfo.email", "profile": PREFIX + "userinfo.profile"}
IDENTITY = {"openid", *LONG_NAMES.values()}
DEAD_TOKEN = "Token has been expired or revoked."


def register(router: Router, world: World) -> None:
    google = GoogleOAuth(world)
    for method in ("GET", "POST"):
        router.add(method, "/o/oauth2/v2/auth", VENDOR, "google.oauth.authorize", google.authorize)
        router.add(method, "/v1/userinfo", VENDOR, "google.oauth.userinfo", google.userinfo)
        router.add(method, "/oauth2/v3/userinfo", VENDOR, "google.oauth.userinfo", google.userinfo)
    router.add("GET", "/oauth2/v3/certs", VENDOR, "google.oauth.certs", lambda request: json_response(key_set()))
    router.add("POST", "/token", VENDOR, "google.oauth.token", google.token)
    router.add("POST", "/revoke", VENDOR, "google.oauth.revoke", google.revoke)


class GoogleOAuth:
    def __init__(self, world: World) -> None:
        self.world = world

    # Authorize

    def authorize(self, request: Request) -> Response:
        client = self.world.authority.clients.get((VENDOR, request.argument("client_id")))
        redirect_uri = request.argument("redirect_uri")
        if client is None:
            return error_page(VENDOR, 401, "invalid_client", "The OAuth client was not found.")
        if not _redirect_allowed(client, redirect_uri):
            return error_page(VENDOR, 400, "redirect_uri_mismatch", f"Not registered: {redirect_uri}")
        if request.argument("response_type") != "code":
            return error_page(VENDOR, 400, "unsupported_response_type", "Only response_type=code is imitated.")
        if request.argument("code_challenge_method", "plain") not in ("S256", "plain"):
            return error_page(VENDOR, 400, "invalid_request", "Invalid code challenge method.")
        scopes = [LONG_NAMES.get(scope, scope) for scope in request.argument("scope").split()]
        unknown = [scope for scope in scopes if not _known(scope)]
        if unknown or not scopes:
            return error_page(VENDOR, 400, "invalid_scope", f"Some requested scopes were invalid. {unknown}")
        return self._decide(request, client, scopes)

    def _decide(self, request: Request, client: Client, scopes: list[str]) -> Response:
        fixed = [scope for scope in scopes if scope in IDENTITY]
        optional = [scope for scope in scopes if scope not in IDENTITY]
        # Tick boxes appear with more than one scope beyond sign-in.
        asked = Asked(
            VENDOR, client.client_id, fixed, optional, len(optional) > 1, request.argument("login_hint")
        )  # fmt: skip
        answer = answer_of(self.world, VENDOR, request)
        state, redirect_uri = request.argument("state"), request.argument("redirect_uri")
        if answer is None and request.argument("prompt") == "none":
            return send_back(redirect_uri, error="interaction_required", state=state)
        if answer is None:
            return consent_page(self.world, asked, request)
        if answer.deny:
            return send_back(redirect_uri, error="access_denied", state=state)
        return self._consent(request, client, asked, answer)

    def _consent(self, request: Request, client: Client, asked: Asked, answer: AutoConsent) -> Response:
        account = self.world.account(VENDOR, answer.email)
        if account is None:
            return error_page(VENDOR, 400, "invalid_request", f"No such account here: {answer.email}")
        request.account = account.email
        authority = self.world.authority
        first = authority.grant_for(VENDOR, client.client_id, account.email) is None
        scopes = granted(asked, answer)
        grant = authority.consent(VENDOR, client.client_id, account.email, scopes)
        if request.argument("include_granted_scopes") == "true":
            scopes += sorted(grant.scopes - set(scopes))
        code = Code(
            grant,
            request.argument("redirect_uri"),
            scopes,
            self.world.now() + self.world.settings.code_seconds,
            request.argument("code_challenge"),
            request.argument("code_challenge_method") or "plain",
            offline=request.argument("access_type") == "offline"
            and (first or "consent" in request.argument("prompt").split()),
        )
        text = authority.issue_code(code, "4/0A")
        request.effect = {"kind": "consent", "scopes": scopes}
        return send_back(
            code.redirect_uri, state=request.argument("state"), code=text, scope=" ".join(scopes), authuser="0",
            prompt="consent",
        )  # fmt: skip

    # Token

    def token(self, request: Request) -> Response:
        form = request.form
        client = self._authenticate(request)
        match form.get("grant_type", ""):
            case "authorization_code":
                return self._redeem(request, client)
            case "refresh_token":
                return self._refresh(request, client)
            case "":
                raise oauth_error(400, "invalid_request", "Missing required parameter: grant_type")
            case other:
                raise oauth_error(400, "unsupported_grant_type", f"Invalid grant_type: {other}")

    def _authenticate(self, request: Request) -> Client:
        client_id, secret = request.client_credentials()
        client = self.world.authority.clients.get((VENDOR, client_id))
        if client is None:
            raise oauth_error(401, "invalid_client", "The OAuth client was not found.")
        if not secret:
            raise oauth_error(400, "invalid_request", "client_secret is missing.")
        if secret != client.secret:
            raise oauth_error(401, "invalid_client", "The provided client secret is invalid.")
        return client

    def _redeem(self, request: Request, client: Client) -> Response:
        text = request.form.get("code", "")
        if not text:
            raise oauth_error(400, "invalid_request", "Missing required parameter: code")
        code = self.world.authority.codes.get(text)
        if code is None or code.grant.vendor != VENDOR:
            raise oauth_error(400, "invalid_grant", "Malformed auth code.")
        request.account = code.grant.account
        if code.used or code.expires_at <= self.world.now() or code.grant.client_id != client.client_id:
            raise oauth_error(400, "invalid_grant", "Bad Request")
        if request.form.get("redirect_uri", "") != code.redirect_uri:
            raise oauth_error(400, "redirect_uri_mismatch", "Bad Request")
        _check_verifier(code, request.form.get("code_verifier", ""))
        if code.grant.revoked:
            raise oauth_error(400, "invalid_grant", DEAD_TOKEN)
        code.used = True
        answer = self._issue(code.grant, code.scopes)
        if code.offline:
            answer["refresh_token"] = self._new_refresh_token(code.grant, code.scopes)
        request.effect = {"kind": "token.issued", "by": "code", "refresh_token": code.offline}
        return json_response(answer, headers={"Cache-Control": "no-store"})

    def _new_refresh_token(self, grant: Grant, scopes: list[str]) -> str:
        life = self.world.settings.google_refresh_token_seconds
        expires_at = self.world.now() + life if life else float("inf")
        token = self.world.authority.issue_refresh(grant, scopes, expires_at, "1//0")
        self.world.authority.drop_surplus(grant)
        return token.token

    def _refresh(self, request: Request, client: Client) -> Response:
        text = request.form.get("refresh_token", "")
        if not text:
            raise oauth_error(400, "invalid_request", "Missing required parameter: refresh_token")
        token = self.world.authority.refresh.get(text)
        if token is None or token.grant.vendor != VENDOR:
            raise oauth_error(400, "invalid_grant", "Bad Request")
        request.account = token.grant.account
        if token.grant.client_id != client.client_id:
            raise oauth_error(401, "unauthorized_client", "Unauthorized")
        if token.grant.revoked or token.expires_at <= self.world.now():
            raise oauth_error(400, "invalid_grant", DEAD_TOKEN)
        answer = self._issue(token.grant, token.scopes)
        rotates = self.world.settings.google_rotates_refresh_tokens
        if rotates:
            token.expires_at = self.world.now()
            answer["refresh_token"] = self._new_refresh_token(token.grant, token.scopes)
        request.effect = {"kind": "token.issued", "by": "refresh", "rotated": rotates}
        return json_response(answer, headers={"Cache-Control": "no-store"})

    def _issue(self, grant: Grant, scopes: list[str]) -> dict[str, Any]:
        life = self.world.settings.google_access_token_seconds
        token = self.world.authority.issue_access(grant, scopes, self.world.now() + life, "ya29.a0")
        return {
            "access_token": token.token,
            "expires_in": life,
            "scope": " ".join(scopes),
            "token_type": "Bearer",
        }

    # Revoke and userinfo

    def revoke(self, request: Request) -> Response:
        """Takes an access or a refresh token and ends the whole grant."""
        text = request.form.get("token") or request.argument("token")
        authority = self.world.authority
        token = authority.access.get(text) or authority.refresh.get(text)
        if token is None or token.grant.vendor != VENDOR or token.grant.revoked:
            raise oauth_error(400, "invalid_token", "Token expired or revoked")
        request.account = token.grant.account
        token.grant.revoked = True
        request.effect = {"kind": "grant.revoked"}
        return json_response({})

    def userinfo(self, request: Request) -> Response:
        token = self.world.authority.live_access(request.bearer(), self.world.now())
        if token is None or token.grant.vendor != VENDOR:
            raise google_error(401, "Invalid Credentials", "authError")
        account = self.world.account(VENDOR, token.grant.account)
        if account is None or not IDENTITY & set(token.scopes):
            raise google_error(403, "Insufficient Permission", "insufficientPermissions")
        request.account = account.email
        answer: dict[str, Any] = {"sub": account.subject}
        if LONG_NAMES["profile"] in token.scopes:
            given, _, family = account.name.partition(" ")
            answer |= {"name": account.name, "given_name": given, "family_name": family}
        if LONG_NAMES["email"] in token.scopes:
            answer |= {"email": account.email, "email_verified": True}
        return json_response(answer)


def _redirect_allowed(client: Client, redirect_uri: str) -> bool:
    if not redirect_uri.startswith(("http://", "https://")):
        return False
    return not client.redirect_uris or redirect_uri in client.redirect_uris


def _known(scope: str) -> bool:
    return scope == "openid" or scope == "https://mail.google.com/" or scope.startswith(PREFIX)


def _check_verifier(code: Code, verifier: str) -> None:
    if code.challenge and not verifier:
        raise oauth_error(400, "invalid_grant", "Missing code verifier.")
    if verifier and not code.challenge:
        raise oauth_error(400, "invalid_grant", "code_verifier or verifier is not needed.")
    if code.challenge and challenge_of(verifier, code.challenge_method) != code.challenge:
        raise oauth_error(400, "invalid_grant", "Invalid code verifier.")
