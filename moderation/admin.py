"""Admin pages of moderation. History is read-only; a policy is editable until it has been used."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import SEARCH_VAR
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    QueryDict,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.debug import sensitive_post_parameters

from generation.admin import AssetAdmin
from generation.core.admin import ReadOnlyAdmin, ReadOnlyInline
from generation.models import Asset, StorageReport
from moderation import classifiers, hash_files, taxonomy
from moderation.admin_filters import (
    RARE_MAX,
    CategoryFilter,
    ClassifierFilter,
    ConfidenceFilter,
    LabelClassifierFilter,
    LabelVersionFilter,
    VersionFilter,
    list_rare,
)
from moderation.classifiers.base import Coverage
from moderation.forms.hash_lists import HashImportForm
from moderation.forms.policies import AskRuleForm, EarnedTrustForm, PolicyForm, PolicyRuleForm
from moderation.models import (
    AskRule,
    Audit,
    Chore,
    Classification,
    DailyStats,
    Decision,
    Delivery,
    EarnedTrust,
    Embedding,
    HashEntry,
    HashList,
    Head,
    HeadChange,
    HeadRescoring,
    HeadTraining,
    ImportedFile,
    ImportSet,
    Invitation,
    JudgementReport,
    Label,
    NewFinding,
    Policy,
    PolicyActivation,
    PolicyRule,
    PolicyShadow,
    PolicyTrial,
    Preferences,
    PromptTrial,
    PublishedHead,
    Reclassification,
    RecordEvent,
    Resettlement,
    Review,
    RiskProgress,
    RiskReport,
    RiskStats,
    SavedQueue,
    ShadowCheck,
    ShadowCount,
    ShadowResult,
    TeamEvent,
    TrialJudgement,
    Verification,
    WordStats,
    WordStatsProgress,
)
from moderation.models.daily_stats import FIELDS
from moderation.models.heads import BrokenHeadError
from moderation.models.reviews import ReviewQuerySet
from moderation.services import (
    ask_savings,
    hash_lists,
    learning,
    policies,
    proposals,
    reclassification,
)

NO_CONFIDENCE = "none given"


def describe_label(label: Label) -> str:
    """Return the category of a label, with its confidence if the classifier gave one."""
    return label.category_name + ("" if label.confidence is None else f" {label.confidence:.0f}")


def format_time(at: datetime | None) -> str:
    """Format a computed time of a policy: the admin site formats only the times in columns."""
    return date_format(at, "DATETIME_FORMAT") if at else "never"


def describe_coverage(run: Classification) -> str:
    """Return the L1 categories that a classification covers; those not in full are marked."""
    return ", ".join(
        taxonomy.join_names([slug]) + ("" if degree == Coverage.FULL else f" ({degree})")
        for slug, degree in sorted(run.covers.items())
    )


class LabelInline(ReadOnlyInline):
    model = Label
    fields = ("category_name", "given_confidence", "box")

    @admin.display(description="confidence")
    def given_confidence(self, label: Label) -> str:
        return NO_CONFIDENCE if label.confidence is None else str(label.confidence)


class ClassificationInline(ReadOnlyInline):
    """All classifications of an asset."""

    model = Classification
    fields = (
        "classifier",
        "version",
        "status",
        "found",
        "flagged",
        "score",
        "coverage",
        "cost",
        "duration_ms",
        "error",
    )
    show_change_link = True
    ordering = ("pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Classification]:
        return super().get_queryset(request).prefetch_related("labels")

    @admin.display(description="labels")
    def found(self, run: Classification) -> str:
        labels = sorted(run.labels.all(), key=lambda label: label.pk)
        return ", ".join(map(describe_label, labels)) or "none"

    @admin.display(description="coverage")
    def coverage(self, run: Classification) -> str:
        return describe_coverage(run) or "none"


@admin.register(Classification)
class ClassificationAdmin(ReadOnlyAdmin):
    list_display = (
        "asset",
        "classifier",
        "version",
        "status",
        "flagged",
        "score",
        "duration_ms",
        "created_at",
    )
    list_filter = ("status", ClassifierFilter, VersionFilter, "flagged", "created_at")
    search_fields = ("=asset__uuid", "=asset__sha256", "error")
    list_select_related = ("asset",)
    ordering = ("-pk",)
    inlines = (LabelInline,)
    actions = ("run_again",)

    def has_reclassify_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("moderation.add_reclassification"))

    @admin.action(description="Run classifiers again", permissions=["reclassify"])
    def run_again(
        self, request: HttpRequest, chosen: QuerySet[Classification]
    ) -> HttpResponse | None:
        """Go to the page with the estimate for the images of these rows."""
        uuids = list(dict.fromkeys(chosen.values_list("asset__uuid", flat=True)))
        if len(uuids) > reclassification.IMAGES_MAX:
            self.message_user(
                request,
                f"Choose at most {reclassification.IMAGES_MAX} images.",
                messages.ERROR,
            )
            return None
        query = QueryDict(mutable=True)
        query["scope"] = Reclassification.Scope.IMAGES
        query.setlist("asset", [str(uuid) for uuid in uuids])
        return HttpResponseRedirect(
            f"{reverse('moderation:reclassification-create')}?{query.urlencode()}"
        )


@admin.register(Label)
class LabelAdmin(ReadOnlyAdmin):
    """Labels of all classifiers, newest first.

    The list covers all labels of a rare category or of one asset, else the newest LISTED_MAX: a
    rare combination of filters would otherwise read the whole table.
    """

    LISTED_MAX = 200_000

    list_display = (
        "category_name",
        "given_confidence",
        "classifier",
        "version",
        "flagged",
        "asset",
        "found_at",
    )
    list_filter = (
        CategoryFilter,
        ConfidenceFilter,
        LabelClassifierFilter,
        LabelVersionFilter,
        "classification__flagged",
    )
    list_select_related = ("classification__asset",)
    search_fields = ("classification__asset__uuid",)
    search_help_text = (
        f"Whole id of an asset. Without it, the list covers the newest {LISTED_MAX:,} labels, and"
        f" all of a category with at most {RARE_MAX:,}."
    )
    sortable_by = ()
    ordering = ("-pk",)
    fields = ("category_name", "given_confidence", "box", "classification", "asset", "found_at")
    readonly_fields = ("given_confidence", "asset", "found_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Label]:
        rows = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and str(match.url_name).endswith("_changelist")
        if not is_list or request.GET.get(SEARCH_VAR):
            return rows
        category = request.GET.get(CategoryFilter.parameter_name)
        if category and list_rare(category) is not None:
            return rows
        newest = Label.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        return rows.filter(pk__gt=newest - self.LISTED_MAX)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Label], search_term: str
    ) -> tuple[QuerySet[Label], bool]:
        """Search by the exact id of an asset: only this lookup has an index."""
        if not search_term:
            return queryset, False
        try:
            uuid = UUID(search_term.strip())
        except ValueError:
            self.message_user(request, "Search for the whole id of an asset.", messages.WARNING)
            return queryset.none(), False
        return queryset.filter(classification__asset__uuid=uuid), False

    @admin.display(description="category")
    def category_name(self, label: Label) -> str:
        return label.category_name

    @admin.display(description="confidence")
    def given_confidence(self, label: Label) -> str:
        return NO_CONFIDENCE if label.confidence is None else str(label.confidence)

    @admin.display(description="classifier")
    def classifier(self, label: Label) -> str:
        return classifiers.label(label.classification.classifier)

    @admin.display(description="version")
    def version(self, label: Label) -> str:
        return label.classification.version

    @admin.display(description="flagged", boolean=True)
    def flagged(self, label: Label) -> bool | None:
        return label.classification.flagged

    @admin.display(description="asset")
    def asset(self, label: Label) -> SafeString:
        asset = label.classification.asset
        return format_html(
            '<a href="{}">{}</a>',
            reverse("admin:generation_asset_change", args=[asset.pk]),
            asset,
        )

    @admin.display(description="found at")
    def found_at(self, label: Label) -> datetime | None:
        return label.classification.finished_at


class ClassifiedAssetAdmin(AssetAdmin):
    """The page of an asset, with its classifications."""

    inlines = (ClassificationInline,)

    def view_on_site(self, asset: Asset) -> str:
        """Return the URL of the dossier."""
        return reverse("moderation:asset-detail", args=[asset.uuid])


admin.site.unregister(Asset)
admin.site.register(Asset, ClassifiedAssetAdmin)


@admin.register(Embedding)
class EmbeddingAdmin(ReadOnlyAdmin):
    list_display = ("asset", "encoder_version", "finished_at", "attempts", "error")
    list_filter = ("encoder_version",)
    search_fields = ("=asset__uuid", "=asset__sha256")
    list_select_related = ("asset",)
    ordering = ("-pk",)
    exclude = ("vector",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Embedding]:
        return super().get_queryset(request).defer("vector")


class DecisionInline(ReadOnlyInline):
    model = Decision
    fields = (
        "sequence",
        "verdict",
        "is_blurred",
        "category_names",
        "note",
        "author",
        "created_at",
    )
    ordering = ("sequence",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Decision]:
        return super().get_queryset(request).select_related("policy")


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return Review.Status.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Review]) -> QuerySet[Review]:
        assert isinstance(queryset, ReviewQuerySet)
        status = self.value()
        return (
            queryset.with_status(Review.Status(status))
            if status in Review.Status.values
            else queryset
        )


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    list_display = (
        "asset",
        "dossier",
        "status",
        "is_blurred",
        "top_category_name",
        "top_confidence",
        "queue_order",
        "claimed_by",
        "decided_at",
        "desk",
    )
    list_filter = (StatusFilter, "is_blurred", "top_category", "policy", "created_at")
    search_fields = ("=uuid", "=asset__uuid", "=asset__sha256", "asset__request__prompt")
    list_select_related = ("asset", "claimed_by")
    ordering = ("-pk",)
    inlines = (DecisionInline,)

    @admin.display(description="risk (sort order)", ordering="risk")
    def queue_order(self, review: Review) -> int:
        return review.risk

    @admin.display(description="at the desk")
    def desk(self, review: Review) -> SafeString:
        return format_html('<a href="{}">open</a>', review.get_absolute_url())

    @admin.display(description="evidence")
    def dossier(self, review: Review) -> SafeString:
        return _link_dossier(review.asset)

    def view_on_site(self, review: Review) -> str:
        """Return the URL of the dossier."""
        return reverse("moderation:asset-detail", args=[review.asset.uuid])


def _link_dossier(asset: Asset) -> SafeString:
    url = reverse("moderation:asset-detail", args=[asset.uuid])
    return format_html('<a href="{}">open</a>', url)


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    list_display = (
        "sequence",
        "dossier",
        "created_at",
        "verdict",
        "is_blurred",
        "category_names",
        "author",
        "seconds",
        "review",
    )
    list_filter = ("verdict", "is_blurred", "by_policy", "policy", "reviewer", "created_at")
    search_fields = (
        "=uuid",
        "=review__uuid",
        "=review__asset__uuid",
        "reviewer_name",
        "note",
        "=hash",
    )
    list_select_related = ("policy", "review__asset")
    ordering = ("-sequence",)

    @admin.display(description="evidence")
    def dossier(self, decision: Decision) -> SafeString:
        return _link_dossier(decision.review.asset)

    def view_on_site(self, decision: Decision) -> str:
        """Return the URL of the dossier."""
        return reverse("moderation:asset-detail", args=[decision.review.asset.uuid])


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = (
        "request",
        "kind",
        "round",
        "status",
        "attempts",
        "answer",
        "created_at",
        "finished_at",
    )
    list_filter = ("status", "kind", "created_at")
    search_fields = ("=uuid", "=request__uuid", "error")
    list_select_related = ("request",)
    ordering = ("-pk",)


class _DraftInline(admin.TabularInline[Any, Policy]):
    """Rows of a policy, editable until it has been used."""

    extra = 0

    def _is_open(self, policy: Policy | None) -> bool:
        return policy is None or not (policy.is_used or policy.is_active)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_open(obj) and super().has_add_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_open(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_open(obj) and super().has_delete_permission(request, obj)


class PolicyRuleInline(_DraftInline):
    model = PolicyRule
    form = PolicyRuleForm
    verbose_name = "category rule"


class AskRuleInline(_DraftInline):
    model = AskRule
    form = AskRuleForm


class EarnedTrustInline(_DraftInline):
    model = EarnedTrust
    form = EarnedTrustForm
    verbose_name = "earned trust"


class PolicyActivationInline(ReadOnlyInline):
    model = PolicyActivation
    fk_name = "policy"
    fields = ("created_at", "author", "activated_by", "reason")
    readonly_fields = fields
    ordering = ("-pk",)


# Fields that a policy's rules do not depend on.
PROSE = {"name", "note", "summary"}


@admin.register(Policy)
class PolicyAdmin(admin.ModelAdmin[Policy]):
    """Policies. One that is active or in the record is read-only: copy it and activate the copy."""

    form = PolicyForm
    list_display = (
        "version",
        "name",
        "is_active",
        "nsfw_level",
        "may_approve",
        "approves_imports",
        "first_in_force",
        "last_in_force",
    )
    list_filter = ("is_active",)
    search_fields = ("name", "note")
    ordering = ("-version",)
    readonly_fields = (
        "version",
        "is_active",
        "created_by",
        "created_at",
        "first_in_force",
        "last_in_force",
        "savings",
    )
    fieldsets = (
        (None, {"fields": ("name", "summary", "note")}),
        (
            "Approvals",
            {
                "fields": (
                    "may_approve",
                    "approves_imports",
                    "requires_full_coverage",
                    "trusted_silences",
                    "accepted_unchecked",
                )
            },
        ),
        (
            "Scores without a category",
            {"fields": ("nsfw_level", "nsfw_review_at", "nsfw_reject_at")},
        ),
        ("Known files", {"fields": ("reuses_approvals", "trusts_allow_lists")}),
        ("Delivery", {"fields": ("delivers_rendition",)}),
        ("Costs", {"fields": ("savings",)}),
        (
            "History",
            {
                "fields": (
                    "version",
                    "is_active",
                    "created_by",
                    "created_at",
                    "first_in_force",
                    "last_in_force",
                )
            },
        ),
    )
    inlines = (PolicyRuleInline, AskRuleInline, EarnedTrustInline, PolicyActivationInline)
    actions = ("copy",)

    @admin.display(description="counts “nothing found” of")
    def silence_names(self, policy: Policy) -> str:
        return ", ".join(map(classifiers.label, policy.trusted_silences)) or "-"

    @admin.display(description="approves although nothing checked")
    def unchecked_names(self, policy: Policy) -> str:
        return taxonomy.join_names(policy.accepted_unchecked) or "-"

    def get_fieldsets(self, request: HttpRequest, obj: Policy | None = None) -> Any:
        """Return the fieldsets; a read-only page has names in place of slugs."""
        if self.has_change_permission(request, obj):
            return self.fieldsets
        shown = {"trusted_silences": "silence_names", "accepted_unchecked": "unchecked_names"}
        return [
            (
                title,
                {**options, "fields": [shown.get(str(name), name) for name in options["fields"]]},
            )
            for title, options in self.fieldsets
        ]

    def view_on_site(self, obj: Policy) -> str:
        """Return the page on which a draft is changed, proposed and approved."""
        return obj.get_absolute_url()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the rules; remove a summary that may no longer be true."""
        super().save_related(request, form, formsets, change)
        assert isinstance(request.user, User)
        changed = set(form.changed_data)
        has_changed = any(formset.has_changed() for formset in formsets)
        if changed or has_changed:
            proposals.withdraw_open(
                policy=form.instance, user=request.user, comment=proposals.EDITED
            )
        has_new_rules = changed - PROSE or has_changed
        if has_new_rules and form.instance.summary and "summary" not in changed:
            Policy.objects.filter(pk=form.instance.pk).update(summary="")
            self.message_user(
                request,
                "The summary was removed, because the rules changed. Write a new one if it helps.",
                messages.WARNING,
            )

    @admin.display(description="first put into force", ordering="activated_at")
    def first_in_force(self, policy: Policy) -> str:
        return format_time(policy.activated_at)

    @admin.display(description="last put into force")
    def last_in_force(self, policy: Policy) -> str:
        return format_time(policy.last_activated_at)

    @admin.display(description="what the ask rules save")
    def savings(self, policy: Policy) -> SafeString:
        lines = ask_savings.describe(policy) or ["No ask rule: every classifier is always asked."]
        return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in lines))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Policy | None = None) -> bool:
        if obj is not None and (obj.is_used or obj.is_active):
            return False
        return super().has_change_permission(request, obj)

    @admin.action(description="Copy as a new version", permissions=["view"])
    def copy(self, request: HttpRequest, chosen: QuerySet[Policy]) -> None:
        if not request.user.has_perm("moderation.add_policy"):
            self.message_user(request, "You cannot create policies.", messages.ERROR)
            return
        assert isinstance(request.user, User)
        for policy in chosen:
            made = policies.create_version(based_on=policy, user=request.user)
            self.log_addition(request, made, f"Copied from version {policy.version}.")
            self.message_user(
                request,
                f"Created version {made.version} from version {policy.version}. It is not in force"
                " yet: propose it on its page under Policies.",
            )


