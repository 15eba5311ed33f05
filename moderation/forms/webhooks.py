"""Form of the webhook tester."""

from __future__ import annotations

from django import forms


class WebhookTestForm(forms.Form):
    url = forms.URLField(
        label="Address",
        max_length=2000,
        assume_scheme="https",
        error_messages={
            "required": "Enter the address of your webhook.",
            "invalid": "Enter a whole URL, such as https://shop.example/loupe.",
        },
        widget=forms.URLInput(attrs={"autocomplete": "off"}),
    )
