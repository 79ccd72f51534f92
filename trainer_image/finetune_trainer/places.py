"""Where things are on this machine: volumes, secrets and scratch space.

Built by the commands: in a pod from the constants of `finetune_api.run_file`, on a person's machine from
options.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_api.fields import SecretRef
from finetune_trainer.errors import InvalidSpec, NoAccess


@dataclass(frozen=True)
class Places:
    """Folders of this machine.

    volumes: one folder that holds a folder for every claim, or the folder of each claim.
    secrets: holds `<name>/<key>` for every secretRef.
    work: scratch space; caches, checkpoints, the model before it is published.
    private_addresses: let https:// sources reach hosts with private addresses. Off wherever a spec comes from
    somebody else: a run must not read the network it happens to stand in.
    """

    volumes: Path | Mapping[str, Path]
    secrets: Path
    work: Path
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

    def token(self, reference: SecretRef | None) -> str | None:
        """The key `token` of a Secret; None without a reference. Raises NoAccess if it is absent or empty."""
        if reference is None:
            return None
        try:
            text = (self.secrets / reference.name / "token").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise _no_token(reference.name, "could not be read") from error
        if not text:
            raise _no_token(reference.name, "is empty")
        return text


def _no_token(name: str, found: str) -> NoAccess:
    return NoAccess(
        "SecretKeyMissing",
        f"key `token` of Secret {name!r} {found}",
        f"create the Secret {name!r} with a key `token`",
    )
