"""Mails with links of the team, if a mail server is configured."""

from __future__ import annotations

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import send_mail

from moderation.models import Invitation

log = logging.getLogger("loupe.team")

INVITED = """\
{sender} invites you to Loupe, the moderation desk for generated images.

Open this link and choose a name and a password:

{link}

It works once, until {until} UTC. Ignore this mail if you did not expect it.
"""
RESET = """\
{sender} has made a link with which you can set a new password for your account “{name}” at Loupe:

{link}

It works once, until {until} UTC. All your sessions end when you use it. If you did not ask for it,
tell {sender}.
"""


def can_send() -> bool:
    return bool(settings.EMAIL_HOST)


def send_link(invitation: Invitation, link: str) -> bool:
    """Send the link to the address of the invitation; return whether the server took it."""
    is_reset = invitation.kind == Invitation.Kind.PASSWORD
    text = (RESET if is_reset else INVITED).format(
        sender=invitation.created_by.get_username(),
        name=invitation.person.get_username() if invitation.person else "",
        link=link,
        until=f"{invitation.expires_at:%Y-%m-%d %H:%M}",
    )
    subject = "A new password for Loupe" if is_reset else "Your invitation to Loupe"
    try:
        return bool(send_mail(subject, text, None, [invitation.email]))
    except (SMTPException, OSError):
        log.exception("A mail with a link was not sent")
        return False
