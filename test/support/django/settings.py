"""Settings of the Django of the tests.

DATABASE_URL: `postgres://…`, `mysql://…` or `sqlite:<file>`. DJANGO_SETTINGS: a JSON object with any other settings, by Django's own names.
"""
import json
import os
from urllib.parse import unquote, urlsplit


def database(text):
    scheme, _, path = text.partition(":")
    if scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": path}
    url = urlsplit(text)
    place = {
        "NAME": url.path[1:],
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname,
        "PORT": str(url.port or ""),
    }
    if scheme == "mysql":
        return {"ENGINE": "django.db.backends.mysql", "OPTIONS": {"charset": "utf8mb4"}, **place}
    return {"ENGINE": "django.db.backends.postgresql", **place}


DATABASES = {"default": database(os.environ["DATABASE_URL"])} if "DATABASE_URL" in os.environ else {}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
# The fastest one: the passwords protect nothing.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "views"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
# Warnings and errors go to stderr.
LOGGING_CONFIG = None

globals().update(json.loads(os.environ.get("DJANGO_SETTINGS", "{}")))
