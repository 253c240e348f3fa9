"""Model cards: what a trained network is, on what it was measured, and what it is not for."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.evaluation.assessment import Assessment
from edgekit.evaluation.confidence import Confidence
from edgekit.evaluation.scores import Gap, Score, Share

UTKFACE_TERMS = """\
UTKFace, for non-commercial research only, and so are weights trained on it. Its ages are
estimates checked by people, not birth dates. It gives no identities: near-duplicates were kept
on one side of the split, but one person may be on both."""

OTHER_TERMS = "The terms of the data set hold for the weights too; ask whoever gave it to you."

NOT_FOR = """\
Meant for measuring deployment: latency, size and accuracy of small networks on small machines,
and research that its data allow. It must not be used to decide anything about a person, to
identify, watch or sort people, to check an age for access to goods or services, to infer gender
identity (it reproduces a binary label given by annotators from looks), or on children's images
without the consent their law demands."""

LIMITS = """\
One centred, upright face that fills the picture, as the training images are cropped: other crops,
profiles, masks, heavy make-up and low light were not measured. The numbers are of one data set
and say little about another. The groups fare differently: see the gaps."""


def model_card(
    title: str, parameters: int, command: str, assessment: Assessment, training: list[str]
) -> str:
    """Return a model card in Markdown. `training` are lines on how the network was trained."""
    terms = UTKFACE_TERMS if "UTKFace" in assessment.protocol else OTHER_TERMS
    sections = [
        f"# {title}",
        f"{parameters:,} parameters.",
        f"## Data and terms\n\n{assessment.protocol}.\n\n{terms}",
        "## Training\n\n" + "\n".join(f"- {line}" for line in training),
        f"    {command}",
        f"## Accuracy on the test side ({assessment.images:,} images, evaluated once)",
        "95 % intervals by bootstrap over images.",
        *(_score(item) for item in assessment.scores),
        *([_confidence(assessment.confidence)] if assessment.confidence else []),
        "## Gaps between groups\n\n" + "\n\n".join(_gap(item) for item in assessment.gaps),
        f"## Intended use, and what it must not be used for\n\n{NOT_FOR}",
        f"## Limits\n\n{LIMITS}",
    ]
    return "\n\n".join(sections) + "\n"


def percent(item: Share) -> str:
    """Return a share with its interval, for example `75.1 % [73.0, 77.2] of 1,763`."""
    return f"{item.percent:.1f} % [{item.low:.1f}, {item.high:.1f}] of {item.count:,}"


def _score(item: Score) -> str:
    lines = [f"### {item.output}\n", f"- exact: {percent(item.exact)}"]
    if item.one_off is not None:
        lines += [
            f"- exact or a neighbouring class: {percent(item.one_off)}",
            f"- mean absolute error: {item.error:.3f} classes",
        ]
    lines += [
        f"- mean of the classes' recalls: {item.balanced:.1f} %",
        "",
        "| class | images | recall |",
        "|---|---|---|",
    ]
    for row in item.classes:
        recall = "none" if row.recall is None else f"{row.recall:.1f} %"
        lines.append(f"| {row.label} | {row.count} | {recall} |")
    names = [row.label for row in item.classes]
    lines += [
        "",
        "Rows are the true classes, columns the answers:",
        "",
        f"| | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    for name, cells in zip(names, item.confusion, strict=True):
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _confidence(items: Sequence[Confidence]) -> str:
    """Return how far the confidences can be believed, before the temperature and with it."""
    lines = [
        "## Confidence\n",
        "The expected calibration error, in points: how far a confidence is from the share of "
        "right answers that have it. The temperature was fitted on the validation side.\n",
        "| output | temperature | error | error without temperature | mean confidence |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {item.output} | {item.temperature:.2f} | {item.ece:.1f} | {item.plain_ece:.1f} | "
        f"{item.mean:.1f} % |"
        for item in items
    ]
    return "\n".join(lines)


def _gap(item: Gap) -> str:
    groups = ", ".join(f"{name} {percent(share)}" for name, share in item.groups.items())
    return f"{item.output} by {item.by}, {item.points:.1f} points between best and worst: {groups}."
