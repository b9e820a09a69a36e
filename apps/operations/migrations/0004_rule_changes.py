"""Proposals to have an approval rule ask for less: a new table, nothing else is touched."""


import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('operations', '0003_written_in_place'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ApprovalRuleChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('rule_ref', models.BigIntegerField(help_text='id of the rule')),
                ('label', models.CharField(help_text='the rule as it was when this was proposed', max_length=200)),
                ('deletes', models.BooleanField(default=False, help_text='the rule goes')),
                ('wanted', models.JSONField(blank=True, default=dict, help_text='columns that change, as they shall be')),
                ('seen', models.JSONField(default=dict, help_text='what the rule said when this was proposed; another rule by now is not changed')),
                ('reason', models.CharField(max_length=500)),
                ('state', models.CharField(choices=[('waiting', 'Waits for a second person'), ('agreed', 'Agreed to'), ('refused', 'Refused'), ('overtaken', 'Overtaken by another change')], default='waiting', max_length=10)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decided_by', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('proposed_by', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('state', 'waiting')), fields=('rule_ref',), name='rulechange_one_waits'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'agreed'), _negated=True), models.Q(('decided_by__isnull', False), models.Q(('decided_by', models.F('proposed_by')), _negated=True)), _connector='OR'), name='rulechange_agreed_by_another')],
            },
        ),
    ]
