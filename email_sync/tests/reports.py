"""Delivery reports as servers write them, for tests: about `bob@example.com`, of a mail with the Message-ID given."""

from __future__ import annotations

POSTFIX = """Return-Path: <>
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: ada@contract.test
Subject: Undelivered Mail Returned to Sender
Message-ID: <report-1@mx.example.net>
Date: Mon, 05 Jan 2026 10:00:05 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.example.net.

<bob@example.com>: host mail.example.com[192.0.2.1] said: 550 5.1.1 User unknown
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Arrival-Date: Mon, 05 Jan 2026 10:00:01 +0000

Final-Recipient: rfc822; bob@example.com
Original-Recipient: rfc822;bob@example.com
Action: {action}
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 User unknown

--b
Content-Type: message/rfc822

From: Ada <ada@contract.test>
To: bob@example.com
Subject: Lunch
Message-ID: <{message_id}>

At one?
--b--
"""

GMAIL = """From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
To: ada@contract.test
Subject: Delivery Status Notification (Failure)
Message-ID: <report-2@mx.google.com>
Date: Mon, 05 Jan 2026 10:00:05 +0000
In-Reply-To: <{message_id}>
References: <{message_id}>
MIME-Version: 1.0
Content-Type: multipart/report; boundary="b"; report-type=delivery-status

--b
Content-Type: multipart/related; boundary="c"

--c
Content-Type: multipart/alternative; boundary="d"

--d
Content-Type: text/plain; charset="UTF-8"

** Address not found **

Your message wasn't delivered to bob@example.com because the address couldn't be found.
--d--
--c--
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.com
Received-From-MTA: dns; ada@contract.test

Final-Recipient: rfc822; bob@example.com
Action: {action}
Status: 5.1.1
Remote-MTA: dns; mail.example.com. (192.0.2.1, the server for the domain example.com.)
Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not exist.

--b
Content-Type: text/rfc822-headers

From: Ada <ada@contract.test>
To: bob@example.com
Message-ID: <CArewritten@mail.gmail.com>
X-Patchbay-Message-ID: <{message_id}>
--b--
"""

QMAIL = """Return-Path: <>
From: MAILER-DAEMON@mx.example.net
To: ada@contract.test
Subject: failure notice
Message-ID: <report-3@mx.example.net>
Date: Mon, 05 Jan 2026 10:00:05 +0000

Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<bob@example.com>:
192.0.2.1 does not like recipient.
Remote host said: 550 5.1.1 User unknown
Giving up on 192.0.2.1.

--- Below this line is a copy of the message.

Return-Path: <ada@contract.test>
Received: (qmail 1 invoked from network); 5 Jan 2026 10:00:00 -0000
From: Ada <ada@contract.test>
To: bob@example.com, carol@example.com
Message-ID: <{message_id}>

At one?
"""

EXCHANGE = """From: Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@contract.test>
To: ada@contract.test
Subject: Undeliverable: Lunch
Message-ID: <report-4@contract.test>
Date: Mon, 05 Jan 2026 10:00:05 +0000
In-Reply-To: <{message_id}>
Content-Type: text/plain; charset=us-ascii

Delivery has failed to these recipients or groups:

bob@example.com (bob@example.com)
The email address you entered couldn't be found.

Diagnostic information for administrators:

Generating server: mx.contract.test

bob@example.com
#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##

Original message headers:

Received: from a by b; Mon, 5 Jan 2026 10:00:00 +0000
From: Ada <ada@contract.test>
To: <bob@example.com>, <carol@example.com>
Message-ID: <{message_id}>
"""

EXIM = """From: Mail Delivery System <Mailer-Daemon@mx.example.net>
To: ada@contract.test
Subject: Mail delivery failed: returning message to sender
Message-ID: <report-5@mx.example.net>
Date: Mon, 05 Jan 2026 10:00:05 +0000

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  bob@example.com
    SMTP error from remote mail server after RCPT TO:<bob@example.com>:
    550 5.1.1 User unknown

------ This is a copy of the message, including all the headers. ------

Return-path: <ada@contract.test>
Message-Id: <{message_id}>
From: Ada <ada@contract.test>
To: bob@example.com, carol@example.com
"""

REPORTS = {"postfix": POSTFIX, "gmail": GMAIL, "qmail": QMAIL, "exchange": EXCHANGE, "exim": EXIM}


def report(kind: str, message_id: str, *, action: str = "failed", recipient: str = "bob@example.com") -> bytes:
    """The bytes of one."""
    text = REPORTS[kind].format(message_id=message_id, action=action)
    return text.replace("bob@example.com", recipient).replace("\n", "\r\n").encode()
