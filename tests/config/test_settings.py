"""Settings from the environment.

A wrong value stops the start with a message that says what to do.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from config import bootstrap
from config.bootstrap import prepare_data_dir

SETTINGS = Path(__file__).resolve().parent.parent.parent / "config" / "settings.py"
KEY = "only-for-tests-" + "k" * 40
Load = Callable[..., ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that loads the settings with only the given environment variables."""

    def read(**variables: str) -> ModuleType:
        for name in list(os.environ):
            if name.isupper() and name not in ("PATH", "HOME"):
                monkeypatch.delenv(name)
        for name, value in {"DATA_DIR": str(tmp_path), "SECRET_KEY": KEY, **variables}.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location("settings_under_test", SETTINGS)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return read


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"SECRET_KEY": ""}, "To try Loupe use `make run`"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY can be guessed: it needs 50 random characters."),
        ({"SECRET_KEY": "k" * 60}, "SECRET_KEY can be guessed"),
        ({"SECRET_KEY": "django-insecure-" + KEY}, "SECRET_KEY can be guessed"),
        ({"SECRET_KEY_FALLBACKS": f"{KEY},short"}, "SECRET_KEY_FALLBACKS can be guessed"),
        (
            {"TRUSTED_PROXIES": "10.0.0.0/8,proxy"},
            "TRUSTED_PROXIES contains 'proxy', which is not a network address.",
        ),
        ({"DEBUG": "maybe"}, "Write DEBUG=1 or DEBUG=0."),
        ({"ORIGINALS": "days:0"}, "Write never, until-decided, days:30 (1 to 9999) or forever."),
        ({"PORT": "eighty"}, "Write for example PORT=8000."),
        ({"PORT": "70000"}, "Choose a value from 1 to 65535."),
        ({"PORT": "80.5"}, "must be a whole number"),
        ({"PUBLIC_URL": "loupe.example.org"}, "Write for example PUBLIC_URL=https://example.org."),
        ({"PUBLIC_URL": "https://loupe.example.org/?x=1"}, "is not a URL"),
        ({"SANDBOX_LATENCY": "nan"}, "SANDBOX_LATENCY"),
        ({"SANDBOX_LATENCY": "-1"}, "Choose a value from 0 to 600."),
        (
            {"CLASSIFIERS": "local,crystal-ball"},
            "names 'crystal-ball', which does not exist. Choose from: local,",
        ),
        (
            {"CALLER_ALLOW": "10.0.0.5"},
            "Write host:port pairs, for example CALLER_ALLOW=10.0.0.5:9000.",
        ),
        (
            {"FETCH_ALLOW": "10.0.0.5"},
            "Write host:port pairs, for example FETCH_ALLOW=10.0.0.5:9000.",
        ),
        ({"SCENARIO_API_KEY": "x"}, "SCENARIO_API_KEY and SCENARIO_API_SECRET belong together"),
        ({"VLM_BASE_URL": "http://10.0.0.5:8000/v1"}, "VLM_BASE_URL is set, but VLM_MODEL is not."),
        ({"VLM_API_KEY": "k", "SANDBOX": "1"}, "VLM_API_KEY is set, but VLM_MODEL is not."),
        ({"VLM_INPUT_PRICE": "0.8"}, "VLM_INPUT_PRICE is set, but VLM_MODEL is not."),
        ({"VLM_MODEL": "m"}, "VLM_MODEL is set, but no server offers it."),
        ({"VLM_MODEL": "m", "SANDBOX": "1"}, "VLM_MODEL is set, but no server offers it."),
        (
            {"VLM_MODEL": "m", "VLM_API_KEY": "k", "NOVITA_API_KEY": "sk_1"},
            "VLM_API_KEY is set, but VLM_BASE_URL is not.",
        ),
        ({"VLM_MODEL": "m", "VLM_BASE_URL": "10.0.0.5:8000"}, "is not a URL"),
        ({"VLM_MODEL": "m", "VLM_OUTPUT_PRICE": "-1"}, "Choose a value from 0 to 10000."),
        ({"CLASSIFIERS": "vlm"}, "CLASSIFIERS names vlm, but VLM_MODEL is not set."),
        (
            {"CLASSIFIERS": "rekognition", "AWS_ACCESS_KEY_ID": "x"},
            "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set",
        ),
        (
            {"CLASSIFIERS": "rekognition", "AWS_SECRET_ACCESS_KEY": "x", "SANDBOX": "1"},
            "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set",
        ),
        (
            {"CLASSIFIERS": "rekognition", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"},
            "Write for example AWS_REGION=us-east-1.",
        ),
        (
            {
                "CLASSIFIERS": "rekognition",
                "AWS_ACCESS_KEY_ID": "x",
                "AWS_SECRET_ACCESS_KEY": "y",
                "AWS_REGION": "evil.com/",
            },
            "AWS_REGION must name the region",
        ),
        ({"CLASSIFIERS": "rekognition"}, "AWS_SECRET_ACCESS_KEY are not set"),
        ({"CLASSIFIERS": "openai"}, "OPENAI_API_KEY is not set"),
        ({"CLASSIFIERS": "hma"}, "HMA_BASE_URL is not set"),
        ({"HMA_BASE_URL": "hma"}, "HMA_BASE_URL"),
        (
            {"CLASSIFIERS": "vision"},
            "CLASSIFIERS names vision, but no image-text model is installed",
        ),
        ({"ENCODER": "vision"}, "ENCODER names vision, but no image-text model is installed"),
        ({"VISION_MODEL": "clip"}, "'clip' is not installed. Installed models: none."),
        ({"OPENAI_BASE_URL": "openai"}, "OPENAI_BASE_URL"),
        ({"REKOGNITION_IMAGE_PRICE": "free"}, "REKOGNITION_IMAGE_PRICE"),
        ({"DATABASE_URL": "oracle"}, "DATABASE_URL"),
        ({"REDIS_URL": "localhost"}, "REDIS_URL"),
        ({"SAML_METADATA": "idp.xml"}, "neither an https address nor the absolute path of a file"),
        ({"SAML_METADATA": "https://"}, "SAML_METADATA='https://' is not a URL."),
        (
            {"SAML_METADATA": "http://id.example/idp", "PUBLIC_URL": "https://loupe.example"},
            "SAML_METADATA must be an https address or a file",
        ),
        (
            {
                "SAML_METADATA": "https://id.example/idp",
                "OIDC_ISSUER": "https://id.example",
                "OIDC_CLIENT_ID": "loupe",
                "OIDC_CLIENT_SECRET": "s" * 32,
            },
            "Choose one way of single sign-on.",
        ),
        ({"PASSWORD_LOGIN": "0"}, "or SAML_METADATA, or nobody can log in."),
    ],
)
def test_wrong_setting_is_refused_with_a_message(
    load: Load, variables: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        load(**variables)
    assert sentence in str(refusal.value)


def test_settings_without_debug_and_keys_have_no_provider_and_no_sandbox(load: Load) -> None:
    settings = load()

    assert not settings.DEBUG
    assert not settings.SANDBOX
    assert settings.IMAGE_PROVIDERS == {}
    assert "sandbox" not in settings.CLASSIFIERS
    assert settings.FETCH_ALLOW == settings.CALLER_ALLOW == []


def test_debug_uses_the_sandbox_until_a_provider_key_is_set(load: Load) -> None:
    tried = load(DEBUG="1", PORT="8123")
    assert list(tried.IMAGE_PROVIDERS) == ["novita-sandbox"]
    assert (
        tried.IMAGE_PROVIDERS["novita-sandbox"]["OPTIONS"]["base_url"]
        == "http://127.0.0.1:8123/sandbox/novita"
    )
    assert tried.FETCH_ALLOW == ["127.0.0.1:8123"]
    assert tried.CALLER_ALLOW == []

    real = load(DEBUG="1", NOVITA_API_KEY="sk_1")
    assert list(real.IMAGE_PROVIDERS) == ["novita"]
    assert real.IMAGE_PROVIDERS["novita"]["OPTIONS"]["base_url"] == "https://api.novita.ai"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"VLM_BASE_URL": "http://10.0.0.5:8000/v1/"},
            ("", "http://10.0.0.5:8000/v1", "Vision model (10.0.0.5:8000)"),
        ),
        (
            {
                "VLM_BASE_URL": "https://user:pass@vlm.example/v1",
                "VLM_API_KEY": "k",
                "NOVITA_API_KEY": "sk_1",
            },
            ("k", "https://user:pass@vlm.example/v1", "Vision model (vlm.example)"),
        ),
        (
            {"NOVITA_API_KEY": "sk_1", "NANOGPT_API_KEY": "k"},
            ("sk_1", "https://api.novita.ai/openai/v1", "Vision model (Novita)"),
        ),
        (
            {"NANOGPT_API_KEY": "k", "NANOGPT_BASE_URL": "https://proxy.example"},
            ("k", "https://proxy.example/api/v1", "Vision model (nano-gpt)"),
        ),
    ],
)
def test_vision_model_is_at_its_own_server_then_novita_then_nanogpt(
    load: Load, variables: dict[str, str], expected: tuple[str, str, str]
) -> None:
    settings = load(VLM_MODEL="qwen", SANDBOX="1", VLM_INPUT_PRICE="0.8", **variables)
    api_key, base_url, label = expected
    found = settings.VLM
    assert found == {
        "api_key": api_key,
        "base_url": base_url,
        "label": label,
        "model": "qwen",
        "input_price": Decimal("0.8"),
        "output_price": Decimal(0),
    }
    assert "vlm" in settings.CLASSIFIERS


