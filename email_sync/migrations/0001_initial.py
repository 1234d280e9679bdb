"""The tables of mail."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.functions.datetime
from django.contrib.postgres.operations import BtreeGinExtension
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("integrations", "0001_initial"),
    ]

    operations = [
        BtreeGinExtension(),
        migrations.CreateModel(
            name="Message",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("remote_id", models.TextField()),
                ("stream", models.CharField(max_length=500)),
                ("content_key", models.CharField(blank=True, default="", max_length=64)),
                (
                    "folder_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=500), default=list, size=None
                    ),
                ),
                ("in_inbox", models.BooleanField(default=False)),
                ("in_sent", models.BooleanField(default=False)),
                ("in_archive", models.BooleanField(default=False)),
                ("in_drafts", models.BooleanField(default=False)),
                ("in_trash", models.BooleanField(default=False)),
                ("in_spam", models.BooleanField(default=False)),
                ("is_read", models.BooleanField(default=False)),
                ("is_starred", models.BooleanField(default=False)),
                ("message_id", models.TextField(blank=True, default="")),
                ("subject", models.TextField(blank=True, default="")),
                ("from_name", models.TextField(blank=True, default="")),
                ("from_email", models.TextField(blank=True, default="")),
                ("recipients", models.JSONField(default=dict)),
                ("snippet", models.TextField(blank=True, default="")),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("received_at", models.DateTimeField()),
                ("size", models.PositiveBigIntegerField(default=0)),
                ("has_attachments", models.BooleanField(default=False)),
                ("defect", models.TextField(blank=True, default="")),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
                ("removed_cause", models.CharField(blank=True, default="", max_length=20)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="integrations.connection",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="MessageBody",
            fields=[
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="body",
                        serialize=False,
                        to="email_sync.message",
                    ),
                ),
                ("text", models.TextField(blank=True, default="")),
                ("html", models.TextField(blank=True, default="")),
                ("headers", models.JSONField(default=list)),
                (
                    "in_reply_to",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                (
                    "references",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("reply_to", models.JSONField(default=list)),
            ],
        ),
        migrations.CreateModel(
            name="Thread",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("remote_id", models.CharField(blank=True, default="", max_length=255)),
                ("subject", models.TextField(blank=True, default="")),
                ("message_count", models.PositiveIntegerField(default=0)),
                ("unread_count", models.PositiveIntegerField(default=0)),
                ("last_message_at", models.DateTimeField(blank=True, null=True)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="threads",
                        to="integrations.connection",
                    ),
                ),
                (
                    "merged_into",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="email_sync.thread",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Submission",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("idempotency_key", models.CharField(blank=True, default="", max_length=255)),
                (
                    "stage",
                    models.CharField(
                        choices=[
                            ("sending", "Sending"),
                            ("sent", "Sent"),
                            ("unconfirmed", "Unconfirmed"),
                            ("failed", "Failed"),
                        ],
                        default="sending",
                        max_length=12,
                    ),
                ),
                ("message_id", models.TextField()),
                ("sender", models.TextField()),
                ("recipients", django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None)),
                (
                    "bcc",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("subject", models.TextField(blank=True, default="")),
                ("mime", models.BinaryField(null=True)),
                ("remote_id", models.TextField(blank=True, default="")),
                (
                    "refused",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), default=list, size=None),
                ),
                ("filed", models.BooleanField(default=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True)),
                ("error_code", models.CharField(blank=True, default="", max_length=64)),
                ("error_message", models.TextField(blank=True, default="")),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="submissions",
                        to="integrations.connection",
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="email_sync.thread",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="message",
            name="thread",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="messages",
                to="email_sync.thread",
            ),
        ),
        migrations.CreateModel(
            name="ThreadKey",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.UUIDField()),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.connection",
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="keys", to="email_sync.thread"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Folder",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("remote_id", models.CharField(max_length=500)),
                ("name", models.CharField(max_length=500)),
                ("role", models.CharField(blank=True, default="", max_length=10)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="mail_folders",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "remote_id"), name="folder_one_per_remote_id")
                ],
            },
        ),
        migrations.CreateModel(
            name="FolderCounter",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("role", models.CharField(max_length=10)),
                ("total", models.IntegerField(default=0)),
                ("unread", models.IntegerField(default=0)),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.connection",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("connection", "role"), name="foldercounter_one_per_role")
                ],
            },
        ),
        migrations.CreateModel(
            name="MessageSearch",
            fields=[
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="search",
                        serialize=False,
                        to="email_sync.message",
                    ),
                ),
                ("month", models.IntegerField()),
                ("document", django.contrib.postgres.search.SearchVectorField()),
                (
                    "connection",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="integrations.connection",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="LocalChange",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[("read", "Read"), ("starred", "Starred"), ("archived", "Archived")], max_length=10
                    ),
                ),
                ("value", models.BooleanField()),
                ("version", models.PositiveIntegerField(default=1)),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "Pending"), ("done", "Done"), ("failed", "Failed")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("error_message", models.TextField(blank=True, default="")),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "connection",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="local_changes",
                        to="integrations.connection",
                    ),
                ),
                (
                    "message",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="local_changes",
                        to="email_sync.message",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")), fields=["connection", "id"], name="localchange_queue"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "pending")),
                        fields=("message", "kind"),
                        name="localchange_one_pending",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Attachment",
            fields=[
                ("id", models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("part_id", models.CharField(max_length=200)),
                ("file_name", models.TextField(blank=True, default="")),
                ("content_type", models.CharField(max_length=255)),
                ("size", models.PositiveBigIntegerField(default=0)),
                ("inline", models.BooleanField(default=False)),
                ("content_id", models.TextField(blank=True, default="")),
                (
                    "message",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="attachments",
                        to="email_sync.message",
                    ),
                ),
            ],
            options={
                "ordering": ("id",),
                "constraints": [models.UniqueConstraint(fields=("message", "part_id"), name="attachment_one_per_part")],
            },
        ),
        migrations.AddIndex(
            model_name="thread",
            index=models.Index(fields=["connection", "-last_message_at", "-id"], name="thread_recent"),
        ),
        migrations.AddConstraint(
            model_name="thread",
            constraint=models.UniqueConstraint(
                condition=models.Q(("remote_id", ""), _negated=True),
                fields=("connection", "remote_id"),
                name="thread_one_per_remote_id",
            ),
        ),
        migrations.AddIndex(
            model_name="submission",
            index=models.Index(
                condition=models.Q(("next_attempt_at__isnull", False)),
                fields=["next_attempt_at"],
                name="submission_due",
            ),
        ),
        migrations.AddIndex(
            model_name="submission",
            index=models.Index(
                condition=models.Q(("lease_until__isnull", False)), fields=["lease_until"], name="submission_leases"
            ),
        ),
        migrations.AddConstraint(
            model_name="submission",
            constraint=models.UniqueConstraint(
                fields=("connection", "message_id"), name="submission_one_per_message_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="submission",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key", ""), _negated=True),
                fields=("connection", "idempotency_key"),
                name="submission_one_per_idempotency_key",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("in_inbox", True)),
                fields=["connection", "-received_at", "-id"],
                name="message_inbox",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("in_sent", True)), fields=["connection", "-received_at", "-id"], name="message_sent"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("in_archive", True)),
                fields=["connection", "-received_at", "-id"],
                name="message_archive",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("in_drafts", True)),
                fields=["connection", "-received_at", "-id"],
                name="message_drafts",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("in_trash", True)),
                fields=["connection", "-received_at", "-id"],
                name="message_trash",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("in_spam", True)), fields=["connection", "-received_at", "-id"], name="message_spam"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(
                    ("in_spam", False), ("in_trash", False), ("removed_at__isnull", True), ("is_starred", True)
                ),
                fields=["connection", "-received_at", "-id"],
                name="message_starred",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("in_spam", False), ("in_trash", False), ("removed_at__isnull", True)),
                fields=["connection", "-received_at", "-id"],
                name="message_all",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("in_inbox", True), ("is_read", False)),
                fields=["connection", "-received_at", "-id"],
                name="message_inbox_unread",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(fields=["thread", "received_at", "id"], name="message_thread"),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("content_key", ""), _negated=True),
                fields=["connection", "content_key"],
                name="message_content",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(fields=["connection", "stream"], name="message_stream"),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("removed_at__isnull", False)), fields=["removed_at"], name="message_removed"
            ),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.UniqueConstraint(fields=("connection", "remote_id"), name="message_one_per_remote_id"),
        ),
        migrations.AddConstraint(
            model_name="threadkey",
            constraint=models.UniqueConstraint(fields=("connection", "key"), name="threadkey_one_per_key"),
        ),
        migrations.AddIndex(
            model_name="messagesearch",
            index=django.contrib.postgres.indexes.GinIndex(
                fields=["connection", "month", "document"], name="messagesearch_document"
            ),
        ),
    ]
