"""Pages of calibration sessions: the list, a new one, judging, and the comparison."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from generation.wire.parsing import parse_integer
from moderation.forms.calibrations import CalibrationForm
from moderation.models import CalibrationParticipant, CalibrationSession, Preferences
from moderation.presenters import calibrations as presenter
from moderation.services import calibrations
from moderation.services.calibrations import CalibrationError
from moderation.services.decisions import InvalidDecisionError
from moderation.views.access import DeskRequest, SeeOther

may_view = permission_required("moderation.view_review", raise_exception=True)


@require_safe
@may_view
def calibration_session_list(request: DeskRequest) -> HttpResponse:
    context = presenter.build_list(request.user)
    return render(request, "moderation/calibration_session_list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@permission_required(calibrations.START, raise_exception=True)
def calibration_session_create(request: DeskRequest) -> HttpResponse:
    initial = {"uuids": request.GET.get("image", "")}
    form = (
        CalibrationForm(request.POST)
        if request.method == "POST"
        else CalibrationForm(initial=initial)
    )
    if request.method == "POST" and form.is_valid():
        try:
            session = calibrations.start(
                user=request.user,
                title=form.cleaned_data["title"],
                people=form.cleaned_data["people"],
                reviews=form.choose_reviews(),
            )
            return SeeOther(session.get_absolute_url())
        except CalibrationError as error:
            form.add_error(None, str(error))
    context = {"form": form}
    status = 422 if request.method == "POST" else 200
    return render(request, "moderation/calibration_session_new.html", context, status=status)


@require_safe
@may_view
def calibration_session_detail(request: DeskRequest, uuid: UUID) -> HttpResponse:
    """Show the next image to judge, the comparison, or the progress."""
    session, participant = _get_session(request, uuid)
    return _render(request, session, participant, position=request.GET.get("image", ""))


@require_POST
@may_view
def calibration_answer(request: DeskRequest, uuid: UUID) -> HttpResponse:
    session, participant = _get_session(request, uuid)
    position = request.POST.get("image", "")
    try:
        calibrations.answer(
            participant=_require_participant(participant),
            position=parse_integer(position) or 0,
            verdict=request.POST.get("verdict", ""),
            categories=request.POST.getlist("categories"),
            note=request.POST.get("note", "").replace("\0", ""),
        )
    except InvalidDecisionError as error:
        given = {
            "problem": str(error),
            "chosen": request.POST.getlist("categories"),
            "note": request.POST.get("note", ""),
        }
        return _render(request, session, participant, position=position, status=422, **given)
    except CalibrationError as error:
        return _render(request, session, participant, status=409, problem=str(error))
    return SeeOther(session.get_absolute_url())


@require_POST
@may_view
def calibration_finish(request: DeskRequest, uuid: UUID) -> HttpResponse:
    session, participant = _get_session(request, uuid)
    try:
        calibrations.finish(_require_participant(participant))
    except CalibrationError as error:
        return _render(request, session, participant, status=409, problem=str(error))
    return SeeOther(session.get_absolute_url())


@require_POST
@may_view
def calibration_session_close(request: DeskRequest, uuid: UUID) -> HttpResponse:
    session, participant = _get_session(request, uuid)
    try:
        calibrations.close(session=session, user=request.user)
    except CalibrationError as error:
        return _render(request, session, participant, status=409, problem=str(error))
    messages.success(request, "The session is closed.")
    return SeeOther(session.get_absolute_url())


@require_POST
@may_view
def calibration_note_add(request: DeskRequest, uuid: UUID) -> HttpResponse:
    session, participant = _get_session(request, uuid)
    position = parse_integer(request.POST.get("image", "")) or 0
    image = get_object_or_404(session.images, position=position)
    try:
        if not calibrations.may_compare(session, participant):
            raise CalibrationError("Finish your own answers first.")
        text = request.POST.get("text", "").replace("\0", "")
        calibrations.add_note(image=image, user=request.user, text=text)
    except CalibrationError as error:
        return _render(request, session, participant, status=409, problem=str(error))
    return SeeOther(f"{session.get_absolute_url()}#image-{position}")


def _get_session(
    request: DeskRequest, uuid: UUID
) -> tuple[CalibrationSession, CalibrationParticipant | None]:
    """Return a session that the user may see, with their own part in it, or raise Http404."""
    rows = CalibrationSession.objects.visible_to(request.user).select_related("created_by")
    session = get_object_or_404(rows, uuid=uuid)
    mine = session.participants.filter(person=request.user).select_related("session", "person")
    return session, mine.first()


def _require_participant(participant: CalibrationParticipant | None) -> CalibrationParticipant:
    if participant is None:
        raise CalibrationError("You do not take part in this session.")
    return participant


def _render(
    request: DeskRequest,
    session: CalibrationSession,
    participant: CalibrationParticipant | None,
    *,
    position: str = "",
    status: int = 200,
    **extra: Any,
) -> HttpResponse:
    context: dict[str, Any] = {"session": session, "participant": participant}
    if calibrations.may_compare(session, participant):
        context |= presenter.build_comparison(session, request.user)
        template = "moderation/calibration_comparison.html"
    elif participant is None:
        context |= presenter.build_progress(session)
        template = "moderation/calibration_progress.html"
    else:
        preferences = Preferences.for_user(request.user)
        context |= presenter.build_judging(
            participant,
            preferences,
            position=parse_integer(position),
            reveal=request.GET.get("reveal", ""),
            chosen=extra.get("chosen"),
        )
        template = "moderation/calibration_judging.html"
    context |= extra | {"is_owner": session.created_by_id == request.user.pk}
    return render(request, template, context, status=status)
