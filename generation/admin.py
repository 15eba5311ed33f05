"""The admin pages of generation and of the task queue.

All but the API keys are read-only, because they are history and the state of the workers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django_q.models import Failure, OrmQ, Schedule, Success

from generation import providers
from generation.core.admin import ReadOnlyAdmin, ReadOnlyInline
from generation.models import (
    ApiCall,
    ApiKey,
    Asset,
    AssetText,
    GenerationRequest,
    ImagesOfDay,
    ImportRun,
    InvalidTransitionError,
    JobSlot,
    ProviderState,
    RemoteImage,
    RequestTransition,
    Scope,
)
from generation.sandbox.models import SandboxRefusal, SandboxTask
from generation.services import requests as service
from generation.wire import field_map
from generation.wire.txt2img import IMAGE_TYPES


class ProviderFilter(admin.SimpleListFilter):
    """A filter by configured provider. Reading the names from the table would scan all of it."""

    title = "provider"
    parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(providers.list_labels().items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(provider=self.value()) if self.value() else queryset


class ImageTypeFilter(admin.SimpleListFilter):
    title = "image type"
    parameter_name = "image_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in IMAGE_TYPES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(image_type=self.value()) if self.value() else queryset


class RemoteImageInline(ReadOnlyInline):
    """Remote images without their URL, because a valid URL gives access to the image."""

    model = RemoteImage
    exclude = ("url",)
    fields = ("position", "status", "image_type", "expires_at", "attempts", "detection", "error")
    ordering = ("position",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[RemoteImage]:
        return super().get_queryset(request).defer("url")


class RequestTransitionInline(ReadOnlyInline):
    model = RequestTransition
    fields = ("created_at", "old", "new", "reason")
    ordering = ("created_at", "pk")


IMAGE = ("prompt", "negative_prompt", "model_name", "width", "height", "image_num")
METHOD = ("sampler_name", "steps", "guidance_scale", "seed")
DELIVERY = tuple(name for name, path in field_map.PATHS.items() if path[0] == "extra")
MORE = tuple(name for name in field_map.NAMES if name not in (*IMAGE, *METHOD, *DELIVERY))


@admin.register(GenerationRequest)
class GenerationRequestAdmin(ReadOnlyAdmin):
    list_display = (
        "short_id",
        "beginning",
        "provider",
        "status",
        "progress",
        "requested_by",
        "created_at",
        "desk",
    )
    list_filter = ("status", ProviderFilter, "created_at")
    list_select_related = ("requested_by",)
    search_fields = ("uuid", "prompt", "=provider_task_id", "model_name")
    search_help_text = "Id, words of the prompt, the provider's task id, or a model's name."
    ordering = ("-created_at", "-id")
    # API callers may send secrets: a callback URL with a token, an idempotency key.
    exclude = (
        "id",
        "lease",
        "form_token",
        "webhook_digest",
        "callback_url",
        "idempotency_key",
        "idempotency_digest",
    )
    readonly_fields = ("uuid", "callback", "idempotency")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "uuid",
                    "provider",
                    "provider_task_id",
                    "status",
                    "progress",
                    "eta_seconds",
                )
            },
        ),
        ("Error", {"fields": ("reason", "error", "attempts")}),
        ("Prompt and model", {"fields": IMAGE}),
        ("Parameters", {"fields": METHOD}),
        ("Advanced", {"fields": MORE}),
        ("Delivery", {"fields": DELIVERY}),
        ("API caller", {"fields": ("api_key", "callback", "idempotency")}),
        (
            "Record",
            {
                "fields": (
                    "requested_by",
                    "created_at",
                    "submitted_at",
                    "finished_at",
                    "due_at",
                    "cost",
                )
            },
        ),
        (
            "Provider responses",
            {"classes": ("collapse",), "fields": ("submit_answer", "candidate_task_id", "result")},
        ),
    )
    inlines = (RemoteImageInline, RequestTransitionInline)
    actions = ("retry_failed", "give_up_unknown")

    def get_queryset(self, request: HttpRequest) -> QuerySet[GenerationRequest]:
        return super().get_queryset(request).defer("negative_prompt", "submit_answer")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the groups, with another one for columns that no group names."""
        named = {name for _, group in self.fieldsets for name in group["fields"]}
        rest = [
            f.name for f in self.opts.fields if f.name not in named and f.name not in self.exclude
        ]
        return (*self.fieldsets, ("Other", {"fields": rest})) if rest else self.fieldsets

    @admin.display(description="id", ordering="uuid")
    def short_id(self, row: GenerationRequest) -> str:
        return row.short_id

    @admin.display(description="prompt")
    def beginning(self, row: GenerationRequest) -> str:
        return Truncator(row.prompt).chars(60)

    @admin.display(description="webhook URL")
    def callback(self, row: GenerationRequest) -> str:
        return "set" if row.callback_url else "none"

    @admin.display(description="idempotency key")
    def idempotency(self, row: GenerationRequest) -> str:
        return "set" if row.idempotency_key else "none"

    @admin.display(description="desk")
    def desk(self, row: GenerationRequest) -> SafeString:
        return format_html('<a href="{}">open</a>', row.get_absolute_url())

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("generation.resolve_request"))

    @admin.action(
        description="Send failed requests again (may cost twice)", permissions=["resolve"]
    )
    def retry_failed(self, request: HttpRequest, chosen: QuerySet[GenerationRequest]) -> None:
        failed = chosen.filter(status=GenerationRequest.Status.FAILED)
        self._each(
            request,
            failed,
            chosen.count(),
            lambda row: service.retry_request(request=row),
            "sent again",
        )

    @admin.action(description="Give up requests with unknown outcome", permissions=["resolve"])
    def give_up_unknown(self, request: HttpRequest, chosen: QuerySet[GenerationRequest]) -> None:
        user = request.user
        assert isinstance(user, User)
        unknown = chosen.filter(status=GenerationRequest.Status.UNKNOWN)
        self._each(
            request,
            unknown,
            chosen.count(),
            lambda row: service.give_up_request(request=row, user=user),
            "given up",
        )

    def _each(
        self,
        request: HttpRequest,
        rows: QuerySet[GenerationRequest],
        wanted: int,
        act: Callable[[GenerationRequest], object],
        done: str,
    ) -> None:
        count, blank, reason = 0, 0, ""
        for row in rows:
            try:
                act(row)
            except InvalidTransitionError:
                continue
            except service.BlankPromptError as error:
                blank += 1
                reason = str(error)
                continue
            count += 1
        self.message_user(request, f"{count} of {wanted} chosen requests {done}.", messages.SUCCESS)
        if blank:
            self.message_user(request, f"{blank} not sent: {reason}", messages.WARNING)
        if count + blank < wanted:
            self.message_user(
                request, "The status of the others does not allow it.", messages.WARNING
            )


