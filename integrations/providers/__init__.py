"""What a workspace can integrate with: one file a vendor behind `base.IntegrationProvider`. This table is the registry:
the source document's nine types, in its order → dotted path of the class, which carries the type as its key."""

from core.registry import Registry
from integrations.providers.base import IntegrationProvider

INTEGRATION_PROVIDERS: Registry[type[IntegrationProvider]] = Registry(
    "integration type",
    {
        "EMAIL_PROVIDER": "integrations.providers.resend.Resend",
        "EMAIL_PROVIDER_ALT": "integrations.providers.sendgrid.SendGrid",
        "DOCUMENT_ENGINE": "integrations.providers.carbone.Carbone",
        "WEBHOOK": "integrations.providers.webhook.Webhook",
        "SLACK": "integrations.providers.slack.Slack",
        "EXTERNAL_DATABASE": "integrations.providers.airtable.Airtable",
        "WEBHOOK_PLATFORM": "integrations.providers.webhook_platform.WebhookPlatform",
        "CRM_PLATFORM": "integrations.providers.hubspot.HubSpot",
        "CLOUD_STORAGE": "integrations.providers.drive.Drive",
    },
    check_id="patchbay.E103",
)
