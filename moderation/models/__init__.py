from __future__ import annotations

from moderation.models.access_traces import AccessTrace
from moderation.models.alarms import Alarm, AlarmCheck, AlarmNotice
from moderation.models.audits import Audit
from moderation.models.calibrations import (
    CalibrationAnswer,
    CalibrationImage,
    CalibrationNote,
    CalibrationParticipant,
    CalibrationSession,
)
from moderation.models.chores import Chore
from moderation.models.classifications import Classification, Label
from moderation.models.daily_stats import DailyStats
from moderation.models.decisions import ChainHead, Decision, Verdict
from moderation.models.deliveries import Delivery
from moderation.models.embeddings import Embedding
from moderation.models.exposure import Exposure
from moderation.models.golden_images import GoldenAnswer, GoldenImage
from moderation.models.hash_lists import HashEntry, HashEntryBand, HashList
from moderation.models.heads import Head, HeadChange, HeadRescoring, HeadTraining
from moderation.models.import_sets import ImportedFile, ImportSet
from moderation.models.judgement_reports import JudgementReport
from moderation.models.named_categories import NamedCategory
from moderation.models.period_counts import CountProgress, Measure, PeriodCount
from moderation.models.policies import (
    AskRule,
    EarnedTrust,
    Policy,
    PolicyActivation,
    PolicyProposal,
    PolicyRule,
)
from moderation.models.policy_trials import (
    PolicyShadow,
    PolicyTrial,
    ShadowCheck,
    ShadowCount,
    ShadowResult,
    TrialJudgement,
)
from moderation.models.preferences import ImageCover, Preferences
from moderation.models.prompt_trials import PromptTrial
from moderation.models.reclassifications import NewFinding, Reclassification, Resettlement
from moderation.models.record_events import RecordEvent
from moderation.models.retention import (
    Erasure,
    HeldImage,
    LegalHold,
    LegalHoldLift,
    RetentionEvent,
    RetentionRule,
)
from moderation.models.reviews import Review
from moderation.models.risk_stats import RiskKind, RiskProgress, RiskReport, RiskStats
from moderation.models.running_totals import RunningTotal
from moderation.models.saved_queues import SavedQueue
from moderation.models.score_stats import ScoreStats, ScoreStatsProgress
from moderation.models.storage_usage import StorageScan, StorageUsage
from moderation.models.team import BrowserSession, Invitation, LastActivity, TeamEvent
from moderation.models.verifications import PublishedHead, Verification
from moderation.models.word_stats import WordStats, WordStatsProgress

__all__ = [
    "AccessTrace",
    "Alarm",
    "AlarmCheck",
    "AlarmNotice",
    "AskRule",
    "Audit",
    "BrowserSession",
    "CalibrationAnswer",
    "CalibrationImage",
    "CalibrationNote",
    "CalibrationParticipant",
    "CalibrationSession",
    "ChainHead",
    "Chore",
    "Classification",
    "CountProgress",
    "DailyStats",
    "Decision",
    "Delivery",
    "EarnedTrust",
    "Embedding",
    "Erasure",
    "Exposure",
    "GoldenAnswer",
    "GoldenImage",
    "HashEntry",
    "HashEntryBand",
    "HashList",
    "Head",
    "HeadChange",
    "HeadRescoring",
    "HeadTraining",
    "HeldImage",
    "ImageCover",
    "ImportSet",
    "ImportedFile",
    "Invitation",
    "JudgementReport",
    "Label",
    "LastActivity",
    "LegalHold",
    "LegalHoldLift",
    "Measure",
    "NamedCategory",
    "NewFinding",
    "PeriodCount",
    "Policy",
    "PolicyActivation",
    "PolicyProposal",
    "PolicyRule",
    "PolicyShadow",
    "PolicyTrial",
    "Preferences",
    "PromptTrial",
    "PublishedHead",
    "Reclassification",
    "RecordEvent",
    "Resettlement",
    "RetentionEvent",
    "RetentionRule",
    "Review",
    "RiskKind",
    "RiskProgress",
    "RiskReport",
    "RiskStats",
    "RunningTotal",
    "SavedQueue",
    "ScoreStats",
    "ScoreStatsProgress",
    "ShadowCheck",
    "ShadowCount",
    "ShadowResult",
    "StorageScan",
    "StorageUsage",
    "TeamEvent",
    "TrialJudgement",
    "Verdict",
    "Verification",
    "WordStats",
    "WordStatsProgress",
]