@admin.register(Reclassification)
class ReclassificationAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "scope", "status", "images", "expected", "ordered_by", "note")
    list_filter = ("status", "scope")
    list_select_related = ("ordered_by",)
    ordering = ("-pk",)


@admin.register(PolicyTrial)
class PolicyTrialAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "candidate", "baseline", "days", "status", "started_by")
    list_filter = ("status",)
    list_select_related = ("candidate", "baseline", "started_by")
    ordering = ("-pk",)


@admin.register(PolicyShadow)
class PolicyShadowAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "policy", "started_by", "ended_at", "end_reason")
    list_select_related = ("policy", "started_by")
    ordering = ("-pk",)


@admin.register(ShadowCheck)
class ShadowCheckAdmin(ReadOnlyAdmin):
    list_display = ("review", "outcome", "due_at")
    list_select_related = ("review__asset",)
    ordering = ("due_at",)


@admin.register(ShadowCount)
class ShadowCountAdmin(ReadOnlyAdmin):
    list_display = ("hour", "shadow", "old", "new", "images")
    list_select_related = ("shadow__policy",)
    ordering = ("-hour", "old", "new")


@admin.register(ShadowResult)
class ShadowResultAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "shadow", "review", "old", "new")
    list_filter = ("old", "new")
    list_select_related = ("shadow__policy", "review__asset")
    ordering = ("-pk",)


