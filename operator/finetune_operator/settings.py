"""Everything that can be set from outside, read once from FINETUNE_* variables and handed down.

A setting is here only when something reads it; the chart sets the ones that depend on the cluster.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]

_OWN_VARIABLES = ("FINETUNE_", "KUBEFLOW_", "DISABLE_KUBEFLOW_")
"""How the names of variables begin that tell a trainer what run it is and whom to report to."""
REPORT_SERVICE = "embedding-finetune-operator-reports"


def _report_url(data: dict[str, Any]) -> str:
    return f"https://{REPORT_SERVICE}.{data.get('namespace', '')}.svc:8443"


class Settings(BaseSettings):
    """The operator's settings."""

    model_config = SettingsConfigDict(env_prefix="FINETUNE_", frozen=True, use_attribute_docstrings=True)

    namespace: str
    """Namespace of the operator itself: of its Lease and of the Secret of its certificate authority."""
    pod_name: str = ""
    """The operator's own pod, which the leader labels. Empty outside of a cluster: no pod is labelled."""
    trainer_image: Annotated[str, Field(min_length=1)]
    """Image of the trainer for finetunes that name none; by digest, so that a run can be repeated."""
    trainer_image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """imagePullPolicy of the trainer's container."""
    trainer_environment: dict[str, str] = {}
    """Variables of every trainer, as a JSON object: a hub's mirror (HF_ENDPOINT), a proxy (HTTPS_PROXY)."""
    trainer_image_pull_secrets: Annotated[tuple[str, ...], NoDecode] = ()
    """Secrets that open the registry of trainer images, separated by commas; each finetune's namespace has
    its own of these names."""
    allow_remote_code: bool = False
    """Whether finetunes may set `model.trustRemoteCode`, and so run Python code that comes with a model."""
    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces to serve, separated by commas. Empty: all, which needs cluster-wide rights."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Finetunes reconciled at the same time. They wait for the API server more than they compute."""
    progress_interval_seconds: Seconds = 10
    """At most one status write for progress in this time and finetune; `/metrics` has the live values."""
    pod_start_grace_seconds: Seconds = 5
    """How long a pod may take to start before the Events about it are read for the reason."""
    report_url: str = Field(default_factory=_report_url)
    """Base URL at which pods reach the report server. Its host is what the certificate is issued for."""
    report_audience: str = "embeddings.dev/reports"
    """Audience of the tokens that pods report with: useless for anything else."""
    report_bind_address: str = "0.0.0.0"  # noqa: S104 - pods come from everywhere; tokens decide
    """Address the report server listens on."""
    report_port: Port = 8443
    """Port the report server listens on."""
    ca_secret_name: str = "embedding-finetune-operator-ca"  # noqa: S105 - a name
    """Secret of the certificate authority. It must exist, empty at first: the operator may not create any."""
    health_port: Port = 8080
    """Port of /healthz, /readyz and /metrics, on all addresses."""
    metrics_per_resource: bool = True
    """Whether /metrics has series of each finetune (at most 40), beside those of all together."""
    lease_name: str = "embedding-finetune-operator"
    """Lease that decides which replica acts."""
    lease_duration_seconds: Annotated[int, Field(ge=3, le=600)] = 15
    """A Lease not renewed for so long may be taken by another replica."""
    lease_renew_seconds: Seconds = 2
    """Time between renewals, and between looks of a standby."""
    lease_deadline_seconds: Seconds = 10
    """A leader that could not renew for so long ends itself: below the duration, so that two never act."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least important level that is logged."""

    @field_validator("watch_namespaces", "trainer_image_pull_secrets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("trainer_environment")
    @classmethod
    def _leaves_our_own_alone(cls, value: dict[str, str]) -> dict[str, str]:
        if taken := sorted(name for name in value if name.startswith(_OWN_VARIABLES)):
            raise ValueError(f"must not set {taken[0]}: the operator sets it itself")
        return value

    @field_validator("lease_deadline_seconds")
    @classmethod
    def _ends_before_another_begins(cls, value: float, info: Any) -> float:
        duration = info.data.get("lease_duration_seconds", 0)
        if value >= duration:
            raise ValueError(f"must be below lease_duration_seconds ({duration}), or two leaders may act")
        return value
