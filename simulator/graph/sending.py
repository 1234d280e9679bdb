"""me/sendMail, the sending of drafts, reply, replyAll and forward: 202 and no id. The copy in Sent Items appears at
once, or after `graph_sent_copy_seconds`; until then a draft that was sent stands in the Outbox."""

from __future__ import annotations

import hashlib

from simulator.errors import graph_error
from simulator.exchange import Item, PendingSend
from simulator.graph.access import Call, Handler, accepted, bad_request
from simulator.graph.content import read_content
from simulator.graph.drafts import answer_to, mime_of, new_message_id, raw_of
from simulator.ledger import SentMail
from simulator.mime import read_facts, with_header, without_header
from simulator.wire import Response

MAX_RECIPIENTS = 500


def send_mail(call: Call) -> Response:
    raw = mime_of(call)
    if raw is not None:
        submit(call, raw)
        return accepted()
    body = {name[:1].lower() + name[1:]: value for name, value in call.body().items()}
    if not isinstance(body.get("message"), dict):
        raise bad_request("The parameter 'Message' is missing.", "ErrorInvalidRequest")
    submit(call, raw_of(call, body["message"]), save=body.get("saveToSentItems", True) is not False)
    return accepted()


def send_draft(call: Call) -> Response:
    item = call.item()
    outbox = call.mailbox.place("outbox").id
    if not item.is_draft or item.folder_id == outbox:
        raise bad_request("The message is not a draft that can be sent.", "ErrorInvalidRequest")
    submit(call, item.raw, draft=item)
    return accepted()


def submit(call: Call, raw: bytes, *, draft: Item | None = None, save: bool = True) -> None:
    """Accepts a mail: everything that can be refused is refused before anything changes."""
    recipients = read_recipients(raw)
    _check_sender(call, raw)
    if not read_facts(raw).message_id or call.world.settings.graph_rewrites_message_id:
        raw = with_header(raw, "Message-ID", new_message_id(call))
    if draft is not None and raw != draft.raw:
        call.mailbox.rewrite(draft, raw, call.now, ("internetMessageId",))
    delay = call.world.settings.graph_sent_copy_seconds
    if draft is not None and delay:
        call.mailbox.move(draft, call.mailbox.place("outbox").id, call.now)
    own = call.mailbox.new_conversation() if call.world.settings.graph_splits_conversations else ""
    call.mailbox.pending.append(PendingSend(call.now + delay, draft.key if draft else 0, raw, save, own))
    call.mailbox.settle(call.now)
    _note(call, raw, recipients, draft)
    if call.world.settings.delivers_between_accounts:
        deliver(call, raw, {address.lower() for addresses in recipients.values() for address in addresses})


def read_recipients(raw: bytes) -> dict[str, list[str]]:
    content = read_content(raw)
    found = {name: [one["emailAddress"]["address"] for one in content.recipients(name)] for name in ("to", "cc", "bcc")}
    everyone = [address for addresses in found.values() for address in addresses]
    if not everyone:
        raise bad_request("At least one recipient is needed.", "ErrorInvalidRecipients")
    if len(everyone) > MAX_RECIPIENTS:
        raise bad_request("The message has too many recipients.", "ErrorTooManyRecipients")
    if any("@" not in address.strip("@") or " " in address for address in everyone):
        raise bad_request("At least one recipient isn't valid.", "ErrorInvalidRecipients")
    return found


def _check_sender(call: Call, raw: bytes) -> None:
    own = {call.account.email, *(alias.lower() for alias in call.account.aliases)}
    senders = [one["emailAddress"]["address"].lower() for one in read_content(raw).recipients("from")]
    if any(sender not in own for sender in senders):
        message = (
            "The user account which was used to submit this request does not have the right to send mail on behalf "
        )
        raise graph_error(403, "ErrorSendAsDenied", message + "of the specified sending account.")


def _note(call: Call, raw: bytes, recipients: dict[str, list[str]], draft: Item | None) -> None:
    facts = read_facts(raw)
    call.world.ledger.sent.append(
        SentMail(
            call.world.ledger.next_seq(), call.now, "microsoft", call.account.email, call.request.operation,
            draft.immutable_id if draft else "", draft.conversation_id if draft else "", facts.message_id, facts.sender,
            recipients["to"], recipients["cc"], recipients["bcc"], facts.subject, len(raw),
            hashlib.sha256(raw).hexdigest(), raw,
        )
    )  # fmt: skip
    call.changed("mail.sent", id=draft.immutable_id if draft else "", message_id=facts.message_id)


def deliver(call: Call, raw: bytes, recipients: set[str]) -> None:
    """To the Microsoft accounts here, the sender's own among them, without Bcc."""
    received = without_header(raw, "Bcc")
    for address in sorted(recipients):
        account = call.world.account("microsoft", address)
        if account and account.exchange:
            account.exchange.add(received, account.exchange.place("inbox").id, int(call.now), call.now)


def _direct(kind: str) -> Handler:
    def handle(call: Call) -> Response:
        draft = answer_to(call, call.item(), kind)
        try:
            submit(call, draft.raw, draft=draft)
        except Exception:
            call.mailbox.remove(draft, call.now)
            raise
        return accepted()

    return handle


HANDLERS: dict[str, Handler] = {
    "graph.sendMail": send_mail,
    "graph.messages.send": send_draft,
    "graph.messages.reply": _direct("reply"),
    "graph.messages.replyAll": _direct("replyAll"),
    "graph.messages.forward": _direct("forward"),
}
