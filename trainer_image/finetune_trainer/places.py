"""Where things are on this machine: volumes, secrets and scratch space.

Built by the commands: in a pod from the constants of `finetune_api.run_file`, on a person's machine from
options.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_api.fields import SecretRef
from finetune_trainer.errors import InvalidSpec, NoAccess
from finetune_trainer.sources.transfers import OnTransfer, tell_nobody


@dataclass(frozen=True)
class Places:
    """Folders of this machine.

    volumes: one folder that holds a folder for every claim, or the folder of each claim.
    secrets: holds `<name>/<key>` for every secretRef.
    work: scratch space; the model before it is published.
    config_maps: holds `<name>/<key>` for every ConfigMap that a URI names; None where there are none.
    checkpoints: of interrupted trainings, below a folder for every run; None where this machine keeps none.
    shared_cache: downloads, kept for other runs and used by several at once; None keeps them in `work`.
    on_transfer: told how far a download is.
    private_addresses: let https:// sources reach hosts with private addresses. Off wherever a spec comes from
    somebody else: a run must not read the network it happens to stand in.
    """

    volumes: Path | Mapping[str, Path]
    secrets: Path
    work: Path
    config_maps: Path | None = None
    shared_cache: Path | None = None
    checkpoints: Path | None = None
    on_transfer: OnTransfer = tell_nobody
    private_addresses: bool = False

    def volume(self, claim: str) -> Path:
        """The folder of a claim. Raises InvalidSpec("VolumeMissing") when there is none."""
        known = self.volumes if isinstance(self.volumes, Mapping) else None
        folder = self.volumes / claim if isinstance(self.volumes, Path) else self.volumes.get(claim)
        if folder is None or not folder.is_dir():
            found = (
                f"found {', '.join(sorted(known)) or 'none'}" if known is not None else "it is not mounted"
            )
            raise InvalidSpec(
                "VolumeMissing",
                f"volume {claim!r} has no folder on this machine: {found}",
                f"mount the claim {claim!r}, or with `finetune-trainer run` give its folder",
            )
        return folder

    def config_map(self, name: str) -> Path:
        """The folder with the keys of a ConfigMap. Raises InvalidSpec("ConfigMapMissing")."""
        folder = self.config_maps / name if self.config_maps is not None else None
        if folder is None or not folder.is_dir():
            raise InvalidSpec(
                "ConfigMapMissing",
                f"ConfigMap {name!r} has no folder on this machine",
                f"create the ConfigMap {name!r}, or with `finetune-trainer run` a folder of its keys",
            )
        return folder

    @property
    def cache(self) -> Path:
        """Where downloads are kept."""
        return self.shared_cache or self.work / "cache"

    def secret(self, reference: SecretRef | None) -> Path | None:
        """The folder with the keys of a Secret; None without a reference. Raises NoAccess if it is absent."""
        if reference is None:
            return None
        folder = self.secrets / reference.name
        if not folder.is_dir():
            raise NoAccess(
                "SecretMissing",
                f"Secret {reference.name!r} has no folder on this machine",
                f"create the Secret {reference.name!r}, or with `finetune-trainer run` a folder of its keys",
            )
        return folder

    def token(self, reference: SecretRef | None) -> str | None:
        """The key `token` of a Secret; None without a reference. Raises NoAccess if it is absent or empty."""
        folder = self.secret(reference)
        return None if folder is None else read_key(folder, "token")


def read_key(secret: Path, key: str) -> str:
    """A key of a Secret, without blanks around it. Raises NoAccess if it is absent or empty."""
    try:
        text = (secret / key).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _no_key(secret.name, key, "could not be read") from error
    if not text:
        raise _no_key(secret.name, key, "is empty")
    return text


def read_optional_key(secret: Path, key: str) -> str | None:
    """A key that a Secret may lack."""
    return read_key(secret, key) if (secret / key).exists() else None


def _no_key(name: str, key: str, found: str) -> NoAccess:
    return NoAccess(
        "SecretKeyMissing",
        f"key `{key}` of Secret {name!r} {found}",
        f"give the Secret {name!r} a key `{key}`",
    )
