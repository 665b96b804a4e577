"""What may or may not be done with the data: a dashboard is used, ML training is run."""

from __future__ import annotations

import re
from typing import NamedTuple

from ledgermind_obs.dbt.manifest import Exposure, tags_of

_ML_WORDS = frozenset({"ml", "training"})


class Subject(NamedTuple):
    """What a gate is in front of: how a refusal begins, and how a permission does."""

    refusal: str
    permission: str


ML_TRAINING = Subject("DO NOT RUN ML TRAINING", "ML training may run")
_BY_TYPE = {
    "ml": ML_TRAINING,
    "application": Subject("DO NOT RUN THE APPLICATION", "the application may run"),
    "dashboard": Subject("DO NOT USE THE DASHBOARD", "the dashboard may be used"),
    "notebook": Subject("DO NOT RUN THE NOTEBOOK", "the notebook may run"),
    "analysis": Subject("DO NOT RUN THE ANALYSIS", "the analysis may run"),
}


def subject_of(exposure: Exposure | None, name: str = "") -> Subject:
    """Return what the gate is in front of; ``name`` is what is known of an exposure not yet found.

    Without either it is ML training.
    """
    if exposure is None:
        return _named(name) if name and not _speaks_of_ml(name) else ML_TRAINING
    kind = (exposure.type or "").lower()
    words = (exposure.name, *tags_of(exposure))
    if kind == "application" and any(_speaks_of_ml(word) for word in words):
        return ML_TRAINING
    return _BY_TYPE.get(kind) or _named(exposure.name)


def _named(name: str) -> Subject:
    return Subject(f"DO NOT USE {name}", f"{name} may be used")


def _speaks_of_ml(text: str) -> bool:
    return bool(_ML_WORDS & set(re.split(r"[^a-z0-9]+", text.lower())))
