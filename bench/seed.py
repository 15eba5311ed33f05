"""Filling of an empty, migrated database: ``python -m bench.inside seed N`` for N assets.

Uses INSERT … SELECT, so that a million assets take minutes. Every row is derived from its number,
so two runs create the same database. The mix is realistic: of every 20 assets 12 come from requests
of four, 4 are files, 3 from Scenario, 1 from the API. Three fifths are decided, by people or the
policy. Every category but one has waiting images.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.db import connection, models

from bench.dialects import chance, literal, make_dialect, pick
from bench.pictures import Picture, store_pictures
from generation.models import Asset, AssetText, GenerationRequest, HashBand
from moderation.models import (
    ChainHead,
    Classification,
    Decision,
    Label,
    NamedCategory,
    Preferences,
    Review,
    RiskProgress,
    WordStats,
    WordStatsProgress,
)
from moderation.models.found_categories import combine_bits

PASSWORD = "only for the benchmark"
PEOPLE = 30
# The last ones hold claims during the measurement: a deck of 8 each.
HOLDING = 10

YEAR = 365 * 24 * 3600
ADJECTIVES = (
    "quiet",
    "golden",
    "foggy",
    "neon",
    "ancient",
    "tiny",
    "broken",
    "velvet",
    "frozen",
    "painted",
    "wild",
    "hollow",
    "amber",
    "crooked",
    "silver",
    "mossy",
)
SUBJECTS = (
    "harbour",
    "dancer",
    "orchard",
    "portrait",
    "robot",
    "market",
    "cathedral",
    "swimmer",
    "soldier",
    "kitchen",
    "forest",
    "tavern",
    "casino",
    "clinic",
)
SETTINGS = (
    "at dawn",
    "in the rain",
    "by candlelight",
    "under snow",
    "on a rooftop",
    "in an empty street",
    "at a party",
    "behind glass",
)
STYLES = (
    "oil painting",
    "film grain",
    "studio light",
    "wide angle",
    "watercolour",
    "concept art",
    "macro",
    "low poly",
    "polaroid",
    "charcoal",
)

# Top categories of waiting images, each entry 1/40 of them; "" where only a score was given.
HEADLINES = [
    *["explicit.nudity"] * 6,
    *["explicit.sexual-activity"] * 3,
    *["non-explicit.nudity"] * 5,
    *["non-explicit.kissing"] * 3,
    *["swimwear-underwear.female"] * 6,
    *["violence.weapons"] * 4,
    *["violence.graphic"] * 2,
    "visually-disturbing.death",
    *["drugs-tobacco.products"] * 2,
    *["alcohol.use"] * 3,
    "hate-symbols",
    *[""] * 4,
]
# One in 4000 shows gambling, the hardest case for a filter. No waiting image shows a rude gesture.
RARE = 4000

# Values of the generated classifications.
COVERS = '{"explicit": "full", "non-explicit": "partial"}'
BOX = "[0.2, 0.2, 0.4, 0.5]"
SILENCE = "It did not answer in time."
DONE, FAILED = '"status":"done","error":""', f'"status":"failed","error":"{SILENCE}"'
SAID = f'"flagged":null,"score":null,"covers":{COVERS},"details":{{}}'


class Seeder:
    """Fills the tables one after the other."""

    def __init__(self, count: int, pictures: list[Picture], people: list[User]) -> None:
        self.count, self.pictures = count, pictures
        self.sql = make_dialect()
        self.now = int(time.time()) - 60
        self.step = YEAR / count
        self.policy = literal(1)
        self.first_person = min(person.pk for person in people)

    def run(self) -> None:
        self.sql.quick()
        for step in (
            self.requests,
            self.assets,
            self.words,
            self.classifications,
            self.labels,
            self.reviews,
            self.decisions,
            self.categories,
            self.bands,
            self.sql.settled,
            self.tallies,
        ):
            started = time.monotonic()
            step()
            print(f"  {step.__name__:<16} {time.monotonic() - started:6.1f} s", flush=True)

    def insert(
        self,
        model: type[models.Model],
        source: str,
        values: Mapping[str, str],
        *,
        rows: int = 1,
        order: str = "",
    ) -> None:
        """Run INSERT … SELECT; columns that are not named get their model's default."""
        names, expressions, params = [], [], []
        for field in model._meta.local_concrete_fields:
            if field.attname in values:
                expressions.append(values[field.attname])
            elif isinstance(field, models.AutoField):
                continue
            else:
                expressions.append("%s")
                params.append(field.get_db_prep_save(field.get_default(), connection))
            names.append(f'"{field.column}"')
        # Expressions contain literal percent signs; parameters are marked by %s.
        chosen = ", ".join(
            text if text == "%s" else text.replace("%", "%%") for text in expressions
        )
        into = f"INSERT INTO {model._meta.db_table} ({', '.join(names)})"
        self.sql.execute(
            f"{into} {self.sql.series(rows)} SELECT {chosen} FROM {source.replace('%', '%%')}"
            f" {order}",
            params,
        )

    def born(self, number: str) -> str:
        """Return SQL for the arrival time of an asset, in epoch seconds.

        Arrivals are spread over a year; the last one is a minute ago.
        """
        return f"({self.now} - ({self.count} - ({number})) * {YEAR} / {self.count})"

    def prompt(self, number: str) -> str:
        """Return SQL for a prompt of common words and one unique number."""
        words = [
            pick(chance(number, len(choices), salt), choices)
            for salt, choices in enumerate((ADJECTIVES, SUBJECTS, SETTINGS, STYLES), start=1)
        ]
        subject = f"'a ' || {words[0]} || ' ' || {words[1]} || ' ' || {words[2]}"
        return f"{subject} || ', ' || {words[3]} || ', take ' || ({number})"

    def requests(self) -> None:
        """Insert 3 requests of four images per 20 assets, 2 % failed ones, some open or unknown."""
        good = self.count * 3 // 20
        odd = max(good // 50, 12)
        errors = [
            "",
            "",
            "Nobody knows whether it was accepted.",
            "The provider had no model of this name.",
        ]
        kind = (
            f"(CASE WHEN i <= {good} THEN 0 WHEN i <= {good + 6} THEN 1 WHEN i <= {good + 9} THEN 2"
            " ELSE 3 END)"
        )
        born = self.born(
            f"(CASE WHEN i <= {good} THEN i * 20 / 3 ELSE {self.count} - (i - {good}) * 40 END)"
        )
        self.insert(
            GenerationRequest,
            "s",
            {
                "id": "i",
                "uuid": self.sql.uuid("request", "i"),
                "form_token": self.sql.uuid("form", "i"),
                "provider": pick(
                    "i % 5", ["novita", "novita", "novita", "novita", "novita-sandbox"]
                ),
                "provider_task_id": "'task-' || i",
                "status": pick(kind, ["succeeded", "processing", "unknown", "failed"]),
                "progress": pick(kind, [100, 40, 0, 0]),
                "error": pick(kind, errors),
                "model_name": pick(
                    chance("i", 4, 5),
                    [
                        "alder_v4.safetensors",
                        "birch_xl.safetensors",
                        "cedar.safetensors",
                        "alder_v4.safetensors",
                    ],
                ),
                "prompt": self.prompt("i"),
                "negative_prompt": "'blurry, text, watermark'",
                "width": "512",
                "height": "512",
                "image_num": "4",
                "steps": "28",
                "guidance_scale": "7",
                "sampler_name": "'Euler a'",
                "seed": chance("i", 1_000_000, 6),
                "response_image_type": "'png'",
                "cost": "0.006",
                "requested_by_id": f"{self.first_person} + i % {PEOPLE}",
                "created_at": self.sql.at(born),
                "submitted_at": self.sql.at(f"{born} + 2"),
                "finished_at": f"CASE WHEN {kind} IN (0, 3) THEN {self.sql.at(f'{born} + 9')} END",
            },
            rows=good + odd,
        )

    def assets(self) -> None:
        place = "((i - 1) % 20)"  # position in its block of 20
        shown = f"i % {len(self.pictures)}"
        # Every fiftieth asset is the twin of the previous one, with the same hash.
        self.insert(
            Asset,
            "s",
            {
                "id": "i",
                "uuid": self.sql.uuid("asset", "i"),
                "source": _by_place(place, "txt2img", "upload", "scenario", "api"),
                "request_id": f"CASE WHEN {place} < 12 THEN (i - 1) / 20 * 3 + {place} / 4 + 1 END",
                "position": f"CASE WHEN {place} < 12 THEN {place} % 4 END",
                "rendition": pick(shown, [one.name for one in self.pictures]),
                "image_type": "'png'",
                "thumbnail": pick(shown, [one.thumbnail for one in self.pictures]),
                "preview": pick(shown, [one.preview for one in self.pictures]),
                "width": "512",
                "height": "512",
                "size": pick(shown, [one.size for one in self.pictures]),
                "sha256": self.sql.sha256("file", "i"),
                "pdq": self.sql.blob(_first_twin("i")),
                "pdq_quality": "100",
                "source_type": "'png'",
                "source_sha256": self.sql.sha256("came", "i"),
                "source_bytes": "300000",
                "original_name": (
                    f"CASE WHEN {place} BETWEEN 12 AND 15 THEN 'scan-' || i || '.png' ELSE '' END"
                ),
                "seed": f"CASE WHEN {place} < 12 THEN {chance('i', 1_000_000, 7)} END",
                "created_at": self.sql.at(self.born("i")),
            },
            rows=self.count,
        )

    def words(self) -> None:
        prompt = f"(CASE WHEN a.request_id IS NULL THEN {self.prompt('a.id')} ELSE r.prompt END)"
        text = (
            f"{prompt} || (CASE WHEN a.original_name = '' THEN '' ELSE ' ' || a.original_name END)"
        )
        # Folded as generation.core.text.fold_text does: only commas, hyphens and dots separate the
        # words.
        for mark, instead in ((",", ""), ("-", " "), (".", " ")):
            text = f"replace({text}, '{mark}', '{instead}')"
        source = (
            "generation_asset a LEFT JOIN generation_generationrequest r ON r.id = a.request_id"
        )
        self.insert(AssetText, source, {"asset_id": "a.id", "text": text})

    def classifications(self) -> None:
        """Insert two classifications per asset. Failed ones are older than a day."""
        asset, is_local = "((i + 1) / 2)", "i % 2 = 1"
        failed = self.failed("i")
        born = self.sql.at(self.born(asset))
        self.insert(
            Classification,
            "s",
            {
                "id": "i",
                "asset_id": asset,
                "classifier": f"CASE WHEN {is_local} THEN 'local' ELSE 'novita' END",
                "version": f"CASE WHEN {is_local} THEN 'nudenet-3.4' ELSE 'v3' END",
                "status": f"CASE WHEN {failed} THEN 'failed' ELSE 'done' END",
                "error": f"CASE WHEN {failed} THEN {literal(SILENCE)} ELSE '' END",
                "covers": self.sql.json(literal(COVERS)),
                "raw": self.sql.json("""'{"note": "made up for a benchmark"}'"""),
                "duration_ms": "40",
                "created_at": born,
                "finished_at": born,
            },
            rows=self.count * 2,
        )

    def failed(self, run: str) -> str:
        return f"({run} % 500 = 0 AND {run} < {self.count * 2 - self.count // 60})"

    def labels(self) -> None:
        """Insert one label with a box per top category, and a weaker second one for every third."""
        for salt, condition in ((0, "1 = 1"), (9, "i % 3 = 0")):
            named = f"(SELECT i, {_headline('i', salt)} AS headline FROM s) n"
            self.insert(
                Label,
                f"{named} WHERE headline <> '' AND {condition}",
                {
                    "classification_id": "2 * i - 1",
                    "category": "headline",
                    "confidence": f"{_priority('i')} - {salt}",
                    "box": self.sql.json(literal(BOX)),
                },
                rows=self.count,
            )

    def classification_summary(self, asset: str) -> str:
        """Return SQL for the summary of both classifications, as stored with the review.

        Format: moderation.models.classification_summary.
        """
        parts = (
            f"replace({_part(asset, 0)} || {_part(asset, 9, f'{asset} % 3 = 0')} || ']', ',]', ']')"
        )
        ended = (
            f"(CASE WHEN {self.failed(f'(2 * {asset})')} THEN {literal(FAILED)} ELSE"
            f" {literal(DONE)} END)"
        )
        local = f"""'{{"classifier":"local",{DONE},{SAID},"parts":[' || {parts} || '}}'"""
        novita = f"""'{{"classifier":"novita",' || {ended} || ',{SAID},"parts":[]}}'"""
        return f"'[' || {local} || ',' || {novita} || ']'"

    def reviews(self) -> None:
        place = "((a.id - 1) % 20)"
        fate, person = (
            chance("a.id", 1000, 11),
            f"{self.first_person} + {chance('a.id', PEOPLE, 12)}",
        )
        status = (
            f"(CASE WHEN {fate} < 380 THEN 'pending' WHEN {fate} < 396 THEN 'escalated' WHEN {fate}"
            f" < 400 THEN 'classifying' WHEN {fate} < 850 THEN 'approved' ELSE 'rejected' END)"
        )
        decided = f"({fate} >= 400)"
        top_category = (
            f"(CASE WHEN {decided} AND {chance('a.id', 30, 13)} = 0 THEN 'rude-gestures' ELSE"
            f" {_headline('a.id')} END)"
        )
        # Some hours after arrival, but never in the future.
        later = (
            f"{self.born('a.id')} + ({self.now} - {self.born('a.id')}) * {chance('a.id', 90, 14)} /"
            " 8000"
        )
        by_policy = f"{chance('a.id', 5, 15)} < 2"
        provider = pick("a.request_id % 5", ["novita"] * 4 + ["novita-sandbox"])
        again = f"{decided} AND NOT {by_policy} AND {chance('a.id', 100, 16)} = 0"
        self.insert(
            Review,
            "generation_asset a",
            {
                "id": "a.id",
                "uuid": self.sql.uuid("review", "a.id"),
                "asset_id": "a.id",
                "status": status,
                "risk": _priority("a.id"),
                "top_category": top_category,
                "top_category_l1": _first_level(top_category),
                "top_confidence": _priority("a.id"),
                "source": "a.source",
                "found": _found("a.id"),
                "provider": f"CASE WHEN {place} < 12 THEN {provider} ELSE '' END",
                "near_duplicate_group": (
                    "CASE WHEN a.id % 50 = 0 THEN a.id - 1 WHEN a.id % 50 = 49 THEN a.id END"
                ),
                "reason": (
                    "'The local detector is surer of it than the 20 from which on the policy asks a"
                    " person.'"
                ),
                "policy_id": self.policy,
                "created_at": "a.created_at",
                "classification_summary": self.sql.json(
                    f"CASE WHEN {status} <> 'classifying' THEN"
                    f" {self.classification_summary('a.id')} END"
                ),
                "decided_at": f"CASE WHEN {decided} THEN {self.sql.at(later)} END",
                "decided_by_id": f"CASE WHEN {decided} AND NOT {by_policy} THEN {person} END",
                "second_opinion": f"CASE WHEN {again} THEN 'wanted' ELSE '' END",
            },
        )

    def decisions(self) -> None:
        """Insert one decision per decided or escalated review.

        The hashes are placeholders: this record cannot be verified.
        """
        row = (
            "(SELECT v.*, u.username, row_number() OVER (ORDER BY coalesce(v.decided_at,"
            " v.created_at), v.id) AS n FROM moderation_review v LEFT JOIN auth_user u ON u.id ="
            " v.decided_by_id WHERE v.status IN ('approved', 'rejected', 'escalated')) r"
        )
        by_policy = "(r.decided_by_id IS NULL AND r.status <> 'escalated')"
        named = "'[\"' || (CASE WHEN r.top_category = '' THEN 'explicit' ELSE r.top_category END) || '\"]'"
        self.insert(
            Decision,
            row,
            {
                "id": "r.n",
                "uuid": self.sql.uuid("decision", "r.n"),
                "review_id": "r.id",
                "verdict": (
                    "CASE r.status WHEN 'approved' THEN 'approve' WHEN 'rejected' THEN 'reject'"
                    " ELSE 'escalate' END"
                ),
                "categories": self.sql.json(
                    f"CASE WHEN r.status = 'rejected' THEN {named} ELSE '[]' END"
                ),
                "note": (
                    "CASE WHEN r.status = 'escalated' THEN 'Not sure whether this is a costume.'"
                    " ELSE '' END"
                ),
                "reviewer_id": (
                    f"CASE WHEN {by_policy} THEN NULL ELSE coalesce(r.decided_by_id,"
                    f" {self.first_person}) END"
                ),
                "reviewer_name": (
                    f"CASE WHEN {by_policy} THEN '' ELSE coalesce(r.username, 'moderator-1') END"
                ),
                "policy_id": self.policy,
                "by_policy": by_policy,
                "seconds": f"{chance('r.id', 90, 17)} + 1",
                "created_at": "coalesce(r.decided_at, r.created_at)",
                "sequence": "r.n",
                "previous_hash": self.sql.sha256("link", "r.n - 1"),
                "hash": self.sql.sha256("link", "r.n"),
                "version": str(ChainHead.objects.get(pk=1).version),
            },
        )
        last = Decision.objects.newest_first()[:1].get()
        ChainHead.objects.update_or_create(
            pk=1, defaults={"sequence": last.sequence, "hash": last.hash}
        )

    def categories(self) -> None:
        """Insert the categories named by rejections."""
        named = (
            "(SELECT asset_id, CASE WHEN top_category = '' THEN 'explicit' ELSE top_category END AS"
            " category FROM moderation_review WHERE status = 'rejected') n"
        )
        self.insert(
            NamedCategory,
            named,
            {"category": "category", "asset_id": "asset_id"},
            order="ORDER BY 1, 2",
        )

    def bands(self) -> None:
        """Insert the hash bands in index order, because 16 random insertions per asset are slow."""
        self.insert(
            HashBand,
            f"generation_asset a, {self.sql.bands}",
            {"key": self.sql.band_key, "asset_id": "a.id"},
            order="ORDER BY 1, 2",
        )

    def tallies(self) -> None:
        """Insert word statistics as the worker counts them; some words are rejected more often."""
        decided = self.count * 3 // 5
        words = {
            word
            for text in (*ADJECTIVES, *SUBJECTS, *SETTINGS, *STYLES)
            for word in text.split()
            if len(word) > 2
        }
        rows = [
            WordStats(
                word=word,
                decided=decided // 14,
                rejected=decided // 14 * (20 + 15 * (n % 4)) // 100,
            )
            for n, word in enumerate(sorted(words))
        ]
        WordStats.objects.bulk_create(rows)
        done = {
            "sequence": Decision.objects.newest_first()[:1].get().sequence,
            "decided": decided,
            "rejected": decided // 4,
        }
        WordStatsProgress.objects.update_or_create(pk=1, defaults=done)
        RiskProgress.objects.update_or_create(pk=1, defaults={"sequence": done["sequence"]})


def _part(asset: str, salt: int, condition: str = "1 = 1") -> str:
    """Return SQL for one label in the list of labels, with a trailing comma."""
    name, confidence = _headline(asset, salt), f"({_priority(asset)} - {salt})"
    there = f"""'["' || {name} || '","' || {confidence} || '.00",{BOX}],'"""
    return f"(CASE WHEN {name} <> '' AND {condition} THEN {there} ELSE '' END)"


def _by_place(place: str, *kinds: str) -> str:
    limits = zip((12, 16, 19), kinds, strict=False)
    cases = " ".join(f"WHEN {place} < {limit} THEN {literal(kind)}" for limit, kind in limits)
    return f"(CASE {cases} ELSE {literal(kinds[-1])} END)"


def _first_twin(number: str) -> str:
    return f"({number} - (CASE WHEN {number} % 50 = 0 THEN 1 ELSE 0 END))"


def _headline(number: str, salt: int = 0) -> str:
    common = pick(chance(number, len(HEADLINES), 20 + salt), HEADLINES)
    return f"(CASE WHEN {chance(number, RARE, 30)} = 0 THEN 'gambling' ELSE {common} END)"


def _first_level(top_category: str) -> str:
    known = {name: name.partition(".")[0] for name in HEADLINES if "." in name}
    cases = " ".join(f"WHEN {literal(name)} THEN {literal(first)}" for name, first in known.items())
    return f"(CASE {top_category} {cases} ELSE {top_category} END)"


def _found(number: str) -> str:
    """Return SQL for the bits of all labels (moderation.models.found_categories)."""
    first = _bits(_headline(number))
    return f"({first} | (CASE WHEN {number} % 3 = 0 THEN {_bits(_headline(number, 9))} ELSE 0 END))"


def _bits(top_category: str) -> str:
    cases = " ".join(
        f"WHEN {literal(name)} THEN {combine_bits([name])}"
        for name in sorted({*HEADLINES, "gambling"})
        if name
    )
    return f"(CASE {top_category} {cases} ELSE 0 END)"


def _priority(number: str) -> str:
    """Return SQL for a risk of 20 to 99.

    One in a hundred could not be classified and has 100.
    """
    return (
        f"(CASE WHEN {chance(number, 100, 40)} = 0 THEN 100 ELSE 20 + {chance(number, 80, 41)} END)"
    )


def make_people() -> list[User]:
    secret = make_password(PASSWORD)
    names = [f"moderator-{number}" for number in range(1, PEOPLE + 1)]
    people = User.objects.bulk_create([User(username=name, password=secret) for name in names])
    Group.objects.get(name="moderator").user_set.add(*people)
    senior = User.objects.create(username="senior", password=secret)
    senior.groups.add(Group.objects.get(name="senior moderator"))
    # Images are measured, not covers.
    Preferences.objects.bulk_create(
        [Preferences(user=person, blur=False) for person in (*people, senior)]
    )
    return people


def main(count: str) -> None:
    """Fill the database; ``count`` is rounded up to a multiple of 20."""
    Seeder(-(-int(count) // 20) * 20, store_pictures(), make_people()).run()