@admin.register(TrialJudgement)
class TrialJudgementAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "trial", "review", "cell", "answer", "person")
    list_filter = ("answer",)
    list_select_related = ("trial__candidate", "review__asset", "person")
    ordering = ("-pk",)


@admin.register(Resettlement)
class ResettlementAdmin(ReadOnlyAdmin):
    list_display = ("review", "due_at")
    list_select_related = ("review__asset",)
    ordering = ("due_at",)


@admin.register(NewFinding)
class NewFindingAdmin(ReadOnlyAdmin):
    list_display = ("review", "reason", "created_at", "seen_at", "seen_by")
    list_select_related = ("review__asset", "seen_by")
    ordering = ("-pk",)


class HeadChangeInline(ReadOnlyInline):
    model = HeadChange
    fields = ("created_at", "before", "after", "may_reject", "author", "note")
    ordering = ("-pk",)


@admin.register(Head)
class HeadAdmin(ReadOnlyAdmin):
    """Learned heads. Only the actions change their status, and each change is recorded."""

    list_display = (
        "category_name",
        "status",
        "may_reject",
        "positives",
        "images",
        "next_step",
        "created_at",
        "created_by",
    )
    list_filter = ("status", "category")
    list_select_related = ("created_by",)
    ordering = ("category", "-pk")
    exclude = ("artefact",)
    readonly_fields = ("figures", "next_step")
    inlines = (HeadChangeInline,)
    actions = ("promote", "promote_to_reject", "retire")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Head]:
        return super().get_queryset(request).defer("artefact")

    def has_promote_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("moderation.promote_head"))

    @admin.display(description="category", ordering="category")
    def category_name(self, head: Head) -> str:
        return taxonomy.join_names([head.category])

    @admin.display(description="what keeps it from the next step")
    def next_step(self, head: Head) -> str:
        return " ".join(learning.list_obstacles(head)) or "nothing: it may be promoted"

    @admin.display(description="measured on images that it was not trained on")
    def figures(self, head: Head) -> str:
        try:
            found = head.load().figures
        except BrokenHeadError as error:
            return str(error)
        return (
            f"log-loss {found.log_loss:.3f}, of the zero-shot score {found.zero_shot_log_loss:.3f};"
            f" from {found.threshold:.0%} on, {found.flagged_positives:,} of {found.flagged:,}"
            f" images have the category, a precision of at least {found.precision_lower:.0%};"
            f" {found.groups:,} groups; {found.largest_share:.0%} of the weight is one person's"
        )

    @admin.action(description="Promote one step", permissions=["promote"])
    def promote(self, request: HttpRequest, chosen: QuerySet[Head]) -> None:
        self._change(request, chosen, learning.promote, "Promoted.")

    @admin.action(
        description="Promote one step, and let it reject by the policy", permissions=["promote"]
    )
    def promote_to_reject(self, request: HttpRequest, chosen: QuerySet[Head]) -> None:
        promote = functools.partial(learning.promote, may_reject=True)
        self._change(request, chosen, promote, "Promoted; it may reject.")

    @admin.action(description="Retire for good", permissions=["promote"])
    def retire(self, request: HttpRequest, chosen: QuerySet[Head]) -> None:
        self._change(request, chosen, learning.retire, "Retired.")

    def _change(
        self, request: HttpRequest, chosen: QuerySet[Head], change: Any, message: str
    ) -> None:
        for head in chosen:
            try:
                row = change(head=head, user=request.user)
            except (learning.LearningError, BrokenHeadError) as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                self.log_change(request, row, message)
                self.message_user(request, f"{row}: {row.get_status_display()}.")