def test_vision_model_of_the_sandbox_runs_only_if_it_is_named(load: Load) -> None:
    assert load().VLM is None
    tried = load(DEBUG="1")
    assert tried.VLM["base_url"] == "http://127.0.0.1:8000/sandbox/vlm/v1"
    assert "vlm" not in tried.CLASSIFIERS
    assert "vlm" in load(DEBUG="1", CLASSIFIERS="sandbox,vlm").CLASSIFIERS


def test_remote_classifiers_of_the_sandbox_run_only_if_named(load: Load) -> None:
    tried = load(DEBUG="1", PORT="8123")
    assert {"rekognition", "openai", "hma"}.isdisjoint(tried.CLASSIFIERS)
    simulated = load(DEBUG="1", PORT="8123", CLASSIFIERS="rekognition,openai,hma")
    assert {"rekognition", "openai", "hma"} <= set(simulated.CLASSIFIERS)
    assert simulated.HMA["base_url"] == "http://127.0.0.1:8123/sandbox/hma"
    assert simulated.REKOGNITION["base_url"] == "http://127.0.0.1:8123/sandbox/rekognition"
    assert simulated.OPENAI["base_url"] == "http://127.0.0.1:8123/sandbox/openai/v1"

    aws = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "eu-west-1"}
    assert "hma" in load(HMA_BASE_URL="https://hma.example/").CLASSIFIERS
    keys = {**aws, "OPENAI_API_KEY": "sk-1", "HMA_BASE_URL": "https://hma.example/"}
    real = load(CLASSIFIERS="rekognition,openai,hma", HMA_BANKS="A,B", **keys)
    assert (real.HMA["base_url"], real.HMA["api_key"]) == ("https://hma.example", "")
    assert real.HMA_BANKS == ["A", "B"]
    assert real.REKOGNITION["base_url"] == "https://rekognition.eu-west-1.amazonaws.com"
    assert real.OPENAI["base_url"] == "https://api.openai.com/v1"
    proxy = "https://proxy.example/aws/"
    other = load(CLASSIFIERS="rekognition", REKOGNITION_BASE_URL=proxy, **aws)
    assert other.REKOGNITION["base_url"] == "https://proxy.example/aws"


