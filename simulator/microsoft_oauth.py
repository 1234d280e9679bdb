"""Microsoft's OAuth 2.0 endpoints (Entra ID v2.0), OIDC userinfo and Graph's /me.

What clients must cope with and what is therefore kept: no refresh token without offline_access; every refresh brings a
new one, and the old one stays valid or dies at once (`microsoft_rotation`); consent is all or nothing; errors are
AADSTS numbers in `error_codes`; there is no revocation endpoint.
"""

from __future__ import annotations

import re
import time
from typing import Any

from simulator.consent import Asked, answer_of, consent_page, error_page, granted, send_back
from simulator.errors import AADSTS, Refusal, aad_error, graph_error
from simulator.grants import AccessToken, Client, Code, Grant, RefreshToken, challenge_of
from simulator.routing import Router
from simulator.state import Account, AutoConsent, World
from simulator.wire import Request, Response, json_response

VENDOR = "microsoft"
GRAPH = "https://graph.microsoft.com/"
OIDC = ("openid", "profile", "email", "offline_access")
# Properties of a user that come only when $select names them.
ON_DEMAND = {"proxyAddresses", "otherMails"}
TENANT = re.compile(r"common|organizations|consumers|[0-9a-f-]{36}|[\w-]+(\.[\w-]+)+", re.IGNORECASE)
SCOPE = re.compile(r"[A-Za-z]+(\.[A-Za-z]+)+")


def register(router: Router, world: World) -> None:
    microsoft = MicrosoftOAuth(world)
    for method in ("GET", "POST"):
        path = "/{tenant}/oauth2/v2.0/authorize"
        router.add(method, path, VENDOR, "microsoft.oauth.authorize", microsoft.authorize)
        router.add(method, "/oidc/userinfo", VENDOR, "microsoft.oidc.userinfo", microsoft.userinfo)
    router.add("POST", "/{tenant}/oauth2/v2.0/token", VENDOR, "microsoft.oauth.token", microsoft.token)
    router.add("GET", "/v1.0/me", VENDOR, "graph.me", microsoft.me)


