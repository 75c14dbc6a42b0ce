"""The application of bench/app.ts on Django. The store is in BENCH_STORE, as JSON."""

import json
import os
import time
from urllib.parse import urlparse

import django
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware

store = json.loads(os.environ["BENCH_STORE"])
kind = store["_tag"]
url = urlparse(store.get("url", ""))


class ExceptHello(SessionMiddleware):
    """Django middleware applies to all routes; this one skips the route that is measured without a session."""

    def __call__(self, request):
        return self.get_response(request) if request.path == "/hello" else super().__call__(request)


cache = (
    {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": store["url"]}
    if kind == "redis"
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}}
)
database = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": url.hostname,
    "PORT": url.port,
    "USER": url.username,
    "PASSWORD": url.password,
    "NAME": url.path.lstrip("/"),
    # A connection stays open, and so does its state on the server.
    "CONN_MAX_AGE": None,
}

settings.configure(
    SECRET_KEY="a secret of at least thirty-two bytes",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=[f"{__name__}.ExceptHello"],
    SESSION_ENGINE=f"django.contrib.sessions.backends.{'db' if kind == 'postgres' else 'cache'}",
    CACHES={"default": cache},
    DATABASES={"default": database} if kind == "postgres" else {},
    USE_TZ=True,
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

if kind == "postgres":
    call_command("migrate", verbosity=0)

data = json.loads(os.environ["BENCH_DATA"])


def text(value):
    return HttpResponse(str(value), content_type="text/plain")


def ok(request):
    return text("ok")


def read(request):
    return text(request.session.get("user", "none"))


def modify(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return text("ok")


def create(request):
    request.session.update(data)
    return text("ok")


def held(request):
    before = request.session.get("count", 0)
    # Another thread may go on, as during any call to a database.
    time.sleep(0)
    request.session["count"] = before + 1
    return text("ok")


def count(request):
    return text(request.session["count"] if "user" in request.session else "none")


def logout(request):
    request.session.destroy()
    return text("ok")


def usage(request):
    return text(round(time.process_time() * 1_000_000))


views = [read, modify, create, held, count, logout]
urlpatterns = [path("hello", ok), path("untouched", ok), path("usage", usage)] + [
    path(view.__name__, view) for view in views
]
application = get_wsgi_application()