@pytest.mark.parametrize(
    "keys",
    [
        {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "eu-west-1"},
        {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"},
        {"AWS_SESSION_TOKEN": "z", "AWS_ACCESS_KEY_ID": "x"},
        {"OPENAI_API_KEY": "sk-1"},
    ],
)
def test_keys_of_other_programs_send_no_image_anywhere(load: Load, keys: dict[str, str]) -> None:
    settings = load(**keys)
    assert {"rekognition", "openai"}.isdisjoint(settings.CLASSIFIERS)
    # Nor are the images sent that were queued before CLASSIFIERS changed.
    assert settings.REKOGNITION is None
    assert settings.OPENAI is None


@pytest.mark.parametrize("named", ["opennsfw", "novita,opennsfw", ""])
def test_known_images_are_looked_up_in_every_line_up(load: Load, named: str) -> None:
    assert load(CLASSIFIERS=named).CLASSIFIERS.count("hashes") == 1
    assert load(CLASSIFIERS="hashes,opennsfw").CLASSIFIERS == ["hashes", "opennsfw"]


def test_https_public_url_turns_on_secure_cookies_and_hsts(load: Load) -> None:
    settings = load(PUBLIC_URL="https://loupe.example.org")

    assert settings.SESSION_COOKIE_SECURE
    assert settings.CSRF_COOKIE_SECURE
    assert settings.SESSION_COOKIE_NAME.startswith("__Host-")
    assert settings.SECURE_HSTS_SECONDS
    assert not settings.SECURE_HSTS_INCLUDE_SUBDOMAINS
    assert not settings.SECURE_HSTS_PRELOAD
    assert settings.ALLOWED_HOSTS[0] == "loupe.example.org"


def test_hsts_covers_subdomains_only_when_requested(load: Load) -> None:
    settings = load(PUBLIC_URL="https://loupe.example.org", HSTS_SUBDOMAINS="1", HSTS_PRELOAD="1")

    assert settings.SECURE_HSTS_INCLUDE_SUBDOMAINS
    assert settings.SECURE_HSTS_PRELOAD
    assert not load(HSTS_SUBDOMAINS="1").SECURE_HSTS_INCLUDE_SUBDOMAINS, (
        "there is no HSTS over http"
    )


def test_secret_key_generated_by_make_run_is_accepted(load: Load, tmp_path: Path) -> None:
    made = dict(
        line.split("=", 1)
        for line in prepare_data_dir(tmp_path).read_text().splitlines()
        if line[0] != "#"
    )

    assert made["SECRET_KEY"] == load(SECRET_KEY=made["SECRET_KEY"]).SECRET_KEY


def test_database_pooler_disables_prepared_statements_and_server_side_cursors(load: Load) -> None:
    address = "postgres://loupe@db.example.org/loupe?sslmode=require"
    direct = load(DATABASE_URL=address).DATABASES["default"]
    pooled = load(DATABASE_URL=address, DATABASE_POOLER="1").DATABASES["default"]

    assert direct["OPTIONS"] == {"sslmode": "require", "prepare_threshold": 5, "connect_timeout": 5}
    assert not direct["DISABLE_SERVER_SIDE_CURSORS"]
    assert pooled["OPTIONS"] == {"sslmode": "require", "connect_timeout": 5}
    assert pooled["DISABLE_SERVER_SIDE_CURSORS"]


def test_environment_overrides_settings_env(load: Load, tmp_path: Path) -> None:
    (tmp_path / "settings.env").write_text("# choices\n\nDEBUG=1\nSANDBOX_LATENCY=3\n")

    settings = load(SANDBOX_LATENCY="7")

    assert settings.DEBUG
    assert settings.SANDBOX_LATENCY == 7

    (tmp_path / "settings.env").write_text("DEBUG\n")
    with pytest.raises(ImproperlyConfigured, match="line 1: write NAME=value"):
        load()


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"DEBUG": "maybe"},
            "Loupe cannot start: DEBUG='maybe' is neither yes nor no. Write DEBUG=1 or DEBUG=0.",
        ),
        ({"SECRET_KEY": ""}, "Loupe cannot start: SECRET_KEY is empty."),
    ],
)
def test_commands_end_with_the_message_and_no_traceback(
    variables: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    env = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "SECRET_KEY": KEY, **variables}
    ended = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=SETTINGS.parent.parent,
        env=env,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith(sentence)
    assert "Traceback" not in ended.stderr


