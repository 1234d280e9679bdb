"""Documents of a workspace: uploaded by presigned URL, verified, linked to CRM entities, downloaded as attachments."""
