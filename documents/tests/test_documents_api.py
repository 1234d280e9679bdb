"""The document API as a client goes through it (CONTRACT 4), with the local store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.utils import timezone

from core.errors import InvalidInput, ProviderUnavailable, RemoteMissing
from core.ids import uuid7
from documents.models import Document, DocumentUsage, Removal
from documents.services import content
from documents.storage import store
from documents.storage.local import LocalStore
from documents.tests.factories import PDF, V1, begin, fetch, make_document, objects, path_of, send, uploaded
from integrations.models import Event
from workspaces.models import AuditEvent
from workspaces.tests.fixtures import Actor, make_actor

pytestmark = pytest.mark.django_db


def told(actor: Actor) -> list[str]:
    return [str(row.type) for row in Event.objects.filter(workspace=actor.workspace).order_by("id")]


# --- the way through ----------------------------------------------------------------------------------------------


def test_upload_confirm_download_gives_the_same_bytes_as_an_attachment(member: Actor) -> None:
    begun = begin(member, fileName="Vertrag – Käthe.pdf")
    assert begun["document"] | {"id": "", "createdAt": "", "uploadedBy": ""} == {
        "id": "", "fileName": "Vertrag – Käthe.pdf", "contentType": "application/pdf", "size": len(PDF),
        "sha256": sha256(PDF).hexdigest(), "status": "pending", "rejection": None, "confirmation": None,
        "entityType": "account", "entityId": "1", "uploadedBy": "", "createdAt": "", "confirmedAt": None,
        "archivedAt": None,
    }  # fmt: skip
    assert begun["upload"]["headers"] == {"Content-Type": "application/pdf"}
    assert send(begun).status_code == 204
    ready = member.client.post(f"{V1}/{begun['document']['id']}/confirm")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    made = member.client.get(f"{V1}/{ready.json()['id']}/download").json()
    answer = fetch(made["url"])
    assert (answer.status_code, answer.body) == (200, PDF)
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"Vertrag  Kathe.pdf\"; filename*=UTF-8''Vertrag%20%E2%80%93%20K%C3%A4the.pdf"
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert told(member) == ["document.uploaded"]


def test_confirmed_document_leaves_one_object_and_nothing_to_do_but_the_upload_address(member: Actor) -> None:
    shown = uploaded(member)
    row = Document.objects.get(pk=shown["id"])
    assert objects() == [row.key]
    assert row.key.startswith(f"{member.workspace.pk}/")
    assert list(Removal.objects.values_list("key", flat=True)) == [row.upload_key]


def test_document_without_size_or_hash_learns_both_from_its_content(member: Actor) -> None:
    shown = uploaded(member, size=None, sha256=None)
    assert (shown["size"], shown["sha256"]) == (len(PDF), sha256(PDF).hexdigest())


def test_empty_file_is_a_document(member: Actor) -> None:
    shown = uploaded(member, b"", contentType="text/plain", fileName="empty.txt")
    answer = fetch(member.client.get(f"{V1}/{shown['id']}/download").json()["url"])
    assert (answer.status_code, answer.body, shown["size"]) == (200, b"", 0)


def test_config_says_what_is_taken_and_has_just_tried_the_store(member: Actor, settings: Any) -> None:
    settings.DOCUMENT_ALLOWED_TYPES = ["application/pdf", "image/*"]
    answer = member.client.get(f"{V1}/config").json()
    assert answer == {
        "configured": True, "storage": "local", "maxBytes": 104857600,
        "allowedContentTypes": ["application/pdf", "image/*"], "publicEndpoint": settings.PUBLIC_URL,
        "quotaBytes": None, "check": {"ok": True, "message": "A test object was written, read and deleted."},
    }  # fmt: skip
    assert objects() == []


def test_config_of_a_store_that_is_down_says_why(member: Actor, settings: Any, tmp_path: Any) -> None:
    (tmp_path / "documents").write_text("a file where a folder should be")
    check = member.client.get(f"{V1}/config").json()["check"]
    assert check == {"ok": False, "message": "The folder of documents cannot be used: Not a directory."}


def test_redirect_leads_to_the_file(member: Actor) -> None:
    shown = uploaded(member)
    answer = member.client.get(f"{V1}/{shown['id']}/download", {"redirect": "true"})
    assert answer.status_code == 302
    assert fetch(answer.headers["Location"]).body == PDF


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml"])
def test_what_a_browser_could_run_is_sent_as_plain_bytes_and_never_previewed(member: Actor, kind: str) -> None:
    row = make_document(member, content=b"<script>alert(1)</script>", in_store=True, content_type=kind)
    answer = fetch(member.client.get(f"{V1}/{row.pk}/download").json()["url"])
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    refused = member.client.get(f"{V1}/{row.pk}/preview")
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "no_preview")


def test_preview_of_a_pdf_is_sandboxed_and_framed_only_by_known_pages(member: Actor, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://crm.example"]
    shown = uploaded(member)
    url = member.client.get(f"{V1}/{shown['id']}/preview").json()["url"]
    answer = fetch(url)
    assert answer.headers["Content-Disposition"].startswith("inline;")
    policy = "default-src 'none'; sandbox; frame-ancestors 'self' https://crm.example"
    assert answer.headers["Content-Security-Policy"] == policy
    assert "X-Frame-Options" not in answer.headers
    assert fetch(url.replace("/preview/", "/content/")).status_code == 404


@pytest.mark.parametrize(
    ("header", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, b"%PDF", "bytes 0-3/{size}"),
        ("bytes=5-", 206, PDF[5:], "bytes 5-{last}/{size}"),
        ("bytes=-4", 206, PDF[-4:], "bytes {tail}-{last}/{size}"),
        ("bytes=0-99999", 200, PDF, None),
        ("bytes=9999-", 416, None, None),
        ("bytes=3-1", 200, PDF, None),
        ("bytes=0-1,3-4", 200, PDF, None),
        ("lines=1-2", 200, PDF, None),
    ],
)
def test_range_gives_these_bytes(
    member: Actor, header: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    shown = uploaded(member)
    answer = fetch(member.client.get(f"{V1}/{shown['id']}/download").json()["url"], Range=header)
    assert answer.status_code == status
    size = len(PDF)
    wanted = content_range and content_range.format(size=size, last=size - 1, tail=size - 4)
    assert answer.headers.get("Content-Range") == wanted
    if body is not None:
        assert answer.body == body
        assert answer.headers["Content-Length"] == str(len(body))


def test_range_of_another_version_gives_the_whole_file(member: Actor) -> None:
    shown = uploaded(member)
    url = member.client.get(f"{V1}/{shown['id']}/download").json()["url"]
    etag = fetch(url).headers["ETag"]
    assert fetch(url, Range="bytes=0-3", **{"If-Range": etag}).status_code == 206
    assert fetch(url, Range="bytes=0-3", **{"If-Range": '"older"'}).status_code == 200


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"fileName": "x" * 1000}, 400, "fileName"),
        ({"fileName": ".."}, 400, "fileName"),
        ({"fileName": "\u202e"}, 400, "fileName"),
        ({"contentType": "pdf"}, 400, "contentType"),
        ({"size": -1}, 400, "size"),
        ({"size": 5 * 1024**3}, 413, "size"),
        ({"size": 2**63}, 400, None),
        ({"sha256": "abc"}, 400, "sha256"),
        ({"entityType": "../x"}, 400, "entityType"),
        ({"entityId": "a b"}, 400, "entityId"),
        ({"key": "elsewhere"}, 400, "key"),
        ({"status": "ready"}, 400, "status"),
        ({"workspaceId": "x"}, 400, "workspaceId"),
    ],
)
def test_upload_that_is_not_right_names_the_field_and_leaves_nothing(
    member: Actor, changes: dict[str, Any], status: int, field: str | None
) -> None:
    body = {"fileName": "a.pdf", "contentType": "application/pdf", "entityType": "account", "entityId": 1, **changes}
    answer = member.client.post(f"{V1}/upload", body)
    assert answer.status_code == status, answer.content
    if field:
        assert field in answer.json()["error"]["fields"]
    assert not Document.objects.exists()


def test_upload_of_a_type_that_is_not_taken_is_refused(member: Actor, settings: Any) -> None:
    settings.DOCUMENT_ALLOWED_TYPES = ["application/pdf", "image/*"]
    body = {"fileName": "a", "entityType": "account", "entityId": 1}
    assert member.client.post(f"{V1}/upload", {**body, "contentType": "image/png"}).status_code == 201
    refused = member.client.post(f"{V1}/upload", {**body, "contentType": "text/html"})
    assert refused.status_code == 400
    assert "image/*" in refused.json()["error"]["fields"]["contentType"][0]


def test_upload_with_the_same_idempotency_key_is_one_document(member: Actor) -> None:
    body = {"fileName": "a.pdf", "contentType": "application/pdf", "entityType": "account", "entityId": 1}
    headers = {"Idempotency-Key": "once"}
    first, second = (member.client.post(f"{V1}/upload", body, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert Document.objects.count() == 1


# --- archive ------------------------------------------------------------------------------------------------------


def test_archive_turns_over_and_sets(member: Actor) -> None:
    row = make_document(member)
    address = f"{V1}/{row.pk}/archive"
    first = member.client.post(address).json()
    assert first["status"] == "archived"
    assert first["archivedAt"] is not None
    assert member.client.post(address, {"archived": True}).json() == first
    assert member.client.patch(address).json()["status"] == "ready"
    assert member.client.post(address, {"archived": False}).json()["archivedAt"] is None
    assert told(member) == ["document.archived"]
    actions = (
        AuditEvent.objects.filter(workspace=member.workspace, object_type="document")
        .order_by("id")
        .values_list("action", flat=True)
    )
    assert list(actions) == ["document.archived", "document.restored"]


@pytest.mark.parametrize("body", ["[]", "null", "0", '""', "false", '{"archived": "yes"}'])
def test_archive_of_what_is_no_object_with_a_flag_is_refused(member: Actor, body: str) -> None:
    row = make_document(member)
    answer = member.client.post(f"{V1}/{row.pk}/archive", body, content_type="application/json")
    assert answer.status_code == 400
    row.refresh_from_db()
    assert row.status == "ready"


def test_archived_document_can_still_be_downloaded_and_confirmed(member: Actor) -> None:
    shown = uploaded(member)
    member.client.post(f"{V1}/{shown['id']}/archive")
    assert fetch(member.client.get(f"{V1}/{shown['id']}/download").json()["url"]).body == PDF
    assert member.client.post(f"{V1}/{shown['id']}/confirm").json()["status"] == "archived"


@pytest.mark.parametrize("action", ["archive", "download", "preview"])
@pytest.mark.parametrize("state", ["pending", "rejected"])
def test_document_that_is_not_ready_cannot_be_used(member: Actor, action: str, state: str) -> None:
    row = make_document(member, status=state, content_type="application/pdf")
    method = member.client.post if action == "archive" else member.client.get
    answer = method(f"{V1}/{row.pk}/{action}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_ready")


# --- delete -------------------------------------------------------------------------------------------------------


def test_delete_takes_row_and_object(member: Actor) -> None:
    shown = uploaded(member)
    url = member.client.get(f"{V1}/{shown['id']}/download").json()["url"]
    assert member.client.delete(f"{V1}/{shown['id']}").status_code == 204
    assert member.client.get(f"{V1}/{shown['id']}").status_code == 404
    assert member.client.delete(f"{V1}/{shown['id']}").status_code == 404
    assert objects() == []
    assert fetch(url).status_code == 404
    assert told(member) == ["document.uploaded", "document.deleted"]


@pytest.mark.parametrize(("met", "status"), [(RemoteMissing(), 404), (ProviderUnavailable("The disk is away."), 503)])
def test_download_of_what_goes_away_just_then_is_an_answer(
    member: Actor, monkeypatch: pytest.MonkeyPatch, met: Exception, status: int
) -> None:
    """Between the look at its size and its first byte; not a 200 that breaks off."""
    url = member.client.get(f"{V1}/{uploaded(member)['id']}/download").json()["url"]

    def gone(*_: object, **__: object) -> Iterator[bytes]:
        raise met
        yield b""

    monkeypatch.setattr(LocalStore, "read", gone)
    assert fetch(url).status_code == status


def test_delete_of_what_another_uploaded_is_for_admins(owner: Actor, admin: Actor, member: Actor) -> None:
    rows = [make_document(member) for _ in range(2)]
    colleague = make_actor(workspace=member.workspace)
    assert colleague.client.delete(f"{V1}/{rows[0].pk}").status_code == 403
    assert admin.client.delete(f"{V1}/{rows[0].pk}").status_code == 204
    assert owner.client.delete(f"{V1}/{rows[1].pk}").status_code == 204


# --- quota --------------------------------------------------------------------------------------------------------


def test_quota_counts_what_is_announced_and_given_back(member: Actor, settings: Any) -> None:
    settings.DOCUMENT_QUOTA_BYTES = 2 * len(PDF)
    first, second = begin(member), uploaded(member)
    refused = member.client.post(
        f"{V1}/upload",
        {"fileName": "a", "contentType": "text/plain", "entityType": "a", "entityId": 1, "size": 1},
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "quota_exceeded")
    assert Document.objects.count() == 2
    member.client.delete(f"{V1}/{first['document']['id']}")
    member.client.delete(f"{V1}/{second['id']}")
    assert DocumentUsage.objects.get(workspace=member.workspace).size == 0


def test_quota_of_a_file_whose_size_was_not_announced_counts_when_it_is_confirmed(member: Actor, settings: Any) -> None:
    settings.DOCUMENT_QUOTA_BYTES = len(PDF)
    uploaded(member, size=None)
    late = begin(member, size=None)
    send(late)
    address = f"{V1}/{late['document']['id']}/confirm"
    assert member.client.post(address).json()["error"]["code"] == "quota_exceeded"
    settings.DOCUMENT_QUOTA_BYTES = 0
    assert member.client.post(address).json()["status"] == "ready"
    assert DocumentUsage.objects.get(workspace=member.workspace).size == 2 * len(PDF)


# --- signed addresses ---------------------------------------------------------------------------------------------


def test_upload_address_takes_only_what_was_announced(member: Actor) -> None:
    begun = begin(member)
    for sent, code in ((PDF + b"x", "size_mismatch"), (PDF[:-1] + b"x", "hash_mismatch")):
        answer = send(begun, sent)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    begun["upload"]["headers"]["Content-Type"] = "text/html"
    assert send(begun).json()["error"]["code"] == "type_mismatch"
    assert objects() == []


def test_upload_to_the_local_store_is_one_request_whatever_is_asked(member: Actor) -> None:
    begun = begin(member, parts=True)
    assert set(begun["upload"]) == {"method", "url", "headers", "expiresAt"}
    assert send(begun).status_code == 204
    answer = member.client.get(f"{V1}/{begun['document']['id']}/parts")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_in_parts")


def test_upload_in_parts_without_a_size_names_the_field(member: Actor) -> None:
    body = {"fileName": "a.pdf", "contentType": "application/pdf", "entityType": "account", "entityId": 1}
    answer = member.client.post(f"{V1}/upload", body | {"parts": True})
    assert (answer.status_code, list(answer.json()["error"]["fields"])) == (400, ["size"])


def test_upload_address_without_a_size_stops_at_the_limit(member: Actor, settings: Any) -> None:
    settings.DOCUMENT_MAX_BYTES = 10
    begun = begin(member, size=None, sha256=None)
    assert send(begun, b"x" * 11).status_code == 413
    assert send(begun, b"x" * 10).status_code == 204


def test_upload_that_breaks_off_leaves_nothing(member: Actor) -> None:
    begun = begin(member)
    link = begun["upload"]["url"].rsplit("/", 1)[1]
    grant = content.check(link, length=len(PDF), content_type="application/pdf")
    with pytest.raises(InvalidInput) as refusal:
        content.receive(grant, iter([PDF[:4], PDF[4:-1]]), length=len(PDF))
    assert refusal.value.code == "upload_incomplete"
    assert objects() == []
    assert list(store().halves.iterdir()) == []  # type: ignore[attr-defined]
    assert member.client.post(f"{V1}/{begun['document']['id']}/confirm").json()["error"]["code"] == "upload_missing"


def test_signed_address_that_is_changed_old_or_for_something_else_is_refused(
    member: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, shown = begin(member), uploaded(member)
    up, down = begun["upload"]["url"], member.client.get(f"{V1}/{shown['id']}/download").json()["url"]
    assert fetch(up).json()["error"]["code"] == "link_invalid"
    assert send({"upload": {**begun["upload"], "url": down}}).json()["error"]["code"] == "link_invalid"
    for position in (60, 90, -1):
        letters = list(down)
        letters[position] = "A" if letters[position] != "A" else "B"
        assert fetch("".join(letters)).status_code == 403
    later = timezone.now() + timedelta(minutes=5, seconds=1)
    monkeypatch.setattr("documents.storage.links.time.time", later.timestamp)
    assert fetch(down).json()["error"]["code"] == "link_expired"
    assert send(begun).json()["error"]["code"] == "link_expired"


def test_pages_that_may_call_the_api_may_send_to_the_address(member: Actor, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://crm.example"]
    begun = begin(member)
    answer = member.client.options(
        path_of(begun["upload"]["url"]),
        headers={"Origin": "https://crm.example", "Access-Control-Request-Method": "PUT"},
    )
    assert answer.headers["Access-Control-Allow-Origin"] == "https://crm.example"
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]


def test_unknown_document_is_404_whatever_is_asked(member: Actor) -> None:
    for path in ("", "/download", "/preview"):
        assert member.client.get(f"{V1}/{uuid7()}{path}").status_code == 404
