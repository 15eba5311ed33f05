"""Form that uploads a file of hashes."""

from __future__ import annotations

from typing import Any

from django import forms

from moderation import hash_files

FILE_MAX = 200 * 1024 * 1024  # about two million lines of CSV


class HashImportForm(forms.Form):
    """A file and, if it does not name one, the algorithm of its hashes."""

    file = forms.FileField(
        help_text=(
            "One hash a line; CSV with the columns hash, algorithm, category, note, external_id; "
            "or ThreatExchange's JSON."
        )
    )
    algorithm = forms.ChoiceField(
        choices=[("", "as the file says"), ("sha256", "SHA-256"), ("pdq", "PDQ")],
        required=False,
        help_text="SHA-256 and PDQ look alike, so plain lines need it.",
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > FILE_MAX:
            raise forms.ValidationError(
                f"At most {FILE_MAX // 1024**2} MiB. Use manage.py hash_list for larger files."
            )
        return file

    def show_faults(self, error: hash_files.HashFileError) -> None:
        for line in str(error).splitlines():
            self.add_error("file", line)
