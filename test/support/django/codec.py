"""Functions of Django and of Python that the tests of the formats compare with. JSON and dates are texts."""
import json
import pickle
import zlib
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from django.contrib.sessions.backends.db import SessionStore
from django.core import signing

from views import text_of

epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Pickles:
    """Django's PickleSerializer, which Django 5.0 has removed."""

    dumps = staticmethod(pickle.dumps)


def sign(value, key, salt):
    """Signs any text. A valid one ends with a timestamp."""
    return signing.Signer(key, salt=salt).sign(value)


def dumps(text, key, salt, compress):
    return signing.dumps(json.loads(text), key=key, salt=salt, compress=compress)


def loads(texts, key, salt):
    """The JSON text of each signed text, or None if Django rejects it."""
    return [load(text, key, salt) for text in texts]


def load(text, key, salt):
    try:
        return text_of(signing.loads(text, key=key, salt=salt))
    except Exception:
        return None


def base62_decode(text):
    try:
        return signing.b62_decode(text)
    except AttributeError:
        # Before Django 4.0.
        from django.utils.baseconv import base62

        return base62.decode(text)


def pickled(text):
    return signing.dumps(json.loads(text), salt=SessionStore().key_salt, serializer=Pickles, compress=True)


def same(a, b):
    """Whether Python takes two JSON texts for equal values in the same order. NaN equals NaN."""
    return shape(json.loads(a)) == shape(json.loads(b))


def shape(value):
    if isinstance(value, dict):
        return "dict", [(name, shape(member)) for name, member in value.items()]
    if isinstance(value, list):
        return "list", [shape(member) for member in value]
    return "nan" if value != value else (isinstance(value, bool), value)


def inflated(size):
    """Signed data that inflates to a JSON text of this size."""
    text = '{"a":"' + "a" * (size - 8) + '"}'
    return signed_payload("." + signing.b64_encode(zlib.compress(text.encode())).decode())


def signed_payload(payload):
    return signing.TimestampSigner(salt=SessionStore().key_salt).sign(payload)


def expiry(text, now):
    """What Django computes from `_session_expiry` at a moment. Dates as Django 4.1 and later read them."""
    session = SessionStore()
    session.update(json.loads(text))
    value = session.get("_session_expiry")
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    moment = epoch + timedelta(milliseconds=now)
    if isinstance(value, datetime) and value.tzinfo is None:
        moment = moment.replace(tzinfo=None)
    end = session.get_expiry_date(modification=moment, expiry=value)
    return {
        "end": str(end),
        "age": session.get_expiry_age(modification=moment, expiry=value),
        "isBrowser": session.get_expire_at_browser_close(),
    }


def moments(texts, zone):
    """Parses dates, of which those without an offset are in the zone, to milliseconds since the epoch."""
    found = []
    for text in texts:
        try:
            date = datetime.fromisoformat(text)
            date = date if date.tzinfo else date.replace(tzinfo=ZoneInfo(zone))
            found.append((date - epoch) // timedelta(milliseconds=1))
        except ValueError:
            found.append(None)
    return found


def local_texts(moments, zone):
    """Formats moments in the zone, without an offset."""
    return [
        (epoch + timedelta(milliseconds=at)).astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat(" ", "microseconds")
        for at in moments
    ]


operations = {
    "sign": sign,
    "dumps": dumps,
    "loads": loads,
    "base62Decode": base62_decode,
    "pickled": pickled,
    "same": same,
    "inflated": inflated,
    "signedPayload": signed_payload,
    "expiry": expiry,
    "moments": moments,
    "localTexts": local_texts,
}
