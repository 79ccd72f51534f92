"""Why a pod's image cannot be had, told by what registry and runtime answered."""

import re

from finetune_operator.decisions.explanations import Problem
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.pods import image_of
from finetune_operator.decisions.texts import next_step, without_credentials

# The kubelet goes back and forth between trying and waiting: one word for both keeps the status still.
PULL_REASONS = {
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError",
    "RegistryUnavailable", "SignatureValidationFailed",
}  # fmt: skip
_WRAPPING = re.compile(r'^(?:Back-off pulling image "[^"]*"(?::\s*|$))?(?:ErrImagePull:\s*)?')
_CORRECT = "correct spec.runtime.image (absent: the operator's own image, which the platform team sets)"

# Answer -> reason, what it means, next step. First hit decides: a registry that hides what one may not see
# says "denied" of what is not there.
ANSWERS = (
    (
        r"no match for platform|no matching manifest", "ImageOfOtherPlatform",
        "Image {image} is not built for the node's processor",
        next_step(you=f"{_CORRECT}, or choose other nodes in spec.runtime.pod.nodeSelector"),
    ),
    (
        r"denied|unauthorized|authoriz|authentication|\b40[13]\b|no basic auth", "ImageAccessDenied",
        "Its registry does not let image {image} be pulled",
        next_step(
            you=f"{_CORRECT}, and name a pull secret in spec.runtime.pod.imagePullSecrets",
            platform="or give the nodes access",
        ),
    ),
    (
        r"not found|manifest unknown|no such image|does not exist", "ImageNotFound",
        "Image {image} does not exist", next_step(you=_CORRECT),
    ),
    (
        r"no space left", "NodeDiskFull", "The node has no room for image {image}",
        next_step(platform="make room on the node's image disk"),
    ),
    (
        r"", "ImagePullFailed", "Image {image} could not be pulled",
        next_step(platform="see whether the node reaches the registry; the run goes on by itself"),
    ),
)  # fmt: skip


def image_problem(pod: Object, reason: str, text: str) -> Problem:
    """reason, text: of the container that waits for its image."""
    image = image_of(pod) or "of the trainer"
    told = _WRAPPING.sub("", without_credentials(text).strip())
    if reason == "InvalidImageName":
        return Problem(reason, f"{image} is not the name of an image: {told}", next_step(you=_CORRECT))
    if reason == "ErrImageNeverPull":
        step = "load it onto the node, or set the chart's trainerImage.pullPolicy otherwise"
        message = f"Image {image} is not on the node and may not be pulled"
        return Problem("ImageNotPresent", message, next_step(platform=step))
    answers = (answer for answer in ANSWERS if re.search(answer[0], told, re.IGNORECASE))
    _, known, message, hint = next(answers)
    return Problem(known, f"{message.format(image=image)}: {told or 'the node says no more'}", hint)
