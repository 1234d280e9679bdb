"""What a workspace can integrate with: one file a vendor behind `base.IntegrationProvider`. This table is the registry:
the source document's nine types → dotted path of the class, which carries the type as its key."""

from core.registry import Registry
from integrations.providers.base import IntegrationProvider

INTEGRATION_PROVIDERS: Registry[type[IntegrationProvider]] = Registry(
    "integration type",
    {
        "EMAIL_PROVIDER": "integrations.providers.resend.Resend",
        "EMAIL_PROVIDER_ALT": "integrations.providers.sendgrid.SendGrid",
        "DOCUMENT_ENGINE": "integrations.providers.carbone.Carbone",
        "WEBHOOK": "integrations.providers.webhook.Webhook",
        "CLOUD_STORAGE": "integrations.providers.drive.Drive",
        "EXTERNAL_DATABASE": "integrations.providers.airtable.Airtable",
        "CRM_PLATFORM": "integrations.providers.hubspot.HubSpot",
        "SLACK": "integrations.providers.slack.Slack",
        "WEBHOOK_PLATFORM": "integrations.providers.webhook_platform.WebhookPlatform",
    },
    check_id="patchbay.E103",
)
