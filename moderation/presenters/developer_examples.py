"""Examples of the page Developers: shell and Python, ready to run with $LOUPE_KEY set.

Inserted values are quoted for their language: a model's name may contain any character.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass

# 64 x 64 pixels, inline, so that the example needs no file.
SAMPLE_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQMAAACQp+OdAAAABlBMVEUoWozwtDyBtoSWAAAAS0lEQVR42u3IqxGA"
    "MBRE0UOIiKQESqcUSkkJkRH8xHMMjhkUV51dvmsE57DGOqsE2RQoSmCSAwjM0u15ieq4Pc0W6Hpg0wK7xd9jF0A1DWnT+RAxAAAAAElFTkSuQmCC"
)
PROMPT = "a quiet harbour at dawn"
# Shows the response and passes on its task id.
READ_TASK_ID = r"""tee /dev/stderr | sed -n 's/.*"task_id": *"\([^"]*\)".*/\1/p'"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    label: str  # accessible name
    code: str


def make_key(user_name: str) -> Example:
    scopes = "--scope generate --scope classify --scope read"
    return Example(
        label="Command: make a key",
        code=f"manage.py create_api_key shop {scopes} --owner {shlex.quote(user_name)}",
    )


def generate_with_curl(url: str, model: str) -> Example:
    body = f"""{{"extra": {{"response_image_type": "png"}},
       "request": {{"model_name": {json.dumps(model)},
                   "prompt": "{PROMPT}",
                   "width": 512, "height": 512, "image_num": 1, "steps": 20,
                   "guidance_scale": 7.5, "sampler_name": "Euler a"}}}}"""
    code = f"""TASK_ID=$(curl -sS {shlex.quote(url)}/v3/async/txt2img \\
  -H "Authorization: Bearer $LOUPE_KEY" \\
  -H "Content-Type: application/json" \\
  -d {shlex.quote(body)} \\
  | {READ_TASK_ID})

curl -sS {shlex.quote(url)}"/v3/async/task-result?task_id=$TASK_ID" \\
  -H "Authorization: Bearer $LOUPE_KEY\""""
    return Example(label="curl: generate", code=code)


def generate_with_python(url: str, model: str) -> Example:
    code = f"""# pip install "novita-client==0.7.1" "dataclass-wizard<1"
import os
from novita_client import NovitaClient

client = NovitaClient(os.environ["LOUPE_KEY"], {url!r})
result = client.txt2img_v3(
    model_name={model!r}, prompt={PROMPT!r},
    width=512, height=512, image_num=1, steps=20, guidance_scale=7.5,
    sampler_name="Euler a", download_images=False,
)
print(result.get_image_urls())  # approved images only"""
    return Example(label="Python: generate", code=code)


def classify_with_curl(url: str) -> Example:
    body = json.dumps({"imageDataUrl": SAMPLE_IMAGE})
    code = f"""curl -sS {shlex.quote(url)}/api/nsfw/image \\
  -H "x-api-key: $LOUPE_KEY" \\
  -H "Content-Type: application/json" \\
  -d {shlex.quote(body)}"""
    return Example(label="curl: classify", code=code)


def classify_with_python(url: str) -> Example:
    code = f"""import os
import httpx

picture = "{SAMPLE_IMAGE}"
answer = httpx.post(
    {url + "/api/nsfw/image"!r},
    headers={{"x-api-key": os.environ["LOUPE_KEY"]}},
    json={{"imageDataUrl": picture}},
)
print(answer.json())"""
    return Example(label="Python: classify", code=code)


def classify_with_javascript(url: str) -> Example:
    code = f"""// Node 18 or newer
const answer = await fetch({json.dumps(url + "/api/nsfw/image")}, {{
  method: "POST",
  headers: {{ "x-api-key": process.env.LOUPE_KEY, "Content-Type": "application/json" }},
  body: JSON.stringify({{ imageDataUrl: {json.dumps(SAMPLE_IMAGE)} }}),
}});
console.log(JSON.stringify(await answer.json()));"""
    return Example(label="JavaScript: classify", code=code)


def list_with_curl(url: str) -> Example:
    return Example(
        label="curl: list",
        code=f'curl -sS -u "$LOUPE_KEY:any" {shlex.quote(url + "/v1/assets?pageSize=20")}',
    )


def list_with_python(url: str) -> Example:
    code = f"""import os
import httpx

answer = httpx.get(
    {url + "/v1/assets"!r},
    auth=(os.environ["LOUPE_KEY"], "any"),
)
print([asset["id"] for asset in answer.json()["assets"]])"""
    return Example(label="Python: list", code=code)
