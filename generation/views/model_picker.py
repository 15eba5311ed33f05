"""List of a provider's models for one field of the form: a page, and a dialog for htmx."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_safe

from generation import providers
from generation.core.htmx import respond
from generation.forms.rows import PICKED
from generation.services import model_catalog
from generation.services.validation import NAME_MAX

QUERY_MAX = 100  # characters
CURSOR_MAX = 500
SDXL = {"": None, "1": True, "0": False}


@dataclass(frozen=True, kw_only=True)
class Search:
    """Parameters of the URL; unreadable values fall back to their defaults."""

    provider: str
    kind: str
    query: str
    sdxl: str  # a key of SDXL
    cursor: str
    field: str  # the form field that the choice is for
    carried: dict[str, str]  # values of the form, handed back unchanged

    @classmethod
    def read(cls, data: QueryDict) -> Search:
        available = providers.list_labels()
        provider = data.get("provider", "")
        carried = {
            name: data.get(name, "")[:NAME_MAX]
            for name in ("from", "preset", *PICKED)
            if data.get(name)
        }
        field = data.get("for", "")
        kind = data.get("type", "") or PICKED.get(field, "")
        kind = kind if kind in model_catalog.KINDS else "checkpoint"
        sdxl = data.get("sdxl", "")
        return cls(
            provider=provider if provider in available else next(iter(available), ""),
            kind=kind,
            query=data.get("q", "").strip().replace("\0", "")[:QUERY_MAX],
            sdxl=sdxl if sdxl in SDXL else "",
            cursor=data.get("cursor", "")[:CURSOR_MAX],
            field=field if PICKED.get(field) == kind else _find_free_field(kind, carried),
            carried=carried,
        )

    def fetch_page(self) -> model_catalog.CatalogPage:
        if not self.provider:
            return model_catalog.CatalogPage(problem="No provider is configured.")
        question = model_catalog.CatalogQuery(
            provider=self.provider,
            kind=self.kind,
            query=self.query,
            is_sdxl=SDXL[self.sdxl],
            cursor=self.cursor,
        )
        return model_catalog.fetch_page(question)

    @property
    def hidden_fields(self) -> dict[str, str]:
        """Hidden fields of the search form."""
        return {**self.carried, "provider": self.provider, "type": self.kind, "for": self.field}

    def make_list_url(self, **changes: str) -> str:
        asked = {"q": self.query, "sdxl": self.sdxl, **self.hidden_fields, **changes}
        query = urlencode({name: value for name, value in asked.items() if value})
        return f"{reverse('generation:model-list')}?{query}"

    def make_form_url(self, name: str) -> str:
        """Return the form's URL with this model filled in and all other values kept."""
        chosen = {**self.carried, "provider": self.provider, self.field: name, "picked": self.field}
        return f"{self.form_url}?{urlencode(chosen)}#field-{self.field}"

    @property
    def back_url(self) -> str:
        return f"{self.form_url}?{urlencode({**self.carried, 'provider': self.provider})}"

    @property
    def form_url(self) -> str:
        return reverse("generation:request-create")

    @property
    def field_label(self) -> str:
        kind, _, rest = self.field.partition("_")
        names = {"lora": "LoRA", "embedding": "embedding"}
        if kind in names:
            return f"{names[kind]} {rest.partition('_')[0]}"
        return "VAE" if self.field == "sd_vae" else "model"


def _find_free_field(kind: str, carried: dict[str, str]) -> str:
    """Return the first empty form field of this kind, else the first one."""
    fields = [name for name, takes in PICKED.items() if takes == kind]
    return next((name for name in fields if name not in carried), fields[0])


@require_safe
@permission_required("generation.add_generationrequest", raise_exception=True)
def model_list(request: HttpRequest) -> HttpResponse:
    search = Search.read(request.GET)
    offer = search.fetch_page()
    context = {
        "search": search,
        "offer": offer,
        "rows": [(model, search.make_form_url(model.name)) for model in offer.models],
        "provider": providers.list_labels().get(search.provider, ""),
        "kinds": [
            (title, search.make_list_url(type=kind, **{"for": ""}), kind == search.kind)
            for kind, title in model_catalog.KINDS.items()
        ],
        "sdxl_choices": (("", "Any base model"), ("1", "SDXL only"), ("0", "Without SDXL")),
        "more": search.make_list_url(cursor=offer.next_cursor) if offer.next_cursor else "",
        "first": search.make_list_url() if search.cursor else "",
        "as_dialog": bool(getattr(request, "htmx", False)),
    }
    return respond(request, "generation/model_list.html", "generation/_models.html", context)
