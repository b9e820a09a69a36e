"""A doubled click could add a discount or a commitment twice. Of those of one tenant and day the last one counts, and stays.

Not reversible: which were there twice is not kept; taking them out changes no figure.
"""

from django.db import migrations

LAST = """
DELETE FROM cost_discount d USING cost_discount n WHERE n.tenant_id = d.tenant_id AND n.starts_on = d.starts_on AND n.id > d.id;
DELETE FROM cost_commitment d USING cost_commitment n WHERE n.tenant_id = d.tenant_id AND n.starts_on = d.starts_on AND n.id > d.id;
"""


class Migration(migrations.Migration):
    dependencies = [('cost', '0010_expected_revenue')]

    operations = [migrations.RunSQL(LAST, migrations.RunSQL.noop)]
