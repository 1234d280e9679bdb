"""Log tables, their entries, mail on its way, what providers told of it, suppressed addresses."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import core.crypto
import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("integrations", "0011_contact_sync"),
        ("workspaces", "0002_idempotency_and_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="EmailLogTable",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("provider", models.CharField(max_length=60)),
                ("name", models.CharField(default="Email Log", max_length=255)),
                ("system_type", models.CharField(default="EMAIL_LOG", max_length=40)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("not_before", models.DateTimeField(blank=True, null=True)),
                ("rung_at", models.DateTimeField(blank=True, null=True)),
                (
                    "integration",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="email_log_table",
                        to="integrations.integration",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="workspaces.workspace",
                    ),
                ),
            ],
            options={
                "ordering": ("created_at", "id"),
            },
        ),
        migrations.CreateModel(
            name="EmailLogEntry",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("connection_id", models.UUIDField(blank=True, null=True)),
                ("sent_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("to", models.TextField()),
                ("cc", models.TextField(blank=True, default="")),
                ("bcc", models.TextField(blank=True, default="")),
                ("sender", models.TextField()),
                ("subject", models.TextField(blank=True, default="")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("unknown", "Unknown"),
                            ("accepted", "Accepted"),
                            ("deferred", "Deferred"),
                            ("failed", "Failed"),
                            ("delivered", "Delivered"),
                            ("bounced", "Bounced"),
                            ("complained", "Complained"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("state_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("message_id", models.TextField(blank=True, default="")),
                ("template_id", models.TextField(blank=True, default="")),
                ("source", models.CharField(blank=True, default="", max_length=40)),
                ("error", models.TextField(blank=True, default="")),
                ("attachments", models.PositiveSmallIntegerField(default=0)),
                (
                    "transaction",
                    models.BigIntegerField(
                        db_default=django.db.models.functions.comparison.Cast(
                            django.db.models.functions.comparison.Cast(
                                models.Func(function="pg_current_xact_id"), models.TextField()
                            ),
                            models.BigIntegerField(),
                        ),
                        editable=False,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="workspaces.workspace",
                    ),
                ),
                (
                    "table",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="entries",
                        to="email_logs.emaillogtable",
                    ),
                ),
            ],
            options={
                "ordering": ("-sent_at", "-id"),
            },
        ),
        migrations.CreateModel(
            name="EmailLogDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("unknown", "Unknown"),
                            ("accepted", "Accepted"),
                            ("deferred", "Deferred"),
                            ("failed", "Failed"),
                            ("delivered", "Delivered"),
                            ("bounced", "Bounced"),
                            ("complained", "Complained"),
                        ],
                        max_length=10,
                    ),
                ),
                ("count", models.PositiveBigIntegerField()),
                (
                    "table",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="days",
                        to="email_logs.emaillogtable",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DeliveryEvent",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("entry_id", models.UUIDField(blank=True, null=True)),
                ("message_id", models.TextField(blank=True, default="")),
                ("event_key", models.TextField()),
                ("kind", models.CharField(max_length=40)),
                (
                    "recipients",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("words", models.TextField(blank=True, default="")),
                ("at", models.DateTimeField()),
                (
                    "received_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="workspaces.workspace",
                    ),
                ),
                (
                    "table",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="email_logs.emaillogtable",
                    ),
                ),
            ],
            options={
                "ordering": ("at", "id"),
            },
        ),
        migrations.CreateModel(
            name="OutgoingEmail",
            fields=[
                (
                    "status",
                    models.CharField(
                        choices=[("queued", "Queued"), ("running", "Running"), ("done", "Done"), ("failed", "Failed")],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("fence", models.PositiveBigIntegerField(default=0)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("error_code", models.CharField(blank=True, default="", max_length=64)),
                ("error_message", models.TextField(blank=True, default="")),
                ("entry_id", models.UUIDField(primary_key=True, serialize=False)),
                ("mail", core.crypto.SealedJSONField(blank=True, null=True)),
                ("request_key", models.CharField(blank=True, default="", max_length=255)),
                ("calling", models.BooleanField(default=False)),
                ("called_at", models.DateTimeField(blank=True, null=True)),
                (
                    "tried",
                    django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), default=list, size=None),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "table",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="outgoing",
                        to="email_logs.emaillogtable",
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="workspaces.workspace",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Suppression",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("address", models.TextField()),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("bounced", "Bounced"),
                            ("complained", "Complained"),
                            ("unsubscribed", "Unsubscribed"),
                            ("manual", "Manual"),
                        ],
                        max_length=20,
                    ),
                ),
                ("words", models.TextField(blank=True, default="")),
                ("entry_id", models.UUIDField(blank=True, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "workspace",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="workspaces.workspace",
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-id"),
            },
        ),
        migrations.AddIndex(
            model_name="emaillogtable",
            index=models.Index(fields=["workspace", "created_at", "id"], name="emaillogtable_list"),
        ),
        migrations.AddConstraint(
            model_name="emaillogtable",
            constraint=models.UniqueConstraint(
                condition=models.Q(("integration__isnull", True)),
                fields=("workspace", "provider"),
                name="emaillogtable_one_per_mailbox_provider",
            ),
        ),
        migrations.AddIndex(
            model_name="emaillogentry",
            index=models.Index(
                models.F("table"),
                models.OrderBy(models.F("sent_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                name="emaillogentry_list",
            ),
        ),
        migrations.AddIndex(
            model_name="emaillogentry",
            index=models.Index(
                models.F("table"),
                models.OrderBy(models.F("sent_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("state__in", ["bounced", "failed"])),
                name="emaillogentry_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="emaillogentry",
            index=models.Index(
                condition=models.Q(("message_id", ""), _negated=True),
                fields=["table", "message_id"],
                name="emaillogentry_message_id",
            ),
        ),
        migrations.AddIndex(
            model_name="emaillogentry",
            index=models.Index(fields=["table", "transaction", "id"], name="emaillogentry_changes"),
        ),
        migrations.AddConstraint(
            model_name="emaillogday",
            constraint=models.UniqueConstraint(fields=("table", "day", "state"), name="emaillogday_cell"),
        ),
        migrations.AddIndex(
            model_name="deliveryevent",
            index=models.Index(fields=["entry_id", "at"], name="deliveryevent_entry"),
        ),
        migrations.AddIndex(
            model_name="deliveryevent",
            index=models.Index(
                condition=models.Q(("entry_id__isnull", True)),
                fields=["table", "message_id"],
                name="deliveryevent_unjoined",
            ),
        ),
        migrations.AddConstraint(
            model_name="deliveryevent",
            constraint=models.UniqueConstraint(fields=("table", "event_key"), name="deliveryevent_once"),
        ),
        migrations.AddIndex(
            model_name="outgoingemail",
            index=models.Index(
                condition=models.Q(("status", "queued")), fields=["table", "next_attempt_at"], name="outgoingemail_due"
            ),
        ),
        migrations.AddIndex(
            model_name="outgoingemail",
            index=models.Index(
                condition=models.Q(("status", "running")), fields=["lease_until"], name="outgoingemail_leases"
            ),
        ),
        migrations.AddIndex(
            model_name="outgoingemail",
            index=models.Index(
                condition=models.Q(("status__in", ("done", "failed"))), fields=["finished_at"], name="outgoingemail_old"
            ),
        ),
        migrations.AddConstraint(
            model_name="outgoingemail",
            constraint=models.UniqueConstraint(
                condition=models.Q(("request_key", ""), _negated=True),
                fields=("workspace", "request_key"),
                name="outgoingemail_one_per_key",
            ),
        ),
        migrations.AddIndex(
            model_name="suppression",
            index=models.Index(fields=["workspace", "-created_at", "-id"], name="suppression_list"),
        ),
        migrations.AddConstraint(
            model_name="suppression",
            constraint=models.UniqueConstraint(fields=("workspace", "address"), name="suppression_once"),
        ),
    ]
