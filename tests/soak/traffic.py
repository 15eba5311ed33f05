"""Moderators and a program that call a server which is killed now and then."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException

import httpx

from bench.people import OverHttp, Person

# Wire faults that the sandbox plays; most requests have none.
FAULTS = (
    "sandbox:fail",
    "sandbox:slow",
    "sandbox:partial",
    "sandbox:expired",
    "sandbox:corrupt",
    "sandbox:busy",
    "sandbox:reject",
    "sandbox:lost",
    "sandbox:lost-silent",
)
FAULT_SHARE = 0.3
SUBJECTS = ("a harbour", "a whisky bottle", "a revolver on velvet", "poker at night", "a garden")


@dataclass
class Traffic:
    """The answers to callers. An answer that a kill has cut off counts as unknown."""

    port: int
    key: str
    seed: int
    stop: threading.Event = field(default_factory=threading.Event)
    tasks: set[str] = field(default_factory=set)
    decided: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)  # that the provider was asked for
    requested: int = 0

    def start(self, people: tuple[str, ...], *, every: float) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._moderate, args=[name]) for name in people]
        threads.append(threading.Thread(target=self._request, args=[every]))
        for thread in threads:
            thread.daemon = True
            thread.start()
        return threads

    def _request(self, every: float) -> None:
        chance = random.Random(self.seed)
        url = f"http://127.0.0.1:{self.port}/v3/async/txt2img"
        while not self.stop.wait(every):
            self.requested += 1
            fault = f" {chance.choice(FAULTS)}" if chance.random() < FAULT_SHARE else ""
            self.faults[fault.strip() or "none"] += 1
            request = {
                "model_name": "alder_realism_v4.safetensors",
                "prompt": f"{chance.choice(SUBJECTS)}{fault}",
                "width": 128,
                "height": 128,
                "image_num": chance.randint(1, 3),
                "steps": 20,
                "guidance_scale": 7.5,
                "sampler_name": "Euler a",
                "seed": self.seed * 1_000_000 + self.requested,
            }
            headers = {"Authorization": f"Bearer {self.key}"}
            try:
                answer = httpx.post(url, json={"request": request}, headers=headers, timeout=30)
            except httpx.HTTPError:
                self.answers["submission: no answer"] += 1
                continue
            self.answers[f"submission: {answer.status_code}"] += 1
            if answer.status_code == 200:
                self.tasks.add(answer.json()["task_id"])

    def _moderate(self, name: str) -> None:
        """Decide about one image a second; after a broken connection, log in again.

        The deck stays: its images are claimed by this person for minutes.
        """
        deck: list[str] = []
        while not self.stop.wait(1):
            person = Person(name, OverHttp(self.port), deck=deck)
            try:
                person.log_in()
                self._decide_until_broken(person)
            except (HTTPException, OSError):
                self.answers["desk: no answer"] += 1
            except RuntimeError as error:  # another status than 200
                self.answers[f"desk: {str(error).partition('answered ')[2][:3] or error}"] += 1
            finally:
                person.send.connection.close()

    def _decide_until_broken(self, person: Person) -> None:
        while not self.stop.wait(1):
            if not person.deck:
                # The answer of an earlier claim may have been cut off by a kill.
                person.sit_down(takes_held=True)
                self.answers["desk: 200"] += 1
                continue
            review = person.deck[0]
            person.decide()
            self.answers["desk: 200"] += 1
            self.decided.add(f"{person.name} {review}")
