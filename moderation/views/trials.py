"""Pages of trials and shadows: a version of the policy on past images, and on new ones."""

from __future__ import annotations

import json
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from generation.models import InvalidTransitionError
from moderation.forms.trials import TrialForm
from moderation.models import PolicyTrial, Review
from moderation.presenters import shadows as shadow_presenter
from moderation.presenters import trials as presenter
from moderation.services import shadows, trial_runs, trials
from moderation.services.shadows import ShadowError
from moderation.services.trials import TrialError
from moderation.views.access import DeskRequest, SeeOther
from moderation.views.policies import get_policy


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("moderation.view_policy", raise_exception=True)
def policy_trial_list(request: DeskRequest, version: int) -> HttpResponse:
    """List the trials of a version; a POST starts one."""
    policy = get_policy(version)
    if request.method != "POST":
        context = presenter.build_list(policy, request.user, TrialForm())
        return render(request, "moderation/policy_trial_list.html", context)
    if not request.user.has_perm("moderation.change_policy"):
        raise PermissionDenied
    form = TrialForm(request.POST)
    problem = ""
    if form.is_valid():
        try:
            trial = trials.start(
                candidate=policy,
                baseline=form.cleaned_data["against"],
                days=form.cleaned_data["days"],
                user=request.user,
            )
        except TrialError as error:
            problem = str(error)
        else:
            return SeeOther(reverse("moderation:policy-trial-detail", args=[trial.uuid]))
    context = presenter.build_list(policy, request.user, form, problem=problem or form.message)
    return render(request, "moderation/policy_trial_list.html", context, status=422)


@require_GET
@permission_required("moderation.view_policy", raise_exception=True)
def policy_trial_detail(request: DeskRequest, uuid: UUID) -> HttpResponse:
    trial = _get_trial(uuid)
    context = presenter.build_page(trial, request.user)
    name = "_policy_trial" if request.htmx else "policy_trial_detail"
    return render(request, f"moderation/{name}.html", context)


@require_GET
@permission_required("moderation.view_policy", raise_exception=True)
def policy_trial_json(request: DeskRequest, uuid: UUID) -> HttpResponse:
    document = presenter.build_trial_document(_get_trial(uuid))
    return JsonResponse(document, json_dumps_params={"indent": 2}, encoder=json.JSONEncoder)


@require_POST
@permission_required("moderation.change_policy", raise_exception=True)
def policy_trial_cancel(request: DeskRequest, uuid: UUID) -> HttpResponse:
    trial = _get_trial(uuid)
    try:
        trial_runs.cancel(trial)
    except InvalidTransitionError:
        messages.info(request, "This trial has ended already.")
    else:
        messages.info(request, "Cancelled. The figures of the sample stay.")
    return SeeOther(reverse("moderation:policy-trial-detail", args=[trial.uuid]))


@require_GET
@permission_required(["moderation.view_policy", "moderation.view_review"], raise_exception=True)
def policy_trial_images(request: DeskRequest, uuid: UUID) -> HttpResponse:
    trial = _get_trial(uuid)
    page = request.GET.get("page", "")
    number = int(page) if page.isdecimal() and len(page) < 6 else 1
    context = presenter.build_images(trial, request.user, request.GET.get("cell", ""), number)
    if context is None:
        raise Http404
    return render(request, "moderation/policy_trial_images.html", context)


@require_POST
@permission_required("moderation.add_trialjudgement", raise_exception=True)
def policy_trial_judgement(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Store the answer to one change; return its tile to htmx."""
    trial = _get_trial(uuid)
    given = request.POST
    try:
        review = get_object_or_404(Review.objects.for_tiles(), uuid=UUID(given.get("review", "")))
    except ValueError:
        raise Http404 from None
    if presenter.is_hidden(review, request.user):
        raise Http404
    cell = given.get("cell", "")
    try:
        row = trials.judge(
            trial=trial,
            review=review,
            cell=cell,
            answer=given.get("answer", ""),
            user=request.user,
        )
    except TrialError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain")
    if request.htmx:
        context = presenter.build_tile(trial, review, cell, row.answer)
        return render(request, "moderation/_policy_trial_tile.html", context)
    return SeeOther(presenter.get_images_url(trial, cell, given.get("page", "1")))


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required("moderation.view_policy", raise_exception=True)
def policy_shadow(request: DeskRequest, version: int) -> HttpResponse:
    """Show where a version differs from the policy in force on new images; a POST starts that."""
    policy = get_policy(version)
    if request.method != "POST":
        context = shadow_presenter.build_page(policy, request.user, request.GET.get("change", ""))
        return render(request, "moderation/policy_shadow.html", context)
    if not request.user.has_perm("moderation.change_policy"):
        raise PermissionDenied
    try:
        shadows.start(policy=policy, user=request.user)
    except ShadowError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Version {policy.version} judges new images from now on.")
    return SeeOther(reverse("moderation:policy-shadow", args=[policy.version]))


@require_POST
@permission_required("moderation.change_policy", raise_exception=True)
def policy_shadow_cancel(request: DeskRequest, version: int) -> HttpResponse:
    policy = get_policy(version)
    if shadows.end(policy=policy, reason=f"Ended by {request.user.get_username()}."):
        messages.info(request, "Ended. The figures stay.")
    else:
        messages.info(request, "This version does not run as a shadow.")
    return SeeOther(reverse("moderation:policy-shadow", args=[policy.version]))


def _get_trial(uuid: UUID) -> PolicyTrial:
    rows = PolicyTrial.objects.select_related("candidate", "baseline", "started_by")
    return get_object_or_404(rows, uuid=uuid)
