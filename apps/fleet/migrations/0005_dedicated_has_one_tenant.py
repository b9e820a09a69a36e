"""A dedicated instance has one tenant: the database says so, whichever way and however many at once a placement comes.

Instances are locked before their placements are counted: two transactions, each with the tenant it places, would
otherwise both see one. What an older portal let in is left, and refused at the next change.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION fleet_check_dedicated(ids bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    crowded text;
BEGIN
    PERFORM 1 FROM fleet_instance WHERE id = ANY(ids) ORDER BY id FOR NO KEY UPDATE;
    SELECT i.name INTO crowded FROM fleet_instance i
    WHERE i.id = ANY(ids) AND i.kind = 'dedicated'
      AND 1 < (SELECT count(*) FROM (SELECT 1 FROM fleet_placement p WHERE p.instance_id = i.id LIMIT 2) AS two)
    LIMIT 1;
    IF crowded IS NOT NULL THEN
        RAISE EXCEPTION '% is dedicated, and a dedicated instance has one tenant', crowded
        USING ERRCODE = 'check_violation', CONSTRAINT = 'dedicated_has_one_tenant', TABLE = 'fleet_placement';
    END IF;
END $$;

CREATE FUNCTION fleet_placements_came() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM fleet_check_dedicated(ARRAY(SELECT DISTINCT instance_id FROM come));
    RETURN NULL;
END $$;
CREATE TRIGGER placements_came AFTER INSERT ON fleet_placement
    REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION fleet_placements_came();

CREATE FUNCTION fleet_placement_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM fleet_check_dedicated(ARRAY[NEW.instance_id]);
    RETURN NULL;
END $$;
CREATE TRIGGER placement_moved AFTER UPDATE OF instance_id ON fleet_placement FOR EACH ROW
    WHEN (OLD.instance_id IS DISTINCT FROM NEW.instance_id) EXECUTE FUNCTION fleet_placement_moved();

CREATE FUNCTION fleet_instance_dedicated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM fleet_check_dedicated(ARRAY[NEW.id]);
    RETURN NULL;
END $$;
CREATE TRIGGER instance_dedicated AFTER UPDATE OF kind ON fleet_instance FOR EACH ROW
    WHEN (OLD.kind IS DISTINCT FROM NEW.kind) EXECUTE FUNCTION fleet_instance_dedicated();
"""

BACKWARD = """
DROP TRIGGER instance_dedicated ON fleet_instance;
DROP TRIGGER placement_moved ON fleet_placement;
DROP TRIGGER placements_came ON fleet_placement;
DROP FUNCTION fleet_instance_dedicated();
DROP FUNCTION fleet_placement_moved();
DROP FUNCTION fleet_placements_came();
DROP FUNCTION fleet_check_dedicated(bigint[]);
"""


class Migration(migrations.Migration):
    dependencies = [("fleet", "0004_acme_and_workers")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