def test_unknown_url_shows_the_own_404_page_even_with_debug(tmp_path: Path) -> None:
    ask = (
        "import django; django.setup(); from django.test import Client; "
        "r = Client().get('/nowhere/at-all'); print(r.status_code); "
        "print(r.headers['Content-Security-Policy']); "
        "print(r.content.decode())"
    )
    env = {
        **os.environ,
        "DATA_DIR": str(tmp_path),
        "DEBUG": "1",
        "SECRET_KEY": KEY,
        "DATABASE_URL": "",
    }
    env |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "REDIS_URL": "",
        "ALLOWED_HOSTS": "testserver",
    }

    shown = subprocess.run(
        [sys.executable, "-c", ask],
        env=env,
        cwd=SETTINGS.parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stdout.startswith("404\n")
    assert "style-src 'self'" in shown.stdout  # else browsers block the page's stylesheets
    assert "<title>Page not found · Loupe</title>" in shown.stdout
    assert "urlpatterns" not in shown.stdout
    assert "DEBUG = True" not in shown.stdout


def test_bootstrap_and_settings_use_the_same_base_folder() -> None:
    assert bootstrap.BASE_DIR == settings.BASE_DIR


def test_installed_image_text_model_is_used(load: Load, tmp_path: Path) -> None:
    assert load().VISION_MODEL == ""
    for name in ("b", "a", ".part"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.json").write_text("{}")

    found = load()
    assert (found.VISION_MODEL, found.ENCODER) == ("a", "vision")
    assert "vision" in found.CLASSIFIERS
    assert load(VISION_MODEL="b").VISION_MODEL == "b"
    other = load(ENCODER="efficientnet-lite0", CLASSIFIERS="opennsfw")
    assert (other.ENCODER, other.CLASSIFIERS) == ("efficientnet-lite0", ["opennsfw", "hashes"])


def test_command_that_installs_a_model_starts_without_it(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "model", "fetch", "clip"])
    found = load(VISION_MODEL="clip")
    assert "vision" not in found.CLASSIFIERS
    assert found.ENCODER == "efficientnet-lite0"


def test_model_without_its_package_is_not_used(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "a").mkdir(parents=True)
    (tmp_path / "models" / "a" / "model.json").write_text("{}")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tokenizers" else find_spec(name)
    )

    assert "vision" not in load().CLASSIFIERS
    with pytest.raises(ImproperlyConfigured, match="pip install 'tokenizers"):
        load(CLASSIFIERS="vision")


