"""`spec.output`: where models go that pass."""

from typing import Annotated

from pydantic import Field

from finetune_api.fields import ApiModel, Rule, SecretRef
from finetune_api.uris import OutputUri


class Output(ApiModel):
    """Where models that pass are published."""

    uri: OutputUri
    """Parent folder, pvc://claim/path: every run writes one version below it, then `latest.json`."""
    keep: Annotated[int, Field(ge=0, le=100)] = 3
    """Older versions to keep beside the latest."""
    secret_ref: SecretRef | None = None
    """Secret with what the target asks for. hf://: `token`. s3://: `AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, and `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL`, `AWS_REGION` where needed. gs://:
    `credentials.json`. oci://: `.dockerconfigjson`. Absent: the pod's own identity in the cloud."""
    samples: bool = False
    """Show some of the data's own texts and pictures in the model card and in `report.html`."""
    rules = (
        Rule(
            "!has(self.secretRef) || !self.uri.startsWith('pvc://')",
            "`output.secretRef` must be left out for a pvc:// `output.uri`",
            lambda o: o.secret_ref is None or not o.uri.startswith("pvc://"),
        ),
    )
