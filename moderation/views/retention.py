"""Pages of retention rules, and of erasures of an end user."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from moderation.forms.retention import ErasureForm, RetentionRuleForm
from moderation.models import RetentionRule
from moderation.presenters import retention as presenter
from moderation.services import retention
from moderation.services.retention import RetentionError
from moderation.views.access import DeskRequest, SeeOther

VIEW = "moderation.view_retentionrule"


@require_safe
@permission_required(VIEW, raise_exception=True)
def retention_rule_list(request: DeskRequest) -> HttpResponse:
    return render(
        request, "moderation/retention_rule_list.html", presenter.build_rules(request.user)
    )


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("moderation.add_retentionrule", raise_exception=True)
def retention_rule_create(request: DeskRequest) -> HttpResponse:
    """Show an empty rule; a POST stores it, switched off, and shows what it would remove."""
    return _edit(request, RetentionRule())


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("moderation.change_retentionrule", raise_exception=True)
def retention_rule_change(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Show a rule to change it; a POST stores the changes and switches it off."""
    return _edit(request, get_object_or_404(RetentionRule, uuid=uuid))


def _edit(request: DeskRequest, rule: RetentionRule) -> HttpResponse:
    is_new = rule.pk is None
    form = RetentionRuleForm(request.POST if request.method == "POST" else None, instance=rule)
    if request.method == "POST" and form.is_valid():
        saved = retention.save_rule(rule=form.save(commit=False), user=request.user)
        return SeeOther(saved.get_absolute_url())
    status = 422 if request.method == "POST" else 200
    context = {"form": form, "is_new": is_new}
    return render(request, "moderation/retention_rule_form.html", context, status=status)


@require_safe
@permission_required(VIEW, raise_exception=True)
def retention_rule_detail(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Show a rule and what it would remove now."""
    rule = get_object_or_404(RetentionRule, uuid=uuid)
    context = presenter.build_rule(rule, request.user)
    return render(request, "moderation/retention_rule_detail.html", context)


@require_POST
@permission_required("moderation.change_retentionrule", raise_exception=True)
def retention_rule_switch(request: DeskRequest, uuid: UUID) -> HttpResponse:
    rule = get_object_or_404(RetentionRule, uuid=uuid)
    is_on = request.POST.get("on") == "1"
    retention.switch_rule(rule=rule, user=request.user, is_on=is_on)
    state = "on. It removes images from now on" if is_on else "off"
    messages.success(request, f"“{rule}” is {state}.")
    return SeeOther(rule.get_absolute_url())


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("moderation.add_erasure", raise_exception=True)
def erasure_create(request: DeskRequest) -> HttpResponse:
    """Show what an erasure would remove; order it when that is confirmed."""
    form = ErasureForm(request.POST if request.method == "POST" else None)
    context: dict[str, object] = {"form": form}
    if request.method != "POST":
        return render(request, "moderation/erasure_new.html", context)
    if not form.is_valid():
        return render(request, "moderation/erasure_new.html", context, status=422)
    given = form.cleaned_data
    context["preview"] = retention.preview_erasure(given["end_user"].strip())
    if not given["confirmed"]:
        return render(request, "moderation/erasure_new.html", context)
    try:
        retention.order_erasure(
            end_user=given["end_user"], reason=given["reason"], user=request.user
        )
    except RetentionError as error:
        form.add_error(None, str(error))
        return render(request, "moderation/erasure_new.html", context, status=422)
    messages.success(request, "The erasure is ordered. This page shows when it is finished.")
    return SeeOther(reverse("moderation:retention-rule-list"))
