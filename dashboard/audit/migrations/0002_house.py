from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0001_initial'),
    ]

    operations = [
        migrations.RenameField(
            model_name='refusalcount',
            old_name='told_at',
            new_name='recorded_at',
        ),
        migrations.AlterField(
            model_name='auditevent',
            name='masked_by',
            field=models.BigIntegerField(blank=True, help_text='sequence of the event of the masking', null=True),
        ),
        migrations.AlterField(
            model_name='auditevent',
            name='target_is_person',
            field=models.BooleanField(default=False, help_text='its id and label are personal data'),
        ),
        migrations.AlterField(
            model_name='refusalcount',
            name='places',
            field=models.JSONField(default=list, help_text='method and path of up to ten requests'),
        ),
        migrations.AlterField(
            model_name='verification',
            name='complete',
            field=models.BooleanField(default=True, help_text='False: only events since the last intact verification'),
        ),
        migrations.AlterField(
            model_name='verification',
            name='first',
            field=models.BigIntegerField(blank=True, help_text='first sequence read', null=True),
        ),
        migrations.AlterField(
            model_name='verification',
            name='head',
            field=models.CharField(blank=True, help_text='hash of the last event read', max_length=64),
        ),
        migrations.AlterField(
            model_name='verification',
            name='last',
            field=models.BigIntegerField(blank=True, help_text='last sequence read', null=True),
        ),
        migrations.AlterField(
            model_name='verification',
            name='pending',
            field=models.BigIntegerField(default=0, help_text='seals pending for over a minute'),
        ),
        migrations.AlterField(
            model_name='verification',
            name='records',
            field=models.BigIntegerField(default=0, help_text='runs compared with their seals'),
        ),
    ]