@admin.register(AssetText)
class AssetTextAdmin(ReadOnlyAdmin):
    """The searchable words of assets. The search of the desk is faster than this one."""

    list_display = ("asset", "text")
    search_fields = ("=asset__uuid",)
    list_select_related = ("asset",)
    ordering = ("-pk",)


@admin.register(Asset)
class AssetAdmin(ReadOnlyAdmin):
    """Data about assets. The image itself is shown as a blurred preview only."""

    list_display = (
        "short_id",
        "tiny",
        "dimensions",
        "source",
        "image_type",
        "short_sha256",
        "created_at",
        "review_link",
    )
    list_filter = ("source", ImageTypeFilter, "created_at")
    list_select_related = ("review",)
    search_fields = ("uuid", "=sha256", "=source_sha256", "=original_sha256", "original_name")
    search_help_text = "Id, SHA-256 (of the rendition, original or received file), or file name."
    ordering = ("-created_at", "-id")
    exclude = ("id", "rendition", "thumbnail", "original", "preview", "pdq")
    readonly_fields = ("tiny", "stored_as", "perceptual_hash", "review_link")

    @admin.display(description="id", ordering="uuid")
    def short_id(self, asset: Asset) -> str:
        return asset.short_id

    @admin.display(description="preview")
    def tiny(self, asset: Asset) -> SafeString:
        return format_html('<img src="{}" alt="" width="24" height="24">', asset.preview)

    @admin.display(description="size", ordering="size")
    def dimensions(self, asset: Asset) -> str:
        return f"{asset.width} × {asset.height}, {asset.size:,} bytes"

    @admin.display(description="SHA-256")
    def short_sha256(self, asset: Asset) -> str:
        return asset.sha256[:12]

    @admin.display(description="stored as")
    def stored_as(self, asset: Asset) -> str:
        names = (asset.rendition.name, asset.thumbnail.name, asset.original.name)
        return ", ".join(name for name in names if name)

    @admin.display(description="perceptual hash (PDQ)")
    def perceptual_hash(self, asset: Asset) -> str:
        return bytes(asset.pdq).hex() if asset.pdq else "none: the image has too little detail"

    @admin.display(description="review")
    def review_link(self, asset: Asset) -> SafeString | str:
        review = getattr(asset, "review", None)  # of another app, known here by name only
        if review is None:
            return "–"
        return format_html(
            '<a href="{}">{}</a>', review.get_absolute_url(), review.get_status_display()
        )


