"""Pages of prompt trials: a draft rule of words, replayed over past requests."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from generation.models import InvalidTransitionError
from moderation.forms.prompt_trials import PromptTrialForm
from moderation.models import PromptTrial
from moderation.presenters import prompt_trials as presenter
from moderation.services import prompt_trials, trial_runs
from moderation.services.prompt_trials import PromptTrialError
from moderation.views.access import DeskRequest, SeeOther

may_read = permission_required("moderation.view_prompttrial", raise_exception=True)


@require_http_methods(["GET", "HEAD", "POST"])
@may_read
def prompt_trial_list(request: DeskRequest) -> HttpResponse:
    """List prompt trials; a POST starts one. ``from`` fills in the rule of an earlier one."""
    if request.method != "POST":
        initial = presenter.get_initial(_parse_uuid(request.GET.get("from", "")))
        context = presenter.build_list(PromptTrialForm(initial=initial))
        return render(request, "moderation/prompt_trial_list.html", context)
    if not request.user.has_perm("moderation.add_prompttrial"):
        raise PermissionDenied
    form = PromptTrialForm(request.POST)
    problem = ""
    if form.is_valid():
        try:
            trial = prompt_trials.start(**form.cleaned_data, user=request.user)
        except PromptTrialError as error:
            problem = str(error)
        else:
            return SeeOther(trial.get_absolute_url())
    context = presenter.build_list(form, problem)
    return render(request, "moderation/prompt_trial_list.html", context, status=422)


@require_GET
@may_read
def prompt_trial_detail(request: DeskRequest, uuid: UUID) -> HttpResponse:
    trial = _get_trial(uuid)
    name = "_prompt_trial" if request.htmx else "prompt_trial_detail"
    context = presenter.build_page(trial, request.user)
    return render(request, f"moderation/{name}.html", context)


@require_GET
@may_read
def prompt_trial_json(request: DeskRequest, uuid: UUID) -> HttpResponse:
    trial = _get_trial(uuid)
    document = presenter.build_document(
        rule=trial.rule,
        allowed=trial.allowed,
        figures=trial.result or trial.sample,
        status=trial.status,
    )
    return JsonResponse(document, json_dumps_params={"indent": 2})


@require_POST
@permission_required("moderation.add_prompttrial", raise_exception=True)
def prompt_trial_cancel(request: DeskRequest, uuid: UUID) -> HttpResponse:
    trial = _get_trial(uuid)
    try:
        trial_runs.cancel(trial)
    except InvalidTransitionError:
        messages.info(request, "This trial has ended already.")
    else:
        messages.info(request, "Cancelled. The figures of the sample stay.")
    return SeeOther(reverse("moderation:prompt-trial-detail", args=[trial.uuid]))


def _get_trial(uuid: UUID) -> PromptTrial:
    return get_object_or_404(PromptTrial.objects.select_related("started_by"), uuid=uuid)


def _parse_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
