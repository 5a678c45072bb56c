import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0002_report_history'),
    ]

    operations = [
        migrations.AddField(
            model_name='schedule',
            name='report_channel',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='backups.channel'),
        ),
        migrations.AddField(
            model_name='schedule',
            name='report_span',
            field=models.CharField(blank=True, max_length=10),
        ),
        migrations.AlterField(
            model_name='schedule',
            name='work',
            field=models.CharField(choices=[('backup', 'Back up'), ('report', 'Send the report')], default='backup', max_length=10),
        ),
    ]
