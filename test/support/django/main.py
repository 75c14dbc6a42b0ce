"""Runs Django for the tests: `main.py migrate`, `main.py serve` or `main.py worker`. Each ends when its input is closed.

migrate: makes the tables and the user `ada`, and prints `{}`.
serve: prints `{"port": …}` and serves the views on that port.
worker: answers each line of its input, a JSON object, with a line.
"""
import json
import os
import sys
from importlib import import_module
from socketserver import ThreadingMixIn
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application

import codec
from views import set_expiry, text_of

try:
    from django.core.signing import b62_encode
except ImportError:
    # Before Django 4.0.
    from django.utils.baseconv import base62

    b62_encode = base62.encode


def print_line(answer):
    print(json.dumps(answer), flush=True)


def exit_with_input():
    while os.read(0, 4096):
        pass
    os._exit(0)


def migrate():
    call_command("migrate", verbosity=0, interactive=False)
    get_user_model().objects.create_user("ada", password="lovelace")
    print_line({})


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


def serve():
    server = Server(("127.0.0.1", 0), Handler)
    server.set_app(get_wsgi_application())
    print_line({"port": server.server_port})
    server.serve_forever()


def session_of(backend, key=None):
    return import_module("django.contrib.sessions.backends." + backend).SessionStore(key)


def save(backend, text, key=None, expiry=None):
    """Sets the members in the session, or in a new one, and returns its key: with `signed_cookies` the value of the cookie."""
    session = session_of(backend, key)
    session.update(json.loads(text))
    if expiry is not None:
        set_expiry(session, expiry)
    session.save()
    return session.session_key


def load(backend, key):
    """The JSON text of the session, or None if there is no such session."""
    session = session_of(backend, key)
    data = session.load()
    return None if session.session_key is None else text_of(data)


operations = {
    "encode": lambda text: session_of("db").encode(json.loads(text)),
    "decode": lambda data: text_of(session_of("db").decode(data)),
    "save": save,
    "load": load,
    "authHash": lambda password: get_user_model()(password=password).get_session_auth_hash(),
    "base62": lambda text: b62_encode(int(text)),
    **codec.operations,
}


def worker():
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            print_line({"result": operations[request["operation"]](*request["arguments"])})
        except Exception as error:
            print_line({"error": f"{type(error).__name__}: {error}"})


command = sys.argv[1]
if command != "worker":
    Thread(target=exit_with_input, daemon=True).start()
{"migrate": migrate, "serve": serve, "worker": worker}[command]()
