from __future__ import annotations

from moderation.models.classifications import Classification, Label
from moderation.models.decisions import ChainHead, Decision, Verdict
from moderation.models.deliveries import Delivery
from moderation.models.policies import Policy, PolicyActivation, PolicyRule
from moderation.models.preferences import Preferences
from moderation.models.reviews import Review

__all__ = [
    "ChainHead",
    "Classification",
    "Decision",
    "Delivery",
    "Label",
    "Policy",
    "PolicyActivation",
    "PolicyRule",
    "Preferences",
    "Review",
    "Verdict",
]
