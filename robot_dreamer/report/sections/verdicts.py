"""Rules of thumb that say in words what the numbers of a portrait mean. A hint for a person, not a judgement."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from robot_dreamer.record import Arrays
from robot_dreamer.report.run_files import RunFiles

COLLAPSED = 0.1  # nats of KL below which the posterior says nothing that the prior does not
BLIND = 0.9  # reconstruction error, in standard deviations, at which a sensor might as well not be there


def model_verdicts(files: RunFiles, portrait: Arrays) -> Iterator[tuple[str, str]]:
    """(level, sentence) about the world model."""
    names = [key.removeprefix("spread/") for key in portrait if key.startswith("spread/")]
    blind = []
    for name in names:
        spread, seen = portrait[f"spread/{name}"], portrait[f"rmse/seen/{name}"]
        moves = spread > 0
        if moves.any() and np.sqrt(np.square(seen[moves] / spread[moves]).mean()) > BLIND:
            blind.append(name)
    if blind:
        yield (
            "bad",
            (
                f"Blind to {', '.join(sorted(blind))}: the reconstruction is about as wrong as the mean. Early in a "
                "run that is normal; later look at the sensor's scale and unit, and at its loss beside the others'."
            ),
        )
    nats = float(np.mean(portrait["surprise"]))
    if np.isfinite(nats) and nats < COLLAPSED and files.config.get("objective") != "world_models":
        yield (
            "bad",
            (
                f"The posterior has collapsed: the KL is {nats:.2g} nats, so the latent carries next to nothing of "
                "what is seen. Lower the scales of the KL, or raise model.free_nats or the scale of the reconstruction."
            ),
        )
    judged = {name: _beats_standing_still(portrait, name) for name in names}
    better = [name for name, beats in judged.items() if beats]
    if better and not blind:
        yield "good", f"Dreams beat the assumption that nothing changes for {', '.join(sorted(better))}."
    worse = sorted({name for name, beats in judged.items() if beats is False} - set(blind))
    if worse:
        yield (
            "bad",
            f"Dreams are no better than the assumption that nothing changes for {', '.join(worse)}."
            + _free(files, nats),
        )
    if not all(np.isfinite(v).all() for k, v in portrait.items() if k.startswith(("surprise", "rmse/seen"))):
        yield "bad", "Some numbers of the portrait are not finite."


def _free(files: RunFiles, nats: float) -> str:
    """What to do if the KL is where it has no gradient, in DreamerV3's rule."""
    free = files.config.get("model", {}).get("free_nats", 0.0)
    if files.config.get("objective") != "dreamer_v3" or not nats < free:
        return ""
    return (
        f" The KL, {nats:.2g} nats, is below model.free_nats = {free:g}, where nothing trains the prior that dreams "
        "are drawn from: lower it if that stays."
    )


def behavior_verdicts(portrait: Arrays) -> Iterator[tuple[str, str]]:
    """(level, sentence) about the behaviour."""
    if "episode/value" in portrait and np.isfinite(portrait["episode/value"]).all():
        value, obtained = portrait["episode/value"], portrait["episode/obtained"]
        gap, size = float(np.mean(value - obtained)), float(np.mean(np.abs(obtained)))
        if gap > 0.3 * size and gap > 1e-3:
            yield (
                "bad",
                (
                    f"Over-optimistic: along the newest episode the critic expected {np.mean(value):.4g} where "
                    f"{np.mean(obtained):.4g} came. Common early; if it stays, the actor has found what the "
                    "model gets wrong."
                ),
            )
        elif -gap > 0.3 * size and -gap > 1e-3:
            yield (
                "",
                (
                    f"Cautious: along the newest episode the critic expected {np.mean(value):.4g} where "
                    f"{np.mean(obtained):.4g} came. It learns late what the policy earns, or this episode went well."
                ),
            )
        else:
            yield (
                "good",
                f"Along the newest episode the critic expected {np.mean(value):.4g}, and {np.mean(obtained):.4g} came.",
            )


def _beats_standing_still(portrait: Arrays, name: str) -> bool | None:
    """Whether dreams come nearer than what was seen last, each component by what it varies by; None where that is
    right, or nothing was dreamed."""
    spread = portrait[f"spread/{name}"]
    moves = spread > 0
    dreamt, still = (portrait[f"rmse/{kind}/{name}"][:, moves] / spread[moves] for kind in ("dreamt", "still"))
    both = np.isfinite(dreamt) & np.isfinite(still)
    if not still[both].any():
        return None
    return bool(np.square(dreamt[both]).mean() < np.square(still[both]).mean())
