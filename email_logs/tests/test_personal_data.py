"""One person's data in the logs: all of it is shown and can be erased, and nothing of anybody else is touched."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.utils import timezone

from core.ids import uuid7
from core.work import WorkStatus
from email_logs import tasks
from email_logs.models import (
    DeliveryEvent,
    EmailLogEntry,
    EmailLogTable,
    OutgoingEmail,
    PersonalDataErasure,
    Suppression,
)
from email_logs.services import erasing, following, personal_data, suppressions, tables
from email_logs.services.following import START
from email_logs.states import State
from email_logs.tests.logged import entry, log_table, new_entry
from integrations.models import Integration, Visibility
from integrations.tests.factories import ConnectionFactory
from workspaces.models import AuditEvent, Workspace
from workspaces.tests.fixtures import Actor

pytestmark = pytest.mark.django_db(transaction=True)

ADA = "ada@x.example"
API = "/api/personal-data"
EVERYWHERE = ("email_logs_emaillogentry", "email_logs_deliveryevent", "email_logs_suppression", "workspaces_auditevent",
              "email_logs_personaldataerasure", "email_logs_outgoingemail")  # fmt: skip


def mail_table(workspace: Workspace) -> EmailLogTable:
    made = Integration.objects.create(workspace=workspace, name="Mail", type="EMAIL_PROVIDER")
    return tables.of_integration(made)


def told(table: EmailLogTable, of: EmailLogEntry | None, *recipients: str, words: str = "") -> DeliveryEvent:
    return DeliveryEvent.objects.create(
        workspace_id=table.workspace_id, table=table, entry_id=of and of.pk, event_key=str(uuid7()), kind="bounced",
        at=timezone.now(), recipients=list(recipients), words=words,
    )  # fmt: skip


def shown(actor: Actor, address: str = ADA) -> Any:
    response = actor.client.get(API, query_params={"address": address})
    assert response.status_code == 200, response
    return json.loads(b"".join(response.streaming_content))


def erase(actor: Actor, address: str = ADA) -> Any:
    response = actor.client.post(f"{API}/erase", {"address": address})
    assert response.status_code == 200, response.content
    return response.json()


def still_there(text: str) -> list[str]:
    """Tables in which it stands anywhere."""
    found = []
    with database.cursor() as cursor:
        for name in EVERYWHERE:
            cursor.execute(f'SELECT count(*) FROM "{name}" AS row WHERE row::text ILIKE %s', [f"%{text}%"])
            found += [name] if cursor.fetchone()[0] else []
    return found


# --- shown ------------------------------------------------------------------------------------------------------------


def test_all_that_is_held_is_shown_and_nothing_of_others(owner: Actor, outsider: Actor) -> None:
    table = mail_table(owner.workspace)
    to = entry(table, to=f"Ada <{ADA.upper()}>, bob@x.example", subject="Hello Ada", state=State.BOUNCED)
    copies = [entry(table, to="bob@x.example", **{name: ADA}) for name in ("cc", "bcc")]
    sent = entry(table, to="bob@x.example", sender=ADA)
    for other in ("bada@x.example", "ada@x.example.org", "ada+x@x.example"):
        entry(table, to=other)
    entry(mail_table(outsider.workspace), to=ADA)
    told(table, to, ADA, words="550 no")
    orphan = told(table, None, "Ada@X.example")
    told(table, None, "bob@x.example")
    Suppression.objects.create(workspace=owner.workspace, address=ADA, reason="bounced", words="550 no")
    found = shown(owner)
    assert {row["id"] for row in found["entries"]} == {str(row.pk) for row in (to, *copies, sent)}
    [first] = [row for row in found["entries"] if row["id"] == str(to.pk)]
    assert first["columns"]["Subject"] == "Hello Ada"
    assert first["columns"]["Status"] == "failed"
    assert [event["words"] for event in first["events"]] == ["550 no"]
    assert [event["recipients"] for event in found["events"]] == [orphan.recipients]
    assert (found["suppression"]["reason"], found["hidden"]) == ("bounced", 0)


def test_mail_of_a_users_own_mailbox_is_shown_as_far_as_its_user_allows(owner: Actor, member: Actor) -> None:
    table = log_table(owner.workspace, "imap")
    for visibility in Visibility.values:
        box = ConnectionFactory(user=member.user, workspace=member.workspace, visibility=visibility)
        entry(table, to="bob@x.example", bcc=ADA, subject=visibility, connection_id=box.pk)
    found = shown(owner)
    assert found["hidden"] == 1
    columns = {row["columns"]["Subject"]: row["columns"] for row in found["entries"]}
    assert set(columns) == {"metadata", "full"}
    assert (columns["metadata"]["BCC"], columns["full"]["BCC"]) == (None, ADA)


@pytest.mark.parametrize("address", ["", "ada", "ada@", "@x.example", "a b@x.example", "a@x,b@x", "%"])
def test_what_is_no_address_is_refused(owner: Actor, address: str) -> None:
    for response in (
        owner.client.get(API, query_params={"address": address}),
        owner.client.post(f"{API}/erase", {"address": address}),
    ):
        assert response.status_code == 400
        assert "address" in response.json()["error"]["fields"]
    assert not AuditEvent.objects.filter(action__startswith="personal_data").exists()


# --- erased -----------------------------------------------------------------------------------------------------------


def test_erased_address_stands_nowhere_any_more_and_others_stay_as_they_were(owner: Actor) -> None:
    table = mail_table(owner.workspace)
    alone = entry(table, to=ADA, subject="Your diagnosis", error=f"550 <{ADA}>: no", state=State.BOUNCED)
    both = entry(table, to=f'"Lovelace, Ada" <{ADA}>, bob@x.example', cc="c@x.example", subject=f"For {ADA} and Bob",
                 error=f"550 <{ADA.upper()}>: no")  # fmt: skip
    other = entry(table, to="ada+x@x.example", subject="kept", error="kept")
    events = [
        told(table, alone, ADA, words=f"550 {ADA}"),
        told(table, both, ADA, "bob@x.example", words=f"no {ADA}, bob"),
        told(table, None, ADA),
        told(table, other, ADA, words="a forward"),
    ]
    Suppression.objects.create(workspace=owner.workspace, address=ADA, reason="bounced", words=f"550 {ADA}")
    before = EmailLogEntry.objects.filter(pk=other.pk).values().get()
    answer = erase(owner, "Ada@X.Example")
    counts = {name: answer[name] for name in ("status", "entries", "events", "suppressions", "waiting")}
    assert counts == {"status": "done", "entries": 2, "events": 4, "suppressions": 1, "waiting": 0}
    assert still_there(ADA) == []
    alone.refresh_from_db()
    both.refresh_from_db()
    assert (alone.to, alone.subject, alone.error, alone.state) == ("(erased)", "", "", "bounced")
    assert (both.to, both.cc) == ("(erased), bob@x.example", "c@x.example")
    assert (both.subject, both.error) == ("For (erased) and Bob", "550 <(erased)>: no")
    assert EmailLogEntry.objects.filter(pk=other.pk).values().get() == before
    rows = [DeliveryEvent.objects.get(pk=event.pk) for event in events]
    assert [(row.recipients, row.words) for row in rows] == [
        (["(erased)"], ""),
        (["(erased)", "bob@x.example"], "no (erased), bob"),
        (["(erased)"], ""),
        (["(erased)"], ""),
    ]


def test_erased_again_finds_nothing_and_stays_quiet(owner: Actor) -> None:
    entry(mail_table(owner.workspace), to=ADA)
    while erase(owner)["status"] != "done":  # a request works for two seconds; on a busy machine the next goes on
        pass
    again = erase(owner)
    assert (again["entries"], again["events"], again["status"]) == (0, 0, "done")
    assert shown(owner)["entries"] == []


def test_erased_person_is_still_not_written_to(owner: Actor, outsider: Actor) -> None:
    for actor in (owner, outsider):
        Suppression.objects.create(workspace=actor.workspace, address=ADA, reason="unsubscribed", words="by hand")
    erase(owner)
    assert suppressions.suppressed(owner.workspace.pk, [ADA, "bob@x.example"]) == {ADA: "unsubscribed"}
    assert shown(owner)["suppression"]["reason"] == "unsubscribed"
    assert Suppression.objects.get(workspace=outsider.workspace).address == ADA
    erase(owner)
    assert suppressions.suppressed(owner.workspace.pk, [ADA]) == {ADA: "unsubscribed"}


def test_erasure_is_a_change_that_followers_see(owner: Actor) -> None:
    table = mail_table(owner.workspace)
    row = entry(table, to=ADA)
    row.refresh_from_db()
    place = following.place_of(row)
    assert not following.after(place, table_id=table.pk).exists()
    erase(owner)
    assert [found.to for found in following.after(place, table_id=table.pk)] == ["(erased)"]


def test_audit_names_the_erasure_and_not_the_address(owner: Actor) -> None:
    entry(mail_table(owner.workspace), to=ADA)
    shown(owner)
    erase(owner)
    rows = AuditEvent.objects.filter(action__startswith="personal_data.").order_by("id")
    assert [row.action for row in rows] == [
        "personal_data.exported",
        "personal_data.erased",
        "personal_data.erasure_finished",
    ]
    assert len({row.changes["address"] for row in rows}) == 1
    assert rows[2].changes["entries"] == 1
    assert not any(ADA in json.dumps(row.changes) for row in rows)


def test_long_erasure_goes_on_in_the_background_and_survives_a_kill(
    owner: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = mail_table(owner.workspace)
    monkeypatch.setattr(personal_data, "CHUNK", 10)
    monkeypatch.setattr(erasing, "INLINE_SECONDS", 0.0)
    EmailLogEntry.objects.bulk_create([new_entry(table, to=ADA if n % 3 else "bob@x.example") for n in range(100)])
    response = owner.client.post(f"{API}/erase", {"address": ADA})
    assert response.status_code == 202
    begun = response.json()
    assert (begun["status"], begun["done"]) == ("queued", 10)
    same = owner.client.post(f"{API}/erase", {"address": ADA.upper()}).json()
    assert same["id"] == begun["id"]  # it goes on, it is not doubled
    stretch = erasing._erase_entries

    def dies_after_its_stretch(*given: Any) -> None:
        stretch(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "_erase_entries", dies_after_its_stretch)
        with pytest.raises(KeyboardInterrupt):
            erasing.work(begun["id"])
    PersonalDataErasure.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert [str(pk) for pk in erasing.due()] == [begun["id"]]
    for _ in range(50):
        tasks.run_erasure(begun["id"])
    done = owner.client.get(f"{API}/erasures/{begun['id']}").json()
    assert (done["status"], done["entries"]) == ("done", 66)
    assert done["done"] == done["total"] >= 100
    assert still_there(ADA) == []
    assert PersonalDataErasure.objects.get().address is None


# --- mail that has not left -------------------------------------------------------------------------------------------


def outgoing(table: EmailLogTable, row: EmailLogEntry, **columns: Any) -> OutgoingEmail:
    people = {name: [part for part in getattr(row, name).split(", ") if part] for name in ("to", "cc", "bcc")}
    given = {**people, "subject": row.subject, "body": "x"}
    mail = {"given": given, "sender": row.sender, "senderName": "", "note": ""}
    ids = {"entry_id": row.pk, "workspace_id": table.workspace_id}
    return OutgoingEmail.objects.create(table=table, mail=mail, **ids, **columns)


def test_mail_that_waits_leaves_without_the_person_or_not_at_all(owner: Actor) -> None:
    table = mail_table(owner.workspace)
    alone, both = (entry(table, to=to, state=State.QUEUED) for to in (ADA, f"{ADA}, bob@x.example"))
    outgoing(table, alone)
    outgoing(table, both)
    assert erase(owner)["mails"] == 2
    gone, kept = (OutgoingEmail.objects.get(pk=row.pk) for row in (alone, both))
    assert (gone.status, gone.mail, gone.error_code) == ("failed", None, "erased")
    alone.refresh_from_db()
    assert (alone.state, alone.error) == ("failed", "Not sent: its recipient's address was erased.")
    assert (kept.status, kept.mail["given"]["to"]) == ("queued", ["bob@x.example"])


@pytest.mark.parametrize(
    "columns",
    [{"status": WorkStatus.RUNNING, "lease_until": timezone.now() + timedelta(hours=1)}, {"called_at": timezone.now()}],
    ids=["being sent", "seen by its provider"],
)
def test_mail_that_is_with_its_provider_is_looked_at_again_once_it_is_settled(owner: Actor, columns: Any) -> None:
    table = mail_table(owner.workspace)
    row = entry(table, to=ADA, state=State.QUEUED)
    work = outgoing(table, row, **columns)
    response = owner.client.post(f"{API}/erase", {"address": ADA})
    assert (response.status_code, response.json()["waiting"]) == (202, 1)
    assert erasing.due() == []
    OutgoingEmail.objects.filter(pk=work.pk).update(status=WorkStatus.DONE, mail=None)
    PersonalDataErasure.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    tasks.run_erasure(response.json()["id"])
    done = PersonalDataErasure.objects.get()
    assert (done.status, done.waiting, done.mails) == ("done", [], 0)


# --- how much it costs ------------------------------------------------------------------------------------------------


def test_stretch_is_one_query_that_brings_only_who_is_named(owner: Actor) -> None:
    table = mail_table(owner.workspace)
    EmailLogEntry.objects.bulk_create([new_entry(table) for _ in range(50)])
    row = entry(table, to=ADA)
    found = personal_data.stretch(table.pk, START, ADA)
    assert (found.ids, found.seen) == ([row.pk], 51)


@pytest.mark.parametrize("role", ["admin", "member"])
def test_only_owners_see_or_erase(request: pytest.FixtureRequest, role: str) -> None:
    actor = request.getfixturevalue(role)
    assert actor.client.get(API, query_params={"address": ADA}).status_code == 403
    assert actor.client.post(f"{API}/erase", {"address": ADA}).status_code == 403


def test_erasure_of_another_workspace_is_not_there(owner: Actor, outsider: Actor) -> None:
    begun = erase(owner)
    assert outsider.client.get(f"{API}/erasures/{begun['id']}").status_code == 404
    assert outsider.client.get(f"{API}/erasures/x").status_code == 404