@admin.register(HeadChange)
class HeadChangeAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "head", "before", "after", "may_reject", "author", "note")
    list_select_related = ("head", "author")
    ordering = ("-pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[HeadChange]:
        return super().get_queryset(request).defer("head__artefact")


@admin.register(HeadRescoring)
class HeadRescoringAdmin(ReadOnlyAdmin):
    list_display = ("position", "due_at", "finished_at")
    ordering = ("pk",)


@admin.register(HeadTraining)
class HeadTrainingAdmin(ReadOnlyAdmin):
    list_display = ("category", "finished_at", "sequence", "result", "due_at")
    ordering = ("category",)


@admin.register(HashList)
class HashListAdmin(admin.ModelAdmin[HashList]):
    """Hash lists, with pages for import and export. A list is never deleted, but switched off."""

    list_display = ("name", "kind", "is_active", "source", "created_at")
    list_filter = ("kind", "is_active")
    search_fields = ("name", "note", "source")
    ordering = ("name",)
    readonly_fields = ("created_by", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Entries of a list keep their meaning.
        return (*self.readonly_fields, "kind") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: HashList, form: Any, change: bool) -> None:
        if not change:
            assert isinstance(request.user, User)
            obj.created_by = request.user
        super().save_model(request, obj, form, change)

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path("<int:pk>/import/", wrap(self.import_file), name="moderation_hashlist_import"),
            path("<int:pk>/export/", wrap(self.export_file), name="moderation_hashlist_export"),
            *super().get_urls(),
        ]

    def import_file(self, request: HttpRequest, pk: int) -> HttpResponse:
        found = self._get_list(request, pk)
        form = HashImportForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            assert isinstance(request.user, User)
            try:
                result = hash_lists.import_entries(
                    hash_list=found,
                    content=form.cleaned_data["file"].read(),
                    algorithm=form.cleaned_data["algorithm"],
                    user=request.user,
                )
            except hash_files.HashFileError as error:
                form.show_faults(error)
            else:
                self.log_change(request, found, f"Imported: {result}")
                self.message_user(request, f"“{found}”: {result}")
                return redirect("admin:moderation_hashlist_change", found.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": "Import hashes",
            "hash_list": found,
            "form": form,
        }
        return render(request, "admin/moderation/hashlist/import.html", context)

    def export_file(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        found = self._get_list(request, pk)
        lines = (line.encode() for line in hash_lists.iter_csv(found))
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="hash-list-{found.pk}.csv"'
        return response

    def _get_list(self, request: HttpRequest, pk: int) -> HashList:
        if not request.user.has_perm("moderation.import_hash_list"):
            raise PermissionDenied
        return get_object_or_404(HashList, pk=pk)


@admin.register(HashEntry)
class HashEntryAdmin(ReadOnlyAdmin):
    """Entries of hash lists. A search by a hash also finds similar ones."""

    # The start of the hash: whole ones would push the other columns off the page.
    list_display = ("__str__", "hash_list", "category", "note", "added_by", "added_at")
    list_filter = ("algorithm", "hash_list")
    list_select_related = ("hash_list", "added_by")
    search_fields = ("=external_id",)
    search_help_text = "A hash of 64 hexadecimal digits, or an external id."
    exclude = ("value",)
    readonly_fields = ("hex",)
    ordering = ("-pk",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("moderation.delete_hashentry"))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[HashEntry], search_term: str
    ) -> tuple[QuerySet[HashEntry], bool]:
        try:
            value = hash_files.parse_hash(search_term)
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        near = [found.entry.pk for found in hash_lists.search_value(value)]
        return queryset.filter(Q(value=value) | Q(pk__in=near)), False


