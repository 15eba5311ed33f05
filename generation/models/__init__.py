from __future__ import annotations

from generation.core.db.state_machine import InvalidTransitionError, StateMachine
from generation.models.api_keys import ApiCall, ApiKey, ImagesOfDay, Scope
from generation.models.assets import Asset, OriginalProblem, Source
from generation.models.image_search import AssetText, HashBand
from generation.models.job_slots import JobSlot
from generation.models.providers import ImportRun, ProviderState
from generation.models.requests import GenerationRequest, RemoteImage, RequestTransition
from generation.models.service_calls import ServiceCall
from generation.models.storage_reports import StorageReport

__all__ = [
    "ApiCall",
    "ApiKey",
    "Asset",
    "AssetText",
    "GenerationRequest",
    "HashBand",
    "ImagesOfDay",
    "ImportRun",
    "InvalidTransitionError",
    "JobSlot",
    "OriginalProblem",
    "ProviderState",
    "RemoteImage",
    "RequestTransition",
    "Scope",
    "ServiceCall",
    "Source",
    "StateMachine",
    "StorageReport",
]
