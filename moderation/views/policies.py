"""Pages of policies: what is in force, drafts, and the history."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from moderation.models import Policy
from moderation.presenters import policies as presenter
from moderation.services import policies, starting_policies
from moderation.services.starting_policies import STARTING_POLICIES
from moderation.views.access import DeskRequest, SeeOther

VERSION_DIGITS = 9


@require_GET
@permission_required("moderation.view_policy", raise_exception=True)
def policy_list(request: DeskRequest) -> HttpResponse:
    return render(request, "moderation/policy_list.html", presenter.build_list(request.user))


@require_GET
@permission_required("moderation.view_policy", raise_exception=True)
def policy_detail(request: DeskRequest, version: int) -> HttpResponse:
    policy = get_policy(version)
    context = presenter.build_page(policy, request.user)
    return render(request, "moderation/policy_detail.html", context)


@require_GET
@permission_required("moderation.view_policy", raise_exception=True)
def policy_history(request: DeskRequest, version: int) -> HttpResponse:
    context = presenter.build_history(get_policy(version), request.user)
    return render(request, "moderation/policy_history.html", context)


@require_POST
@permission_required("moderation.add_policy", raise_exception=True)
def policy_create(request: DeskRequest) -> HttpResponse:
    """Create a draft from a version (``version``) or from a starting policy (``start``)."""
    chosen = STARTING_POLICIES.get(request.POST.get("start", ""))
    if chosen is not None:
        draft = starting_policies.create(chosen, user=request.user)
        source = f"the starting policy “{chosen.name}”"
    else:
        based_on = _find_version(request.POST.get("version", ""))
        if based_on is None:
            messages.error(request, "Choose the version or the starting policy to begin with.")
            return SeeOther(reverse("moderation:policy-list"))
        draft = policies.create_version(based_on=based_on, user=request.user)
        source = f"version {based_on.version}"
    messages.success(request, f"Draft {draft.version} was made from {source}. It is not in force.")
    return SeeOther(reverse("moderation:policy-detail", args=[draft.version]))


def _find_version(text: str) -> Policy | None:
    """Return the version that a form names; None for anything else."""
    if not text.isdecimal() or len(text) > VERSION_DIGITS:
        return None
    return Policy.objects.filter(version=int(text)).first()


def get_policy(version: int) -> Policy:
    """Return a version with the rows that its pages read, or raise Http404."""
    rows = Policy.objects.select_related("created_by")
    return get_object_or_404(
        rows.prefetch_related("rules", "ask_rules", "earned_trusts"), version=version
    )
