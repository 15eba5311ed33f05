from __future__ import annotations

from generation.models.assets import Asset, Source
from generation.models.keys import ApiCall, ApiKey, ImagesOfDay, Scope
from generation.models.lookup import AssetText, HashBand
from generation.models.providers import ImportRun, ProviderState
from generation.models.pumps import PumpSlot
from generation.models.requests import GenerationRequest, RemoteImage, RequestTransition
from generation.models.states import InvalidTransition, StateMachine
from generation.models.storage import StorageReport

__all__ = [
    "ApiCall",
    "ApiKey",
    "Asset",
    "AssetText",
    "GenerationRequest",
    "HashBand",
    "ImagesOfDay",
    "ImportRun",
    "InvalidTransition",
    "ProviderState",
    "PumpSlot",
    "RemoteImage",
    "RequestTransition",
    "Scope",
    "Source",
    "StateMachine",
    "StorageReport",
]
