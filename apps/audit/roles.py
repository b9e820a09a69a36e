"""What the portal's database role needs, and no more."""

from django.db import connection

from .partitions import partitions

KEPT = ("audit_auditentry", "audit_auditseal", "audit_auditretirement")
GRANTS = """GRANT CONNECT ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
REVOKE UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES ON {trail} FROM {role};
"""


def grants_for(role: str) -> str:
    """The SQL that lets `role` run the portal without being able to change or delete what the trail holds.

    To be run by the owner of the tables after each `migrate`; migrations run as that owner, the portal as `role`.
    """
    quote = connection.ops.quote_name
    trail = ", ".join([*KEPT, *(quote(one.name) for one in partitions())])
    return GRANTS.format(role=quote(role), database=quote(str(connection.settings_dict["NAME"])), trail=trail)


def weaknesses() -> list[str]:
    """What the connected role could do to the trail that it need not; empty where it is as narrow as it should be."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), "
            "pg_has_role(current_user, c.relowner, 'USAGE'), (SELECT bool_or(has_table_privilege(t.oid, 'UPDATE, DELETE, TRUNCATE'))"
            " FROM pg_class t WHERE t.oid = c.oid OR t.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = c.oid)) "
            "FROM pg_class c WHERE c.oid = 'audit_auditentry'::regclass"
        )
        is_superuser, is_owner, may_write = cursor.fetchone()
    found = [
        (is_superuser, "it is a superuser, who can put the triggers aside"),
        (is_owner, "it owns the table, so it can drop the triggers"),
        (may_write, "it holds UPDATE, DELETE or TRUNCATE on audit_auditentry"),
    ]
    return [why for holds, why in found if holds]