@admin.register(Preferences)
class PreferencesAdmin(admin.ModelAdmin[Preferences]):
    """Preferences of the desk's appearance only.

    Categories to skip and breaks are private to the person.
    """

    list_display = ("user", "theme", "surround", "hotkeys", "blur")
    list_select_related = ("user",)
    fields = ("user", "theme", "surround", "hotkeys", "blur")


@admin.register(WordStats)
class WordStatsAdmin(ReadOnlyAdmin):
    list_display = ("word", "decided", "rejected")
    search_fields = ("=word",)
    ordering = ("word",)


@admin.register(WordStatsProgress)
class WordStatsProgressAdmin(ReadOnlyAdmin):
    list_display = ("sequence", "decided", "rejected")


@admin.register(PromptTrial)
class PromptTrialAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "rule", "days", "status", "started_by")
    list_filter = ("status",)
    list_select_related = ("started_by",)
    ordering = ("-pk",)


@admin.register(RiskStats)
class RiskStatsAdmin(ReadOnlyAdmin):
    list_display = ("day", "kind", "key", "decided", "rejected")
    ordering = ("-day", "kind", "key")


@admin.register(RiskProgress)
class RiskProgressAdmin(ReadOnlyAdmin):
    list_display = ("sequence", "report_due_at")


@admin.register(RiskReport)
class RiskReportAdmin(ReadOnlyAdmin):
    list_display = ("days", "computed_at")


