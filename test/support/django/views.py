"""The views: each has a JSON body, or none, and answers with JSON."""
import json
from datetime import datetime
from threading import Event, Lock

from django.contrib.auth import authenticate, get_user_model, login, logout
from django.http import JsonResponse
from django.urls import path


def text_of(data):
    """The JSON text of Python, which has numbers that JavaScript does not have."""
    return json.dumps(data, separators=(",", ":"))


def set_expiry(session, expiry):
    """`{"seconds": 60}`, `{"iso": "2026-…"}`, `{"browser": true}`, or `{}` for the setting."""
    if "iso" in expiry:
        session.set_expiry(datetime.fromisoformat(expiry["iso"]))
    else:
        session.set_expiry(0 if expiry.get("browser") else expiry.get("seconds"))


def view(function):
    """A view of a function of the request, its parsed body and the variables of its path."""

    def respond(request, **variables):
        answer = function(request, json.loads(request.body or b"{}"), **variables)
        return answer if isinstance(answer, JsonResponse) else JsonResponse(answer or {})

    return respond


def log_in(request, body):
    user = authenticate(request, username=body["username"], password=body["password"])
    if user is None:
        return JsonResponse({"error": "wrong user name or password"}, status=403)
    login(request, user)


def log_out(request, body):
    logout(request)


def me(request, body):
    # First the user: a wrong `_auth_user_hash` flushes the session.
    user = request.user.get_username() or None
    session = request.session
    return {
        "user": user,
        "data": text_of(dict(session.items())),
        "key": session.session_key,
        "expireAge": session.get_expiry_age(),
        "expireAtBrowserClose": session.get_expire_at_browser_close(),
    }


def set_members(request, body):
    """Sets each member of the body, which may have numbers and strings that JavaScript does not have."""
    for key, value in body.items():
        request.session[key] = value


def delete_member(request, body):
    request.session.pop(body["key"], None)


def flush(request, body):
    request.session.flush()


def cycle(request, body):
    request.session.cycle_key()


def expiry(request, body):
    set_expiry(request.session, body)


def password(request, body):
    """Changes the column only: the sessions of the user keep their hash of the old one."""
    user = get_user_model().objects.get(username=body["username"])
    user.set_password(body["password"])
    user.save(update_fields=["password"])


class Hold:
    def __init__(self):
        self.held = Event()
        self.released = Event()


holds = {}
lock = Lock()


def hold_of(name):
    with lock:
        return holds.setdefault(name, Hold())


def hold(request, body, name):
    """Loads the session, waits for the release, then changes the session that it loaded."""
    request.session.items()
    current = hold_of(name)
    current.held.set()
    current.released.wait()
    with lock:
        del holds[name]
    set_members(request, body)


def held(request, body, name):
    """Answers once the request is held."""
    hold_of(name).held.wait()


def release(request, body, name):
    hold_of(name).released.set()


def echo_cookie(request, body):
    return {"header": request.META.get("HTTP_COOKIE"), "cookies": request.COOKIES}


urlpatterns = [
    path("login", view(log_in)),
    path("logout", view(log_out)),
    path("me", view(me)),
    path("set", view(set_members)),
    path("raw", view(set_members)),
    path("delete", view(delete_member)),
    path("flush", view(flush)),
    path("cycle", view(cycle)),
    path("expiry", view(expiry)),
    path("password", view(password)),
    path("hold/<name>", view(hold)),
    path("held/<name>", view(held)),
    path("release/<name>", view(release)),
    path("echo-cookie", view(echo_cookie)),
]
