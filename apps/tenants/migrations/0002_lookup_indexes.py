"""Indexes that the lookup and the list stand on.

Ordered ones for texts that begin with what was typed; the trigram ones again without a pending list: until a
vacuum, PostgreSQL reads that list whole at each search, and the planner rather reads the table.
"""

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Upper

TRIGRAMS = [
    ("tenant", "name", "tenant_name_trgm"),
    ("tenant", "key", "tenant_key_trgm"),
    ("domain", "name", "domain_name_trgm"),
    ("contact", "email", "contact_email_trgm"),
    ("contact", "name", "contact_name_trgm"),
    ("externalid", "value", "externalid_value_trgm"),
]
ORDERED = [
    ("tenant", "name", "tenant_name_begins"),
    ("domain", "name", "domain_name_begins"),
    ("contact", "email", "contact_email_begins"),
    ("contact", "name", "contact_name_begins"),
    ("externalid", "value", "externalid_value_begins"),
]


def again(model, field, name):
    index = GinIndex(OpClass(Upper(field), name="gin_trgm_ops"), name=name, fastupdate=False)
    return [RemoveIndexConcurrently(model, name), AddIndexConcurrently(model, index)]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("tenants", "0001_initial")]
    operations = [
        *[step for one in TRIGRAMS for step in again(*one)],
        *[
            AddIndexConcurrently(
                model, models.Index(OpClass(Upper(field), name="text_pattern_ops"), name=name)
            )
            for model, field, name in ORDERED
        ],
        AddIndexConcurrently("tenant", models.Index(fields=["created_at", "id"], name="tenant_by_created")),
        AddIndexConcurrently("tenant", models.Index(fields=["state", "name"], name="tenant_by_state")),
    ]
