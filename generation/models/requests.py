"""Generation requests, their remote images, and the history of their status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import uuid4

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from generation.core.db.state_machine import DueModel, DueQuerySet, StateMachine, due_index
from generation.core.urls import build_url
from generation.models.api_keys import ApiKey
from generation.models.txt2img_columns import Txt2ImgColumns
from generation.providers.base import Submission
from generation.wire import field_map

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User


class GenerationRequestQuerySet(DueQuerySet["GenerationRequest"]):
    def open(self) -> Self:
        """Return requests that the workers still process."""
        return self.filter(status__in=GenerationRequest.OPEN)

    def visible_to(self, user: User | AnonymousUser) -> Self:
        """Return the requests that a person may see: all with the permission, else their own."""
        if not user.is_authenticated:
            return self.none()
        return (
            self
            if user.has_perm("generation.view_generationrequest")
            else self.filter(requested_by=user)
        )


class GenerationRequest(Txt2ImgColumns, StateMachine, DueModel):
    """A txt2img request, from the form to its stored images.

    Ranges of the fields: ``generation.wire.txt2img``.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        SUBMITTING = "submitting", "Submitting"
        PROCESSING = "processing", "Processing"
        FETCHING = "fetching", "Fetching"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        UNKNOWN = "unknown", "Unknown"
        CANCELLED = "cancelled", "Cancelled"

    OPEN = (Status.QUEUED, Status.SUBMITTING, Status.PROCESSING, Status.FETCHING)
    FINISHED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)
    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.QUEUED: (Status.SUBMITTING, Status.CANCELLED),
        Status.SUBMITTING: (Status.PROCESSING, Status.QUEUED, Status.FAILED, Status.UNKNOWN),
        Status.PROCESSING: (Status.FETCHING, Status.FAILED),
        Status.FETCHING: (Status.SUCCEEDED, Status.FAILED),
        # To processing after a webhook named the lost task ID and a poll with our own key confirmed
        # it.
        Status.UNKNOWN: (Status.PROCESSING, Status.QUEUED, Status.FAILED),
        Status.FAILED: (Status.QUEUED,),
        Status.SUCCEEDED: (),
        Status.CANCELLED: (),
    }

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    provider = models.CharField(max_length=40)
    provider_task_id = models.CharField("provider task", max_length=200, blank=True)
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED)
    progress = models.PositiveSmallIntegerField(
        default=0, help_text="Percent, as the provider reports it."
    )
    eta_seconds = models.PositiveIntegerField("seconds left", null=True, blank=True)
    reason = models.CharField(
        max_length=80, blank=True, help_text="Error code of the provider or of Loupe."
    )
    error = models.TextField(blank=True, help_text="Readable message for the reason.")

    cost = models.DecimalField(
        "cost (USD)",
        max_digits=10,
        decimal_places=6,
        null=True,
        blank=True,
        help_text="Empty if unknown.",
    )
    # Raw response to the submission, first 4 KiB, stored before it is parsed.
    submit_answer = models.TextField(blank=True, editable=False)
    # The last task result, without the signatures in its URLs. Includes fields that Loupe cannot
    # parse.
    result = models.JSONField(null=True, blank=True, editable=False)
    # SHA-256 of the secret in the webhook URL: read access to the table does not allow calls.
    webhook_digest = models.CharField(max_length=64, blank=True, editable=False)
    # A task ID from a webhook while none was known. Unconfirmed until a poll with our own key.
    candidate_task_id = models.CharField(max_length=200, blank=True, editable=False)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT
    )
    api_key = models.ForeignKey(
        ApiKey,
        verbose_name="API key",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="requests",
    )
    # The Idempotency-Key that a program sent, and the SHA-256 of the body.
    idempotency_key = models.CharField(max_length=255, blank=True, editable=False)
    idempotency_digest = models.CharField(max_length=64, blank=True, editable=False)
    # The program's webhook URL. Its query string may contain a secret of the program, so no page
    # shows it.
    callback_url = models.TextField(blank=True, editable=False)
    end_user = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="Id of the end user for whom a program sent the request.",
    )
    # Deduplicates repeated submissions of one form.
    form_token = models.UUIDField(default=uuid4, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    submitted_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = GenerationRequestQuerySet.as_manager()

    class Meta:
        verbose_name = "request"
        indexes = [
            due_index("request_due"),
            models.Index(fields=["-created_at", "-id"], name="request_newest"),
            models.Index(fields=["status", "-created_at"], name="request_status"),
            models.Index(fields=["model_name", "-id"], name="request_model"),
            models.Index(fields=["seed", "-id"], name="request_seed"),
            models.Index(
                fields=["end_user", "-id"], name="request_end_user", condition=~Q(end_user="")
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="request_status_known",
                condition=Q(
                    status__in=[
                        "queued",
                        "submitting",
                        "processing",
                        "fetching",
                        "succeeded",
                        "failed",
                        "unknown",
                        "cancelled",
                    ]
                ),
            ),
            models.CheckConstraint(
                name="request_finished_iff_final",
                condition=Q(
                    status__in=["succeeded", "failed", "cancelled"], finished_at__isnull=False
                )
                | (
                    ~Q(status__in=["succeeded", "failed", "cancelled"])
                    & Q(finished_at__isnull=True)
                ),
            ),
            models.CheckConstraint(
                name="request_failure_has_a_sentence",
                condition=~Q(status__in=["failed", "unknown"]) | ~Q(error=""),
            ),
            models.CheckConstraint(
                name="request_progress_is_percent", condition=Q(progress__lte=100)
            ),
            models.CheckConstraint(
                name="request_image_num_range", condition=Q(image_num__gte=1, image_num__lte=8)
            ),
            models.CheckConstraint(name="request_seed_is_ours", condition=Q(seed__gte=0)),
            models.UniqueConstraint(
                fields=["provider", "provider_task_id"],
                name="request_one_per_task",
                condition=~Q(provider_task_id=""),
            ),
            models.UniqueConstraint(
                fields=["api_key", "idempotency_key"],
                name="request_one_per_idempotency_key",
                condition=~Q(idempotency_key=""),
            ),
            models.UniqueConstraint(
                fields=["webhook_digest"],
                name="request_one_per_webhook",
                condition=~Q(webhook_digest=""),
            ),
        ]
        permissions = [
            (
                "resolve_request",
                "Can settle a request whose outcome is unknown, and retry failed ones",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prompt[:60]} ({self.get_status_display()})"

    def get_absolute_url(self) -> str:
        return build_url("generation:request-detail", self.uuid)

    def is_visible_to(self, user: User) -> bool:
        """Return whether a person may see this request; same rule as ``visible_to``."""
        return user.has_perm("generation.view_generationrequest") or self.requested_by_id == user.pk

    @property
    def short_id(self) -> str:
        return str(self.uuid)[:8]

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN

    @property
    def submission(self) -> Submission:
        """The request in the form that providers accept."""
        return Submission({name: getattr(self, name) for name in field_map.NAMES})

    def move_to(
        self,
        status: str,
        *,
        only_from: str = "",
        where: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Self:
        """Change the status and record a RequestTransition in the same transaction.

        Arguments and errors as in StateMachine.move_to.
        """
        if status in self.FINISHED:
            fields |= {"finished_at": timezone.now(), "due_at": None}
        elif self.status in self.FINISHED:
            fields["finished_at"] = None
        with transaction.atomic():
            before = self.status
            super().move_to(status, only_from=only_from, where=where, **fields)
            RequestTransition.objects.create(
                request=self, old=only_from or before, new=status, reason=self.error or self.reason
            )
        return self


class RequestTransition(models.Model):
    """One change of a request's status, written with the change and never altered."""

    request = models.ForeignKey(
        GenerationRequest, on_delete=models.CASCADE, related_name="transitions"
    )
    old = models.CharField(max_length=12)
    new = models.CharField(max_length=12)
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["request", "created_at"], name="transition_order")]

    def __str__(self) -> str:
        return f"{self.old} → {self.new}"


class RemoteImage(StateMachine, DueModel):
    """A finished image at an expiring URL of the provider; work of the job ``fetch``."""

    class Status(models.TextChoices):
        WAITING = "waiting", "Waiting"
        STORED = "stored", "Stored"
        FAILED = "failed", "Failed"

    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.WAITING: (Status.STORED, Status.FAILED),
        Status.STORED: (),
        Status.FAILED: (),
    }

    request = models.ForeignKey(
        GenerationRequest, on_delete=models.CASCADE, related_name="remote_images"
    )
    position = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=7, choices=Status, default=Status.WAITING)
    # A signed URL is a secret while it is valid: cleared when the image is stored or failed, and
    # never shown.
    url = models.TextField(blank=True)
    expires_at = models.DateTimeField()
    image_type = models.CharField(max_length=10, blank=True)
    seed = models.BigIntegerField(null=True, blank=True)
    refreshes = models.PositiveSmallIntegerField(
        default=0, help_text="How often a fresh URL was requested."
    )
    # The provider's own result, unaltered; None: not requested.
    detection = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True)

    objects = DueQuerySet["RemoteImage"].as_manager()

    class Meta:
        indexes = [due_index("remote_image_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["request", "position"], name="remote_image_one_per_position"
            ),
            models.CheckConstraint(
                name="remote_image_status_known",
                condition=Q(status__in=["waiting", "stored", "failed"]),
            ),
        ]

    def __str__(self) -> str:
        return f"Image {self.position + 1} of request {self.request_id}"