@admin.register(DailyStats)
class DailyStatsAdmin(ReadOnlyAdmin):
    list_display = ("day", "l1", *FIELDS)
    ordering = ("-day", "l1")


@admin.register(Chore)
class ChoreAdmin(ReadOnlyAdmin):
    list_display = ("name", "finished_at", "due_at", "deleted", "error")
    ordering = ("name",)


@admin.register(StorageReport)
class StorageReportAdmin(ReadOnlyAdmin):
    list_display = ("host", "storage_id", "free_bytes", "failed_at", "error", "seen_at")
    ordering = ("host",)


@admin.register(Audit)
class AuditAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "decision", "stratum", "probability")
    list_select_related = ("decision__policy",)
    ordering = ("-pk",)


@admin.register(JudgementReport)
class JudgementReportAdmin(ReadOnlyAdmin):
    list_display = ("days", "computed_at", "due_at")


@admin.register(ImportSet)
class ImportSetAdmin(ReadOnlyAdmin):
    list_display = ("name", "created_by", "created_at", "stored", "known", "refused")
    list_select_related = ("created_by",)
    ordering = ("-pk",)


@admin.register(ImportedFile)
class ImportedFileAdmin(ReadOnlyAdmin):
    list_display = ("name", "import_set", "outcome", "reason", "asset")
    list_select_related = ("import_set", "asset")
    ordering = ("-pk",)