class MicrosoftOAuth:
    def __init__(self, world: World) -> None:
        self.world = world

    def _refuse(self, status: int, error: str, code: int, detail: str = "") -> Refusal:
        return aad_error(status, error, code, self.world.stamp(), detail)

    # Authorize

    def authorize(self, request: Request) -> Response:
        if not TENANT.fullmatch(request.params["tenant"]):
            return error_page(VENDOR, 400, "invalid_request", f"AADSTS90023: {AADSTS[90023]}")
        client = self.world.authority.clients.get((VENDOR, request.argument("client_id")))
        redirect_uri, state = request.argument("redirect_uri"), request.argument("state")
        if client is None:
            return error_page(VENDOR, 400, "unauthorized_client", f"AADSTS700016: {AADSTS[700016]}")
        if not redirect_uri.startswith("http") or (client.redirect_uris and redirect_uri not in client.redirect_uris):
            return error_page(VENDOR, 400, "invalid_request", f"AADSTS50011: {AADSTS[50011]}")
        if request.argument("response_type") != "code" or request.argument("response_mode", "query") != "query":
            text = "AADSTS90023: only response_type=code with response_mode=query is imitated"
            return send_back(redirect_uri, error="unsupported_response_type", error_description=text, state=state)
        scopes = [short_name(scope) for scope in request.argument("scope").split()]
        if not scopes or not all(_known(scope) for scope in scopes):
            text = f"AADSTS70011: {AADSTS[70011]}"
            return send_back(redirect_uri, error="invalid_scope", error_description=text, state=state)
        return self._decide(request, client, scopes)

    def _decide(self, request: Request, client: Client, scopes: list[str]) -> Response:
        fixed = [scope for scope in scopes if scope in OIDC]
        optional = [scope for scope in scopes if scope not in OIDC]
        asked = Asked(VENDOR, client.client_id, fixed, optional, False, request.argument("login_hint"))
        answer = answer_of(self.world, VENDOR, request)
        redirect_uri, state = request.argument("redirect_uri"), request.argument("state")
        if answer is None and request.argument("prompt") == "none":
            return send_back(redirect_uri, error="interaction_required", state=state)
        if answer is None:
            return consent_page(self.world, asked, request)
        if answer.deny:
            text = f"AADSTS65004: {AADSTS[65004]}"
            return send_back(redirect_uri, error="access_denied", error_description=text, state=state)
        return self._consent(request, client, asked, answer)

    def _consent(self, request: Request, client: Client, asked: Asked, answer: AutoConsent) -> Response:
        account = self.world.account(VENDOR, answer.email)
        if account is None:
            return error_page(VENDOR, 400, "invalid_request", f"No such account here: {answer.email}")
        request.account = account.email
        scopes = granted(asked, answer)
        authority = self.world.authority
        grant = authority.consent(VENDOR, client.client_id, account.email, scopes)
        code = Code(
            grant,
            request.argument("redirect_uri"),
            scopes,
            self.world.now() + self.world.settings.code_seconds,
            request.argument("code_challenge"),
            request.argument("code_challenge_method") or "plain",
            offline="offline_access" in scopes,
        )
        text = authority.issue_code(code, "0.AX")
        request.effect = {"kind": "consent", "scopes": scopes}
        session = account.subject
        return send_back(code.redirect_uri, code=text, state=request.argument("state"), session_state=session)

    # Token

    def token(self, request: Request) -> Response:
        client = self._authenticate(request)
        match request.form.get("grant_type", ""):
            case "authorization_code":
                return self._redeem(request, client)
            case "refresh_token":
                return self._refresh(request, client)
            case "":
                raise self._refuse(400, "invalid_request", 900144)
            case other:
                raise self._refuse(400, "unsupported_grant_type", 70003, f"{AADSTS[70003]} '{other}'.")

    def _authenticate(self, request: Request) -> Client:
        client_id, secret = request.client_credentials()
        client = self.world.authority.clients.get((VENDOR, client_id))
        if client is None:
            raise self._refuse(400, "unauthorized_client", 700016)
        if not secret:
            raise self._refuse(401, "invalid_client", 7000218)
        if secret != client.secret:
            raise self._refuse(401, "invalid_client", 7000215)
        return client

    def _redeem(self, request: Request, client: Client) -> Response:
        code = self.world.authority.codes.get(request.form.get("code", ""))
        if code is None or code.grant.vendor != VENDOR or code.grant.client_id != client.client_id:
            raise self._refuse(400, "invalid_grant", 70000)
        request.account = code.grant.account
        if code.used:
            raise self._refuse(400, "invalid_grant", 54005)
        if code.expires_at <= self.world.now():
            raise self._refuse(400, "invalid_grant", 70008)
        if request.form.get("redirect_uri", "") != code.redirect_uri:
            raise self._refuse(400, "invalid_grant", 500112)
        verifier = request.form.get("code_verifier", "")
        if code.challenge and challenge_of(verifier, code.challenge_method) != code.challenge:
            raise self._refuse(400, "invalid_grant", 501481)
        if code.grant.revoked:
            raise self._refuse(400, "invalid_grant", 50173)
        code.used = True
        scopes = self._narrowed(request, code.grant, code.scopes)
        refresh = self._new_refresh_token(code.grant, code.scopes) if code.offline else None
        request.effect = {"kind": "token.issued", "by": "code", "refresh_token": code.offline}
        return self._issue(code.grant, scopes, refresh, request.form.get("claims", ""))

    def _narrowed(self, request: Request, grant: Grant, scopes: list[str]) -> list[str]:
        """The scopes of this token: those named in the request if it names any, all of them consented to."""
        named = [short_name(scope) for scope in request.form.get("scope", "").split()]
        if set(named) - grant.scopes - set(OIDC):
            raise self._refuse(400, "invalid_grant", 65001)
        return named or scopes

    def _new_refresh_token(self, grant: Grant, scopes: list[str], family: int = 0) -> RefreshToken:
        expires_at = self.world.now() + self.world.settings.microsoft_refresh_token_seconds
        return self.world.authority.issue_refresh(grant, scopes, expires_at, "1.AX", family)

    def _refresh(self, request: Request, client: Client) -> Response:
        token = self.world.authority.refresh.get(request.form.get("refresh_token", ""))
        if token is None or token.grant.vendor != VENDOR or token.grant.client_id != client.client_id:
            raise self._refuse(400, "invalid_grant", 70000)
        request.account = token.grant.account
        if token.grant.revoked or token.family in self.world.authority.dead_families:
            raise self._refuse(400, "invalid_grant", 50173)
        if token.expires_at <= self.world.now():
            raise self._refuse(400, "invalid_grant", 700082)
        if token.used and self.world.settings.microsoft_rotation == "strict":
            self.world.authority.kill_family(token.family)
            request.effect = {"kind": "family.revoked"}
            raise self._refuse(400, "invalid_grant", 50173)
        scopes = self._narrowed(request, token.grant, token.scopes)
        token.used = True
        successor = self._new_refresh_token(token.grant, token.scopes, token.family)
        request.effect = {"kind": "token.issued", "by": "refresh", "claims": request.form.get("claims", "")}
        return self._issue(token.grant, scopes, successor, request.form.get("claims", ""))

    def _issue(self, grant: Grant, scopes: list[str], refresh: RefreshToken | None, claims: str) -> Response:
        """The returned scopes never include offline_access."""
        life = self.world.settings.microsoft_access_token_seconds
        family = refresh.family if refresh else 0
        token = self.world.authority.issue_access(grant, scopes, self.world.now() + life, "EwB", family)
        token.claims = claims
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "scope": " ".join(self._shown(scope) for scope in scopes if scope != "offline_access"),
            "expires_in": life,
            "ext_expires_in": life,
            "access_token": token.token,
        }
        if refresh:
            answer["refresh_token"] = refresh.token
        return json_response(answer, headers={"Cache-Control": "no-store"})

    def _shown(self, scope: str) -> str:
        if scope in OIDC or self.world.settings.microsoft_scope_style == "short":
            return scope
        return GRAPH + scope

    # Who it is

    def me(self, request: Request) -> Response:
        token, account = self._caller(request)
        if not any(scope.lower().startswith("user.read") for scope in token.scopes):
            raise graph_error(
                403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.", self._when()
            )  # fmt: skip
        given, _, family = account.name.partition(" ")
        wanted = {name.strip().lower() for name in request.argument("$select").split(",") if name.strip()}
        return json_response(
            _chosen(
                wanted,
                {
                    "@odata.context": f"{GRAPH}v1.0/$metadata#users/$entity",
                    "businessPhones": [],
                    "displayName": account.name,
                    "givenName": given,
                    "jobTitle": None,
                    "mail": account.email,
                    "mobilePhone": None,
                    "officeLocation": None,
                    "preferredLanguage": None,
                    "surname": family,
                    "userPrincipalName": account.email,
                    "id": account.subject,
                    "proxyAddresses": [f"SMTP:{account.email}", *(f"smtp:{alias}" for alias in account.aliases)],
                    "otherMails": [],
                },
            )
        )

    def userinfo(self, request: Request) -> Response:
        token, account = self._caller(request)
        given, _, family = account.name.partition(" ")
        answer: dict[str, Any] = {"sub": account.subject}
        if "profile" in token.scopes:
            answer |= {"name": account.name, "given_name": given, "family_name": family}
        if "email" in token.scopes:
            answer["email"] = account.email
        return json_response(answer)

    def _caller(self, request: Request) -> tuple[AccessToken, Account]:
        text = request.bearer()
        if not text:
            raise graph_error(401, "InvalidAuthenticationToken", "Access token is empty.", self._when())
        token = self.world.authority.live_access(text, self.world.now())
        account = self.world.account(VENDOR, token.grant.account) if token else None
        if token is None or account is None or token.grant.vendor != VENDOR:
            message = "Lifetime validation failed, the token is expired."
            raise graph_error(401, "InvalidAuthenticationToken", message, self._when())
        request.account = account.email
        return token, account

    def _when(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.world.now()))


def short_name(scope: str) -> str:
    """Graph scopes may come with or without the resource in front."""
    return scope[len(GRAPH) :] if scope.lower().startswith(GRAPH) else scope


def _chosen(wanted: set[str], user: dict[str, Any]) -> dict[str, Any]:
    """What $select names; else the properties a user has by default."""
    if not wanted:
        return {name: value for name, value in user.items() if name not in ON_DEMAND}
    return {name: value for name, value in user.items() if name == "@odata.context" or name.lower() in wanted}


def _known(scope: str) -> bool:
    return scope in OIDC or bool(SCOPE.fullmatch(scope))
