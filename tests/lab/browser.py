"""A browser on c1: the script that makes the requests of one session."""

URL = "https://crm.example"

# `call` makes requests of one session, as a browser would.
BROWSER = """
import base64, gzip, hashlib, http.cookiejar, json, ssl, sys, threading, time, urllib.request

given = json.loads(GIVEN)
tls = ssl.create_default_context(cadata=given["ca"])
cookies = http.cookiejar.CookieJar()
opener = urllib.request.build_opener(
    urllib.request.HTTPSHandler(context=tls), urllib.request.HTTPCookieProcessor(cookies)
)

def get(path, **headers):
    with opener.open(urllib.request.Request(given["url"] + path, headers=headers), timeout=90) as r:
        return r.status, {name.lower(): value for name, value in r.headers.items()}, r.read()

def call(path, **params):
    body = json.dumps({"jsonrpc": "2.0", "method": "call", "params": params}).encode()
    request = urllib.request.Request(
        given["url"] + path, body, {"Content-Type": "application/json"}
    )
    with opener.open(request, timeout=90) as answer:
        found = json.load(answer)
    if "error" in found:
        raise SystemExit(f"{path}: {found['error']}")
    return found.get("result")

def model(name, method, *args, **kwargs):
    return call(f"/web/dataset/call_kw/{name}/{method}?{given['mark']}", model=name, method=method,
                args=list(args), kwargs=kwargs)

def login():
    return call("/web/session/authenticate", db="crm", login="admin", password=given["password"])
"""