@admin.register(Verification)
class VerificationAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "status", "decisions", "faults", "heads", "head", "started_by")
    list_select_related = ("started_by",)
    ordering = ("-pk",)


@admin.register(PublishedHead)
class PublishedHeadAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "target", "place", "sequence", "status", "error", "published_at")
    list_filter = ("target", "status")
    ordering = ("-pk",)


@admin.register(TeamEvent)
class TeamEventAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "actor", "kind", "person", "details")
    list_select_related = ("actor", "person")
    ordering = ("-pk",)


@admin.register(RecordEvent)
class RecordEventAdmin(ReadOnlyAdmin):
    list_display = ("sequence", "created_at", "kind", "subject", "decisions", "key_id")
    list_filter = ("kind",)
    search_fields = ("=sequence", "=subject")
    ordering = ("-sequence",)


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    exclude = ("digest",)
    list_display = ("created_at", "kind", "email", "person", "created_by", "accepted_at")
    list_select_related = ("person", "created_by")
    ordering = ("-pk",)


@admin.register(SavedQueue)
class SavedQueueAdmin(admin.ModelAdmin[SavedQueue]):
    list_display = ("name", "owner", "is_shared", "base", "query", "created_at")
    list_filter = ("is_shared", "base")
    search_fields = ("name", "owner__username")
    list_select_related = ("owner",)
    ordering = ("owner", "name")


