"""Measure the verification of a signed record: `python -m bench.verification 100000`.

Fills an empty database (DATA_DIR or DATABASE_URL) with invented images and decisions.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
BATCH = 2_000


def fill(count: int) -> None:
    from django.contrib.auth.models import User
    from django.db import transaction

    from generation.core.storage import asset_name
    from generation.models import Asset
    from moderation.models import Decision, Policy, Review, Verdict
    from moderation.services import audit_log

    person = User.objects.create_user("bench")
    policy = Policy.objects.active()
    for numbers in (range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)):
        hashes = [hashlib.sha256(b"%d" % number).hexdigest() for number in numbers]
        assets = Asset.objects.bulk_create(
            [
                Asset(
                    source="api",
                    rendition=asset_name(sha256, "jpeg"),
                    image_type="jpeg",
                    width=64,
                    height=64,
                    size=1,
                    sha256=sha256,
                    thumbnail="x",
                    preview="",
                    source_type="jpeg",
                    source_sha256=sha256,
                    source_bytes=1,
                )
                for sha256 in hashes
            ]
        )
        reviews = Review.objects.bulk_create(
            [Review(asset=asset, status="pending", policy=policy) for asset in assets]
        )
        with transaction.atomic():
            made: list[Decision] = []
            for review in reviews:
                made.append(
                    audit_log.record_decision(
                        review=review,
                        verdict=Verdict.APPROVE,
                        reviewer=person,
                        policy_id=policy.pk,
                        note="An invented note",
                    )
                )
                review.status, review.decided_by = "approved", person
                review.decided_at = made[-1].created_at
            Review.objects.bulk_update(reviews, ["status", "decided_by", "decided_at"], 500)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    django.setup()
    from django.core.management import call_command

    from moderation.models import Decision
    from moderation.services.verification import verify_record

    call_command("migrate", verbosity=0)
    if not Decision.objects.exists():
        fill(count)
    started, cpu = time.perf_counter(), time.process_time()
    verification, faults = verify_record()
    wall, spent = time.perf_counter() - started, time.process_time() - cpu
    # The invented images have no files, which the sample reports.
    faults = [fault for fault in faults if "is missing" not in fault]
    sys.stdout.write(
        f"{verification.decisions} decisions, {verification.reviews} images:"
        f" {spent:.1f} s of processor time, {wall:.1f} s; other faults: {faults[:3]}\n"
    )


if __name__ == "__main__":
    main()
