
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cost', '0011_agreements_twice'),
        ('tenants', '0002_lookup_indexes'),
    ]

    operations = [
        migrations.AddConstraint(
            model_name='commitment',
            constraint=models.UniqueConstraint(fields=('tenant', 'starts_on'), name='commitment_once_a_day'),
        ),
        migrations.AddConstraint(
            model_name='commitment',
            constraint=models.CheckConstraint(condition=models.Q(('monthly_minimum__gte', 0)), name='commitment_not_below_nothing'),
        ),
        migrations.AddConstraint(
            model_name='discount',
            constraint=models.UniqueConstraint(fields=('tenant', 'starts_on'), name='discount_once_a_day'),
        ),
        migrations.AddConstraint(
            model_name='discount',
            constraint=models.CheckConstraint(condition=models.Q(('percent__gt', 0), ('percent__lte', 100)), name='discount_is_a_part'),
        ),
    ]
