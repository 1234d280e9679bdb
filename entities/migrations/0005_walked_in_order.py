"""The address book is found by beginnings and walked in the order of addresses, whatever the database's collation (ADR
41): the unique indexes get the operators for that, which makes none more of them; what is to be decided and what was
linked by hand have partial ones in the same order."""

from django.db import migrations, models
from django.db.models import Q

WALKED = ("uuid_ops", "varchar_pattern_ops", "varchar_ops", "varchar_ops")
KEYS = {"addressmatch": "address_key", "domainmatch": "domain"}
PARTIAL = {"to_decide": Q(shared=True), "by_hand": Q(source="")}


def _of(table: str) -> list[migrations.operations.base.Operation]:
    fields = ["workspace", KEYS[table], "entity_type", "entity_id"]
    return [
        migrations.RemoveConstraint(model_name=table, name=f"{table}_once"),
        migrations.AddConstraint(
            model_name=table,
            constraint=models.UniqueConstraint(fields=fields, name=f"{table}_once", opclasses=WALKED),
        ),
        migrations.RemoveIndex(model_name=table, name=f"{table}_to_decide"),
        *(
            migrations.AddIndex(
                model_name=table,
                index=models.Index(fields=fields, name=f"{table}_{name}", opclasses=WALKED, condition=condition),
            )
            for name, condition in PARTIAL.items()
        ),
    ]


class Migration(migrations.Migration):
    dependencies = [("entities", "0004_matches_to_decide")]

    operations = [operation for table in KEYS for operation in _of(table)]