# --- Users and groups: no privilege escalation ---


class GuardedUserAdmin(UserAdmin[User]):
    """User admin in which only superusers grant roles and permissions or change superusers.

    Setting a person's password gives access to their permissions, so it requires having all of
    these.
    """

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        if request.user.is_superuser:
            return fields
        return (*fields, "is_staff", "is_superuser", "groups", "user_permissions")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fieldsets, without the password link if this user may not set it."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or _may_become(request.user, obj):
            return fieldsets
        return [
            (
                name,
                {
                    **options,
                    "fields": [field for field in options["fields"] if field != "password"],
                },
            )
            for name, options in fieldsets
        ]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_edit(request.user, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse for people who did something here: the admin log names them."""
        if obj is not None and LogEntry.objects.filter(user=obj).exists():
            return False
        return _may_edit(request.user, obj) and super().has_delete_permission(request, obj)

    @method_decorator(sensitive_post_parameters())
    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        person = self.get_object(request, unquote(id))
        if person is not None and not _may_become(request.user, person):
            raise PermissionDenied
        return super().user_change_password(request, id, form_url)


def _may_edit(user: Any, person: Any) -> bool:
    return bool(user.is_superuser or person is None or not person.is_superuser)


def _may_become(user: Any, person: Any) -> bool:
    """Return whether the user has all permissions and the admin access of an account."""
    if user.is_superuser or person.pk == user.pk:
        return True
    if person.is_superuser or (person.is_staff and not user.is_staff):
        return False
    held = Permission.objects.filter(Q(user=person) | Q(group__user=person)).select_related(
        "content_type"
    )
    return bool(user.has_perms([f"{one.content_type.app_label}.{one.codename}" for one in held]))


class GuardedGroupAdmin(GroupAdmin):
    """Group admin for superusers only: changing a group changes the permissions of a role."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)


admin.site.unregister(User)
admin.site.register(User, GuardedUserAdmin)
admin.site.unregister(Group)
admin.site.register(Group, GuardedGroupAdmin)
