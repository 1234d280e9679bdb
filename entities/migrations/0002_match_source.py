"""What keeps a match: a person, or a CRM that is followed."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("entities", "0001_matches"),
        ("workspaces", "0002_idempotency_and_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="addressmatch",
            name="source",
            field=models.CharField(blank=True, default="", max_length=10),
        ),
        migrations.AddField(
            model_name="addressmatch",
            name="source_id",
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="domainmatch",
            name="source",
            field=models.CharField(blank=True, default="", max_length=10),
        ),
        migrations.AddField(
            model_name="domainmatch",
            name="source_id",
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="addressmatch",
            index=models.Index(
                condition=models.Q(("source", "sync")), fields=["source_id"], name="addressmatch_of_source"
            ),
        ),
        migrations.AddIndex(
            model_name="domainmatch",
            index=models.Index(
                condition=models.Q(("source", "sync")), fields=["source_id"], name="domainmatch_of_source"
            ),
        ),
        migrations.AddConstraint(
            model_name="addressmatch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("source", ""), ("source_id__isnull", True)),
                    models.Q(("source", "sync"), ("source_id__isnull", False)),
                    _connector="OR",
                ),
                name="addressmatch_source_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="domainmatch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("source", ""), ("source_id__isnull", True)),
                    models.Q(("source", "sync"), ("source_id__isnull", False)),
                    _connector="OR",
                ),
                name="domainmatch_source_is_known",
            ),
        ),
    ]
