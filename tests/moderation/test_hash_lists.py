"""Hash lists: files, matching, the pages of the desk and the admin, and the command."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from generation.models import Asset, Source, image_search
from moderation import hash_files
from moderation.models import Classification, Decision, HashEntry, HashList, Policy, Review
from moderation.services import classification, hash_lists, verification
from tests.conftest import picture
from tests.moderation.page_helpers import ClientOf, decide, get_review_url

MakeReview = Callable[..., Review]
SHA, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture(autouse=True)
def _known_images(settings: Any) -> None:
    settings.CLASSIFIERS = ["hashes", "sandbox"]


@pytest.fixture
def store(make_asset: Callable[..., Asset], make_request: Callable[..., Any]) -> MakeReview:
    """Return a function that stores a generated image; the sandbox would have to judge it."""

    def store(content: bytes | None = None) -> Review:
        return make_asset(content, source=Source.TXT2IMG, request=make_request(), position=0).review

    return store


def make_list(content: str, *, name: str = "bans", algorithm: str = "", **fields: Any) -> HashList:
    found = HashList.objects.create(name=name, **fields)
    hash_lists.import_entries(hash_list=found, content=content.encode(), algorithm=algorithm)
    return found


def make_pending(review: Review) -> Review:
    for run in review.asset.classifications.filter(status=Classification.Status.QUEUED):
        classification.give_up(run, "It was asleep.")
    review.refresh_from_db()
    return review


def run_command(*arguments: str) -> str:
    output = io.StringIO()
    call_command("hash_list", *arguments, stdout=output)
    return output.getvalue()


# --- Files ---
def test_lines_csv_and_json_give_the_same_entries() -> None:
    lines = hash_files.parse_file(f"# bans\n{SHA}\n\n{OTHER.upper()}\n".encode(), algorithm="pdq")
    table = hash_files.parse_file(f"hash,algorithm\n{SHA},pdq\n{OTHER},PDQ\n".encode())
    threats = [{"type": "HASH_PDQ", "indicator": text, "id": 7} for text in (SHA, OTHER)]
    data = hash_files.parse_file(json.dumps({"data": threats}).encode())
    plain = hash_files.parse_file(json.dumps([{"pdq": SHA}, {"pdq": OTHER}]).encode())

    assert lines == table == plain
    assert [entry.value.hex() for entry in data] == [SHA, OTHER]
    assert [entry.external_id for entry in data] == ["7", "7"]


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (f"{SHA}\nxyz\n", ["Line 2: not a hash of 64 hexadecimal digits."]),
        (
            f"hash,algorithm,category\n{SHA},md5,\n{SHA},pdq,alcohol\n",
            [
                "Line 2: the algorithm “md5” is unknown; use sha256 or pdq.",
                "Line 3: “alcohol” is not a category that a rejection can name.",
            ],
        ),
        (f"hash,colour\n{SHA},red\n", ["Line 1: the column “colour” is unknown"]),
        (f"hash,note\n{SHA},a,b,c\n", ["Line 2: 4 values for 2 columns."]),
        ("[{", ["The file is not valid JSON."]),
        ('{"pages": 1}', ["The JSON has neither a list"]),
        ('[{"type": "HASH_MD5", "indicator": "00"}]', ["Item 1: the type “HASH_MD5” is not"]),
        (
            f'[{{"type": "HASH_PDQ", "indicator": "{SHA}", "should_delete": true}}]',
            ["Item 1: a removal (should_delete)"],
        ),
        ("\n# nothing\n", ["The file has no hashes."]),
    ],
)
def test_invalid_file_names_its_lines_and_imports_nothing(
    db: None, content: str, faults: list[str]
) -> None:
    found = HashList.objects.create(name="bans")

    with pytest.raises(hash_files.HashFileError) as refusal:
        hash_lists.import_entries(hash_list=found, content=content.encode(), algorithm="sha256")

    assert len(refusal.value.faults) == len(faults)
    for fault, expected in zip(refusal.value.faults, faults, strict=True):
        assert fault.startswith(expected)
    assert not HashEntry.objects.exists()


def test_hash_without_an_algorithm_is_refused() -> None:
    with pytest.raises(hash_files.HashFileError, match="does not say whether the hash is sha256"):
        hash_files.parse_file(SHA.encode())


def test_export_reads_back_and_second_import_adds_nothing(db: None) -> None:
    found = make_list(
        "hash,algorithm,category,note,external_id\n"
        f'{SHA},sha256,violence.weapons,"a, ""b""",7\n{SHA},pdq,,,\n'
    )
    text = "".join(hash_lists.iter_csv(found))

    again = hash_lists.import_entries(hash_list=found, content=text.encode())
    copy = make_list(text, name="copy")

    assert (again.added, again.known) == (0, 2)
    assert "".join(hash_lists.iter_csv(copy)) == text
    assert '"a, ""b"""' in text