# --- The bucket ---
BUCKET = {
    "S3_BUCKET": "loupe-images",
    "S3_REGION": "eu-west-1",
    "S3_ACCESS_KEY_ID": "key",
    "S3_SECRET_ACCESS_KEY": "secret",
}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"S3_BUCKET": ""}, r"S3_\w+ is set, but S3_BUCKET is not\."),
        ({"S3_BUCKET": "a b"}, "is not the name of a bucket"),
        ({"S3_REGION": ""}, r"not where it is\. Set S3_REGION"),
        ({"S3_REGION": "eu/west"}, "is not a region"),
        ({"S3_SECRET_ACCESS_KEY": ""}, "belong together"),
        ({"S3_PREFIX": "../other"}, "letters, digits"),
        ({"S3_ADDRESSING_STYLE": "dns"}, "Choose from: path, virtual"),
        ({"S3_ENCRYPTION": "yes"}, "Choose from: AES256, aws:kms"),
        ({"S3_KMS_KEY_ID": "x"}, "needs S3_ENCRYPTION=aws:kms"),
        ({"S3_MOVE": "yes"}, "Choose from: from-disk, to-disk"),
        ({"ASSET_DELIVERY": "cdn"}, "Choose from: proxy, redirect, x-accel"),
    ],
)
def test_wrong_bucket_setting_says_what_to_do(
    load: Load, changed: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=sentence):
        load(**{**BUCKET, **changed})


def test_redirects_need_a_bucket(load: Load) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"needs a bucket\. Set S3_BUCKET"):
        load(ASSET_DELIVERY="redirect")


def test_missing_packages_are_not_named_as_something_to_install(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "boto3" else real(name, *rest),
    )
    with pytest.raises(ImproperlyConfigured, match=r"requirements-production\.txt"):
        load(**BUCKET)


def test_saml_names_its_missing_packages(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "onelogin" else real(name, *rest),
    )
    assert load().SSO == {}
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'django-allauth\[saml\]'"):
        load(SAML_METADATA="https://id.example/idp?app=loupe")


@pytest.mark.parametrize(
    ("changed", "origin"),
    [
        ({}, "https://loupe-images.s3.eu-west-1.amazonaws.com"),
        ({"S3_BUCKET": "images.example.org"}, "https://s3.eu-west-1.amazonaws.com"),
        ({"S3_ENDPOINT_URL": "http://minio:9000"}, "http://minio:9000"),
        (
            {"S3_ENDPOINT_URL": "http://minio", "S3_PUBLIC_ENDPOINT_URL": "https://img.example"},
            "https://img.example",
        ),
    ],
)
def test_pages_allow_images_of_the_bucket_only_with_redirects(
    load: Load, changed: dict[str, str], origin: str
) -> None:
    def find_sources(**more: str) -> list[str]:
        found = load(**{**BUCKET, **changed, **more})
        sources: list[str] = found.CONTENT_SECURITY_POLICY["DIRECTIVES"]["img-src"]
        return sources

    assert origin in find_sources(ASSET_DELIVERY="redirect")
    assert find_sources() == ["'self'", "data:"]


@pytest.mark.parametrize(
    ("move", "source", "target"),
    [("from-disk", "Durable", "Bucket"), ("to-disk", "Bucket", "Durable")],
)
def test_move_names_both_storages(load: Load, move: str, source: str, target: str) -> None:
    entry = load(**BUCKET, S3_MOVE=move).STORAGES["assets"]

    assert entry["BACKEND"].endswith("MovingStorage")
    for side, name in (("source", source), ("target", target)):
        assert f".{name}" in entry["OPTIONS"][side]["BACKEND"]
