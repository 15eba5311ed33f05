"""Pages of policies: what is in force, drafts, and the history."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from generation.core.recent_login import requires_recent_login
from moderation.forms.policy_drafts import DraftForm
from moderation.forms.proposals import TEXT_MAX, ProposalForm
from moderation.models import Policy, PolicyProposal
from moderation.presenters import policies as presenter
from moderation.services import policies, proposals, starting_policies
from moderation.services.proposals import ProposalError
from moderation.services.starting_policies import STARTING_POLICIES
from moderation.views.access import DeskRequest, SeeOther

VERSION_DIGITS = 9
ROLLBACK = "rollback"  # value of the field ``purpose``: the draft copies an older version


@require_GET
@permission_required("moderation.view_policy", raise_exception=True)
def policy_list(request: DeskRequest) -> HttpResponse:
    return render(request, "moderation/policy_list.html", presenter.build_list(request.user))


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("moderation.view_policy", raise_exception=True)
def policy_detail(request: DeskRequest, version: int) -> HttpResponse:
    """Show a version; save a draft."""
    policy = get_policy(version)
    days = presenter.parse_days(request.GET.get("days", ""))
    may_change = request.user.has_perm("moderation.change_policy")
    if request.method != "POST":
        form = DraftForm(policy) if may_change and policies.is_draft(policy) else None
        return _render_policy(request, policy, days=days, form=form)
    if not may_change:
        raise PermissionDenied
    # Before the form, which writes its values into the object.
    form = DraftForm(get_policy(version), request.POST)
    if not form.is_valid():
        return _render_policy(request, policy, days=days, form=form, status=422)
    try:
        seen = request.POST.get("fingerprint", "")
        with proposals.edit_draft(policy=policy, user=request.user, fingerprint=seen):
            form.save()
    except ProposalError as error:
        return _render_policy(request, policy, days=days, form=form, status=409, problem=str(error))
    messages.success(request, f"Draft {version} is saved.")
    return SeeOther(reverse("moderation:policy-detail", args=[version]))


def _render_policy(
    request: DeskRequest,
    policy: Policy,
    *,
    days: int,
    form: DraftForm | None,
    status: int = 200,
    problem: str = "",
) -> HttpResponse:
    problems = [problem] if problem else form.list_errors() if form else []
    context = presenter.build_page(policy, request.user, days=days, form=form, problems=problems)
    return render(request, "moderation/policy_detail.html", context, status=status)


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
        if request.POST.get("purpose") == ROLLBACK:
            return _roll_back(request, based_on)
        draft = policies.create_version(based_on=based_on, user=request.user)
        source = f"version {based_on.version}"
    messages.success(request, f"Draft {draft.version} was made from {source}. It is not in force.")
    return SeeOther(reverse("moderation:policy-detail", args=[draft.version]))


def _roll_back(request: DeskRequest, based_on: Policy) -> HttpResponse:
    """Copy an older version, and go on to its proposal."""
    draft = policies.create_rollback(based_on=based_on, user=request.user)
    messages.success(
        request,
        f"Version {draft.version} copies version {based_on.version}. Give a reason and propose it.",
    )
    return SeeOther(reverse("moderation:proposal-create", args=[draft.version]))


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("moderation.view_policy", raise_exception=True)
@requires_recent_login()
def proposal_create(request: DeskRequest, version: int) -> HttpResponse:
    """Show what a draft would change and its proposal; propose it."""
    policy = get_policy(version)
    if request.method != "POST":
        return _render_proposal(request, policy, ProposalForm())
    if not request.user.has_perm("moderation.change_policy"):
        raise PermissionDenied
    form = ProposalForm(request.POST)
    if not form.is_valid():
        return _render_proposal(request, policy, form, status=422)
    try:
        proposal = proposals.propose(
            policy=policy,
            author=request.user,
            reason=form.cleaned_data["reason"],
            starts_at=form.starting_time,
        )
    except ProposalError as error:
        return _render_proposal(request, policy, form, status=409, problem=str(error))
    if "approve" in request.POST and proposals.may_approve(proposal, request.user):
        return _approve(request, proposal)
    messages.success(request, f"Version {version} is proposed. It waits for approval.")
    return SeeOther(reverse("moderation:proposal-create", args=[version]))


def _render_proposal(
    request: DeskRequest,
    policy: Policy,
    form: ProposalForm,
    *,
    status: int = 200,
    problem: str = "",
) -> HttpResponse:
    context = presenter.build_proposal(policy, request.user, form=form, problem=problem)
    return render(request, "moderation/policy_proposal.html", context, status=status)


@require_POST
@permission_required("moderation.activate_policy", raise_exception=True)
@requires_recent_login()
def proposal_approve(request: DeskRequest, uuid: UUID) -> HttpResponse:
    return _approve(request, get_proposal(uuid))


def _approve(request: DeskRequest, proposal: PolicyProposal) -> HttpResponse:
    policy = proposal.policy
    try:
        event = proposals.approve(proposal=proposal, user=request.user)
    except ProposalError as error:
        return _render_proposal(request, policy, ProposalForm(), status=409, problem=str(error))
    if event is None:
        starts = f"{proposal.starts_at:%d %B %Y, %H:%M} UTC"
        messages.success(request, f"Version {policy.version} goes into force on {starts}.")
        return SeeOther(reverse("moderation:proposal-create", args=[policy.version]))
    messages.success(request, f"Version {policy.version} is in force from now on.")
    return SeeOther(reverse("moderation:policy-list"))


@require_POST
@permission_required("moderation.activate_policy", raise_exception=True)
def proposal_return(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Return a proposal to its author with a comment."""
    proposal = get_proposal(uuid)
    policy = proposal.policy
    comment = request.POST.get("comment", "")[:TEXT_MAX]
    try:
        proposals.send_back(proposal=proposal, user=request.user, comment=comment)
    except ProposalError as error:
        status = 409 if comment.strip() else 422
        return _render_proposal(request, policy, ProposalForm(), status=status, problem=str(error))
    messages.info(request, f"Version {policy.version} was returned to its author.")
    return SeeOther(reverse("moderation:proposal-create", args=[policy.version]))


@require_POST
@permission_required("moderation.change_policy", raise_exception=True)
def proposal_cancel(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Withdraw a proposal that waits for approval or for its time."""
    proposal = get_proposal(uuid)
    policy = proposal.policy
    try:
        proposals.cancel(proposal=proposal, user=request.user)
    except ProposalError as error:
        return _render_proposal(request, policy, ProposalForm(), status=409, problem=str(error))
    messages.info(request, f"The proposal of version {policy.version} is withdrawn.")
    return SeeOther(reverse("moderation:proposal-create", args=[policy.version]))


def get_proposal(uuid: UUID) -> PolicyProposal:
    """Return a proposal with its policy and author, or raise Http404."""
    rows = PolicyProposal.objects.select_related("policy__created_by", "author")
    return get_object_or_404(rows, uuid=uuid)


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
