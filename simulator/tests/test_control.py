"""The control API: accounts, mailboxes behind the hub's back, settings, ledger; and that a seed repeats itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from simulator.process import Simulator, SimulatorError
from simulator.routing import Router
from simulator.state import World
from simulator.tests.factories import GmailApi, connect_google, message, send
from simulator.wire import Response

ADA = "ada@hub.example"


@dataclass
class Memory:
    names: list[str] = field(default_factory=list)


def test_env_points_every_address_at_this_server(simulator: Simulator) -> None:
    env = simulator.env()
    addresses = [value for name, value in env.items() if name.endswith("_URL")]
    assert len(addresses) == 16
    assert all(value.startswith(simulator.base_url) for value in addresses)
    assert env["EGRESS_ALLOW_CIDRS"] == "127.0.0.0/8,::1/128"


def test_account_seeded_has_exactly_the_messages_asked_for(simulator: Simulator) -> None:
    account = simulator.create_account("google", ADA, messages=321)
    mailbox = simulator.mailbox(ADA)
    assert account["messages"] == len(mailbox["messages"]) == 321
    assert len({item["id"] for item in mailbox["messages"]}) == 321
    dates = [item["internal_date"] for item in mailbox["messages"]]
    assert dates == sorted(dates, reverse=True)


def test_account_with_the_same_seed_is_the_same_mailbox(simulator: Simulator) -> None:
    mailboxes = []
    for seed in (7, 7, 8):
        simulator.reset(seed=1)
        simulator.create_account("google", ADA, messages=60, seed=seed)
        mailboxes.append(simulator.mailbox(ADA))
    assert mailboxes[0] == mailboxes[1]
    assert mailboxes[0] != mailboxes[2]


def test_account_twice_or_of_no_vendor_is_refused(simulator: Simulator) -> None:
    simulator.create_account("google", ADA)
    with pytest.raises(SimulatorError, match="exists"):
        simulator.create_account("google", ADA)
    with pytest.raises(SimulatorError, match="vendor"):
        simulator.create_account("yahoo", ADA)
    with pytest.raises(SimulatorError, match="no such account"):
        simulator.mailbox("nobody@hub.example")


def test_account_deleted_takes_its_grants_along(ada: GmailApi) -> None:
    ada.simulator.delete_account("google", ada.email)
    assert ada.call("GET", "/profile").status == 401
    assert ada.simulator.accounts() == []


def test_deliver_eml_files_with_their_own_dates_and_labels(simulator: Simulator, tmp_path: Path) -> None:
    simulator.create_account("google", ADA)
    path = tmp_path / "one.eml"
    path.write_bytes(message("From a file", Date="Tue, 03 Feb 2015 10:00:00 +0100"))
    delivered = simulator.load_eml(ADA, [path], labels=["INBOX", "Archive 2015"])[0]
    mailbox = simulator.mailbox(ADA)
    assert mailbox["messages"] == [delivered]
    assert delivered["internal_date"] == 1_422_954_000_000
    names = {label["id"]: label["name"] for label in mailbox["labels"]}
    assert {names[label] for label in delivered["labels"]} == {"INBOX", "Archive 2015"}
    assert simulator.raw(ADA, delivered["id"]) == path.read_bytes()


def test_deliver_takes_a_plain_message_body_too(simulator: Simulator) -> None:
    simulator.create_account("google", ADA)
    target = f"/_control/accounts/google/{ADA}/messages?label=INBOX&label=STARRED"
    answer = send(simulator, "POST", target, headers={"Content-Type": "message/rfc822"}, body=message())
    assert answer.json["messages"][0]["labels"] == ["INBOX", "STARRED"]


def test_settings_unknown_or_of_another_type_are_refused_whole(simulator: Simulator) -> None:
    for change in ({"code_seconds": "soon"}, {"colour": 1}):
        with pytest.raises(SimulatorError, match="no such setting"):
            simulator.settings(google_access_token_seconds=5, **change)
    assert simulator.settings()["google_access_token_seconds"] == 3599


def test_ledger_keeps_who_did_what_and_can_be_filtered(ada: GmailApi) -> None:
    ada.get("/profile")
    identity = ada.deliver()["id"]
    ada.post(f"/messages/{identity}/modify", {"addLabelIds": ["STARRED"]})
    entry = ada.simulator.ledger(operation="gmail.users.messages.modify")[0]
    assert (entry["vendor"], entry["account"], entry["status"]) == ("google", ada.email, 200)
    assert entry["effect"] == {"kind": "message.modified", "id": identity, "add": ["STARRED"], "remove": []}
    assert [item["seq"] for item in ada.simulator.ledger(since=entry["seq"] - 1)] == [entry["seq"]]
    assert ada.simulator.ledger(account="nobody@hub.example") == []
    assert len(ada.simulator.ledger(target="/profile")) == 1
    assert ada.simulator.summary()["gmail.users.getProfile"] == {"200": 1}
    ada.simulator.clear_ledger()
    assert ada.simulator.ledger() == []


def test_ledger_names_the_account_of_token_requests(ada: GmailApi) -> None:
    entry = ada.simulator.ledger(operation="google.oauth.token")[0]
    assert entry["account"] == ada.email
    assert entry["effect"] == {"kind": "token.issued", "by": "code", "refresh_token": True}


def test_grants_show_what_was_consented(ada: GmailApi) -> None:
    grant = ada.simulator.grants()[0]
    assert (grant["account"], grant["revoked"]) == (ada.email, False)
    assert "https://mail.google.com/" in grant["scopes"]


def test_reset_leaves_nothing_behind(ada: GmailApi) -> None:
    ada.simulator.settings(gmail_quota_units_per_minute=1)
    ada.simulator.fault("status", status=500)
    ada.simulator.reset()
    assert ada.simulator.accounts() == ada.simulator.faults() == ada.simulator.ledger() == []
    assert ada.simulator.settings()["gmail_quota_units_per_minute"] == 0
    ada.simulator.create_account("google", ada.email)
    assert connect_google(ada.simulator, ada.email).call("GET", "/profile").status == 200


def test_part_of_a_vendor_is_one_per_world_and_forgotten_by_a_reset() -> None:
    world = World()
    found = world.part(Memory)
    found.names.append("kept")
    assert world.part(Memory) is found
    world.reset(1)
    assert world.part(Memory).names == []


def test_route_that_another_vendor_has_is_refused_at_start() -> None:
    router = Router()
    router.add("GET", "/things/{id}", "one", "one.things.get", lambda request: Response())
    with pytest.raises(ValueError, match=r"already one\.things\.get"):
        router.add("GET", "/things/{name}", "two", "two.things.get", lambda request: Response())