class ApiKeyForm(forms.ModelForm[ApiKey]):
    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = ApiKey
        fields = ("name", "scopes", "owner", "calls_per_minute", "images_per_day", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        widget = self.fields["expires_at"].widget
        if isinstance(widget, forms.MultiWidget):  # two inputs, one label
            for part, name in zip(widget.widgets, ("date", "time"), strict=True):
                part.attrs["aria-label"] = f"Expires at: {name}"


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin[ApiKey]):
    """API keys, made here or by ``manage.py create_api_key``.

    The key itself is shown once, in the response to the form.
    """

    form = ApiKeyForm
    list_display = (
        "name",
        "hint",
        "owner",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    list_filter = ("revoked_at", "created_at")
    search_fields = ("name", "hint", "owner__username")
    list_select_related = ("owner",)
    readonly_fields = ("hint", "created_at", "last_used_at", "revoked_at")
    actions = ("revoke",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        made, obj.text = ApiKey.make(**form.cleaned_data)
        obj.pk, obj.hint, obj.webhook_secret = made.pk, made.hint, made.webhook_secret

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key in this response.

        A message after a redirect would store it in the session in plain text.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": "The new API key",
            "opts": self.opts,
            "key": obj,
        }
        return TemplateResponse(request, "admin/generation/apikey/made.html", context)

    @admin.action(description="Revoke", permissions=["change"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiKey]) -> None:
        for key in chosen:
            key.revoke()
        self.message_user(request, "Revoked. Calls with these keys are refused.")


@admin.register(ApiCall)
class ApiCallAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at",
        "key",
        "method",
        "path",
        "status",
        "reason",
        "images",
        "duration_ms",
    )
    list_filter = ("status", "created_at")
    search_fields = ("key__name", "path", "reason")
    list_select_related = ("key",)
    ordering = ("-pk",)


@admin.register(ImagesOfDay)
class ImagesOfDayAdmin(ReadOnlyAdmin):
    list_display = ("day", "key", "images")
    list_filter = ("day",)
    search_fields = ("key__name",)
    list_select_related = ("key",)
    ordering = ("-day", "-pk")


@admin.register(JobSlot)
class JobSlotAdmin(ReadOnlyAdmin):
    list_display = ("name", "host", "number", "wanted_at", "running_until")
    list_filter = ("name",)
    ordering = ("name", "host", "number")


@admin.register(ProviderState)
class ProviderStateAdmin(ReadOnlyAdmin):
    list_display = ("slug", "last_success_at", "last_error_at", "last_error", "tokens")
    ordering = ("slug",)


@admin.register(ImportRun)
class ImportRunAdmin(ReadOnlyAdmin):
    list_display = (
        "source",
        "scope",
        "status",
        "pages",
        "stored",
        "known",
        "refused",
        "started_at",
        "finished_at",
    )
    list_filter = ("source", "status", "started_at")
    ordering = ("-started_at",)


@admin.register(SandboxTask)
class SandboxTaskAdmin(ReadOnlyAdmin):
    list_display = ("task_id", "lane", "fails", "submitted_at", "starts_at", "ready_at")
    list_filter = ("fails", "submitted_at")
    search_fields = ("task_id",)
    ordering = ("-submitted_at",)


@admin.register(SandboxRefusal)
class SandboxRefusalAdmin(ReadOnlyAdmin):
    list_display = ("digest", "count")


# --- django-q2's own tables ---

# A Schedule runs any function on the worker, so none can be added here. Arguments and results are
# pickles. They are neither shown nor loaded, because loading a pickle runs it.


class QueueAdmin(ReadOnlyAdmin):
    PICKLES: ClassVar[tuple[str, ...]] = ()
    actions = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer(*self.PICKLES)


class TaskAdmin(QueueAdmin):
    PICKLES = exclude = ("args", "kwargs", "result")
    list_display = ("id", "name", "func", "started", "stopped", "attempt_count")
    list_filter = ("started",)
    search_fields = ("=id", "name", "func")
    ordering = ("-stopped",)


class OrmQAdmin(QueueAdmin):
    PICKLES = exclude = ("payload",)
    list_display = ("id", "key", "lock")
    ordering = ("-id",)


class ScheduleAdmin(QueueAdmin):
    list_display = ("id", "name", "func", "schedule_type", "next_run")
    ordering = ("id",)


def replace(model: type[Model], by: type[QueueAdmin]) -> None:
    # With Redis, django-q2 does not register the table of its database queue.
    if admin.site.is_registered(model):
        admin.site.unregister(model)
    admin.site.register(model, by)


replace(Success, TaskAdmin)
replace(Failure, TaskAdmin)
replace(Schedule, ScheduleAdmin)
replace(OrmQ, OrmQAdmin)
