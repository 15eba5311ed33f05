"""Template filters and tags of the desk."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from generation import providers
from generation.core.js_modules import list_modules
from moderation.models import Review
from moderation.presenters.charts import Chart, Sparkline, build_table, draw
from moderation.presenters.covers import render_cover as render_cover
from moderation.presenters.icons import render_icon
from moderation.presenters.partials import render_part
from moderation.presenters.visibility import ShownStatus, get_shown_status

if TYPE_CHECKING:
    from django.contrib.auth.models import User

register = template.Library()


register.simple_tag(render_icon, name="icon")  # {% icon "check" %}


@register.filter
def age(timestamp: datetime) -> str:
    """Format the time since then in one unit: 42 s, 7 min, 5 h, 12 d."""
    seconds = max(0, int((timezone.now() - timestamp).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@register.filter
def shown_to(review: Review, user: User) -> ShownStatus:
    """Return a review's visible status: ``{% with shown=review|shown_to:user %}``."""
    return get_shown_status(review, user)


@register.filter
def provider_name(slug: str) -> str:
    """Return a provider's label, or its slug if it is no longer configured."""
    return providers.list_labels().get(slug, slug)


@register.simple_tag(takes_context=True)
def image_cover(context: template.Context, review: Review) -> SafeString:
    """Render a covered thumbnail: ``{% image_cover review %}``."""
    asset = review.asset
    return render_cover(
        context["preferences"], review.top_category_l1, asset.preview, asset.thumbnail_url
    )


@register.simple_tag
def chart(figure: Chart, *, title: bool = True) -> SafeString:
    """Render a chart as SVG with the table behind it: ``{% chart figure title=False %}``.

    A sparkline has neither title nor table; its text alternative says what it shows.
    """
    name = "_spark" if isinstance(figure, Sparkline) else "_chart"
    parts = {
        "figure": figure,
        "drawings": draw(figure),
        "table": build_table(figure),
        "has_title": title,
    }
    return render_part(name, parts, folder="charts")


@register.simple_tag
def preload_modules(*entries: str) -> SafeString:
    """Render links that fetch all modules at once: ``{% preload_modules "js/sheet/main.js" %}``.

    Otherwise the browser learns of each level of imports only from the level above.
    """
    names = dict.fromkeys(name for entry in entries for name in list_modules(entry))
    return format_html_join(
        "\n", '<link rel="modulepreload" href="{}">', ((static(name),) for name in names)
    )


@register.simple_tag(takes_context=True)
def desk_part(context: template.Context, name: str) -> SafeString:
    """Render a part shared by both template languages: ``{% desk_part "panel" %}``."""
    given: dict[Any, Any] = context.flatten()
    return render_part(name, given)