# --- Matching ---
def flip(value: bytes, bits: list[int]) -> bytes:
    number = int.from_bytes(value, "big")
    for bit in bits:
        number ^= 1 << bit
    return number.to_bytes(32, "big")


@pytest.mark.django_db
@hypothesis_settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_pdq_matches_equal_an_exhaustive_comparison(data: st.DataObject) -> None:
    """Entries at every distance around the limit, spread evenly or in few bands, are all found."""
    HashList.objects.all().delete()
    base = data.draw(st.binary(min_size=32, max_size=32))
    within = data.draw(st.integers(0, 31))
    spread = random.Random(data.draw(st.integers(0, 10**9)))
    values = {base}
    for count in range(max(0, within - 2), within + 4):
        values.add(flip(base, spread.sample(range(256), count)))
        # Spread evenly: every band changes, which is the hardest case for an index of bands.
        even = [16 * (index % 16) + index // 16 for index in range(count)]
        values.add(flip(base, even))
    found = make_list("\n".join(value.hex() for value in values), algorithm="pdq")

    near = HashEntry.objects.nearest(base, within=within)

    expected = {
        value: bits
        for value in values
        if (bits := image_search.count_different_bits(base, value)) <= within
    }
    assert {bytes(entry.value): bits for entry, bits in near} == expected
    assert [bits for _, bits in near] == sorted(bits for _, bits in near)
    HashList.objects.filter(pk=found.pk).update(is_active=False)
    assert HashEntry.objects.nearest(base, within=within) == []


@pytest.mark.parametrize("column", ["sha256", "source_sha256"])
def test_file_on_a_block_list_is_rejected_at_once(store: MakeReview, column: str) -> None:
    seen = store(picture(1)).asset
    make_list(
        f"hash,algorithm,category,note\n{getattr(seen, column)},sha256,violence.weapons,case 9\n"
    )

    review = store(picture(1))

    decision = Decision.objects.get(review=review)
    assert (decision.by_policy, decision.categories) == (True, ["violence.weapons"])
    assert review.reason.startswith("On the block list “bans” (entry ")
    assert "case 9" in review.reason
    assert [run.classifier for run in review.asset.classifications.all()] == ["hashes"]
    assert verification.verify_record()[1] == []


@pytest.mark.parametrize(
    ("column", "category", "reason"),
    [
        ("sha256", "", "On the block list “bans”"),
        ("pdq", "violence.weapons", "Looks like an entry of the block list “bans” (0 of 256"),
    ],
)
def test_block_entry_without_category_or_by_look_goes_to_a_person(
    store: MakeReview,
    client_of: ClientOf,
    moderator: User,
    column: str,
    category: str,
    reason: str,
) -> None:
    seen = store(picture(1)).asset
    value = seen.sha256 if column == "sha256" else bytes(seen.pdq).hex()
    make_list(f"hash,algorithm,category\n{value},{column},{category}\n")

    review = make_pending(store(picture(1)))

    assert review.status == Review.Status.PENDING
    assert reason in review.reason
    assert reason in client_of(moderator).get(get_review_url(review)).content.decode()


@pytest.mark.parametrize("trusts", [True, False])
def test_allow_list_approves_only_if_the_policy_trusts_it(store: MakeReview, trusts: bool) -> None:
    Policy.objects.filter(is_active=True).update(trusts_allow_lists=trusts)
    seen = store(picture(1)).asset
    make_list(seen.sha256, algorithm="sha256", kind="allow", name="logos")

    review = store(picture(1))

    status = Review.Status.APPROVED if trusts else Review.Status.CLASSIFYING
    assert review.status == status
    make_pending(review)
    assert review.status == (Review.Status.APPROVED if trusts else Review.Status.PENDING)
    matches = review.classification_summary[0]["matches"]
    assert matches[0]["text"].startswith("On the allow list “logos”")


def test_allow_entry_by_look_never_approves(store: MakeReview) -> None:
    Policy.objects.filter(is_active=True).update(trusts_allow_lists=True)
    seen = store(picture(1)).asset
    make_list(bytes(seen.pdq).hex(), algorithm="pdq", kind="allow")

    assert store(picture(1)).status == Review.Status.CLASSIFYING


def test_block_list_outweighs_allow_list(store: MakeReview) -> None:
    Policy.objects.filter(is_active=True).update(trusts_allow_lists=True)
    seen = store(picture(1)).asset
    make_list(seen.sha256, algorithm="sha256", kind="allow", name="logos")
    make_list(f"hash,algorithm,category\n{seen.sha256},sha256,violence.weapons\n")

    assert store(picture(1)).status == Review.Status.REJECTED


def test_inactive_list_matches_nothing(store: MakeReview) -> None:
    seen = store(picture(1)).asset
    make_list(seen.sha256, algorithm="sha256", is_active=False)

    assert store(picture(1)).asset.classifications.filter(classifier="hashes").count() == 0


def test_lookup_needs_few_queries_whatever_the_size_of_the_list(store: MakeReview) -> None:
    seen = store(picture(1)).asset
    spread = random.Random(1)
    make_list("\n".join(spread.randbytes(32).hex() for _ in range(2000)), algorithm="pdq")

    with CaptureQueriesContext(connection) as seen_queries:
        assert hash_lists.search_asset(seen) == []

    assert len(seen_queries) == 3  # whether a list is in use, equal hashes, near ones


# --- The desk ---
def decide_image(client_of: ClientOf, review: Review, user: User, verdict: str) -> None:
    make_pending(review)
    assert review.claim_for(user)
    data = {"categories": ["violence.weapons"]} if verdict == "reject" else {}
    assert decide(client_of(user), review, verdict, **data).status_code < 400


def test_senior_adds_hashes_of_a_rejected_image_and_removes_one(
    store: MakeReview, client_of: ClientOf, moderator: User, senior: User
) -> None:
    review, listed = store(picture(1)), HashList.objects.create(name="bans")
    decide_image(client_of, review, moderator, "reject")
    client, address = client_of(senior), reverse("moderation:hash-entry-list", args=[review.uuid])
    assert address in client.get(get_review_url(review)).content.decode()
    assert address not in client_of(moderator).get(get_review_url(review)).content.decode()

    answer = client.post(
        address,
        {"list": listed.pk, "algorithms": ["sha256", "pdq"], "category": "violence.weapons"},
    )

    assert answer.status_code == 303
    page = client.get(address).content.decode()
    assert "Added 3 hashes to “bans”." in page
    assert {(entry.algorithm, entry.category) for entry in listed.entries.all()} == {
        ("sha256", "violence.weapons"),
        ("pdq", "violence.weapons"),
    }
    assert f"Image {review.asset.short_id}, rejected by moderator" in page
    entry = listed.entries.get(algorithm="pdq")
    gone = client.post(
        reverse("moderation:hash-entry-delete", args=[entry.pk]), {"review": review.uuid}
    )
    assert gone.status_code == 303
    assert listed.entries.count() == 2
    assert LogEntry.objects.filter(user=senior).count() == 4


@pytest.mark.parametrize(
    ("verdict", "kind", "data", "message"),
    [
        ("reject", "allow", {"algorithms": ["sha256"]}, "A rejected image can be added to a block"),
        ("approve", "block", {"algorithms": ["sha256"]}, "A rejected image can be added to a"),
        ("reject", "block", {}, "Choose at least one hash"),
        (
            "reject",
            "block",
            {"algorithms": ["pdq"], "category": "alcohol.beverages"},
            "Choose one of the categories of the decision.",
        ),
        ("reject", "block", {"list": "none", "algorithms": ["pdq"]}, "Choose a list."),
    ],
)
def test_impossible_addition_returns_422_with_the_reason(
    store: MakeReview,
    client_of: ClientOf,
    moderator: User,
    senior: User,
    verdict: str,
    kind: str,
    data: dict[str, Any],
    message: str,
) -> None:
    review, listed = store(picture(1)), HashList.objects.create(name="bans", kind=kind)
    decide_image(client_of, review, moderator, verdict)

    answer = client_of(senior).post(
        reverse("moderation:hash-entry-list", args=[review.uuid]), {"list": listed.pk, **data}
    )

    assert answer.status_code == 422
    assert message in answer.content.decode()
    assert not HashEntry.objects.exists()


def test_page_is_closed_while_its_viewer_gives_a_second_opinion(
    store: MakeReview, client_of: ClientOf, moderator: User, senior: User, settings: Any
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    review = store(picture(1))
    decide_image(client_of, review, moderator, "reject")
    review.refresh_from_db()
    assert review.claim_for(senior)

    answer = client_of(senior).get(reverse("moderation:hash-entry-list", args=[review.uuid]))

    assert answer.status_code == 403


# --- The admin site ---
def test_lead_imports_and_exports_a_list_in_the_admin_site(
    lead: User, auditor: User, client_of: ClientOf
) -> None:
    client = client_of(lead)
    made = client.post(
        "/admin/moderation/hashlist/add/", {"name": "bans", "kind": "block", "is_active": "on"}
    )
    assert made.status_code == 302
    listed = HashList.objects.get()
    assert listed.created_by == lead
    address = f"/admin/moderation/hashlist/{listed.pk}/import/"
    assert address in client.get(f"/admin/moderation/hashlist/{listed.pk}/change/").content.decode()

    def upload(text: str) -> Any:
        file = SimpleUploadedFile("hashes.txt", text.encode())
        return client.post(address, {"file": file, "algorithm": "sha256"})

    refused = upload(f"{SHA}\nnonsense\n")
    assert refused.status_code == 200
    assert "Line 2: not a hash" in refused.content.decode()
    assert not HashEntry.objects.exists()
    assert upload(f"{SHA}\n{OTHER}\n").status_code == 302
    assert HashEntry.objects.filter(hash_list=listed, added_by=lead).count() == 2
    exported = client.get(f"/admin/moderation/hashlist/{listed.pk}/export/")
    assert SHA in b"".join(exported.streaming_content).decode()
    found = client.get(f"/admin/moderation/hashentry/?q={OTHER}").content.decode()
    assert f"{OTHER[:12]}…" in found
    assert f"{SHA[:12]}…" not in found
    assert client_of(auditor).get(address).status_code == 403


# --- The command ---
def test_command_imports_exports_and_searches(db: None, tmp_path: Path, store: MakeReview) -> None:
    asset = store(picture(1)).asset
    file = tmp_path / "bans.csv"
    file.write_text(f"hash,algorithm,category\n{bytes(asset.pdq).hex()},pdq,violence.weapons\n")

    told = run_command("import", str(file), "--list", "bans")
    assert told == "“bans” (block list): 1 hashes added, 0 known already.\n"
    assert run_command("export", "--list", "bans").startswith("hash,algorithm,category,note")
    assert "0 bits\tbans\tviolence.weapons" in run_command("search", "--asset", str(asset.uuid))
    assert "0 bits\tbans" in run_command("search", bytes(asset.pdq).hex())
    assert run_command("search", SHA) == "No list in force has it.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "absent.txt", "--list", "bans"), "absent.txt cannot be read"),
        (("export", "--list", "bans"), "There is no list “bans”."),
        (("search",), "Name a hash, or an image"),
        (("search", "zz"), "“zz” is not a hash"),
        (("search", "--asset", "zz"), "There is no image “zz”."),
    ],
)
def test_command_refuses_what_it_cannot_do(
    db: None, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        run_command(*arguments)


def test_command_with_an_invalid_file_creates_no_list(db: None, tmp_path: Path) -> None:
    file = tmp_path / "bans.txt"
    file.write_text("nonsense\n")

    with pytest.raises(CommandError, match="Line 1: not a hash"):
        run_command("import", str(file), "--list", "bans", "--algorithm", "pdq")

    assert not HashList.objects.exists()
    make_list(SHA, algorithm="pdq", kind="allow")
    with pytest.raises(CommandError, match="The kind of “bans” is allow"):
        run_command("import", str(file), "--list", "bans", "--kind", "block")
