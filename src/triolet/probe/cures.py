"""What to change in which proxy. The lines for nginx, haproxy and Caddy are those of the files in
``docs/how-to/serving``, which the end-to-end tests run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from .findings import Fault

__all__ = ["CURES", "PROXIES", "Cure", "proxy_of"]

PROXIES: Final = ("nginx", "haproxy", "caddy", "apache", "aws", "google", "cloudflare")
"""The proxies whose settings are known here: ``aws`` is its Application Load Balancer."""


class Cure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to change in a proxy.

    Attributes:
        write: lines to have in its configuration, or commands; each takes the place of one of the same setting.
        remove: what not to have: how such a line begins, or the words to take out of one.
        note: what no line says.
    """

    write: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    note: str = ""


_NGINX_UPGRADE: Final = (
    "proxy_http_version 1.1;",
    "proxy_set_header Upgrade $http_upgrade;",
    "proxy_set_header Connection $connection_to_triolet;",
)
_UPGRADE_NOTE: Final = (
    "before the server block: map $http_upgrade $connection_to_triolet { default upgrade; '' ''; }"  # as in nginx.conf
)
_ALB_IDLE: Final = (
    "aws elbv2 modify-load-balancer-attributes --load-balancer-arn ARN "
    "--attributes Key=idle_timeout.timeout_seconds,Value=60"
)
_APACHE_PASS: Final = 'ProxyPass "/" "http://127.0.0.1:8000/" upgrade=websocket flushpackets=on timeout=60'

_TO_THE_SERVER: Final = "triolet serve … --forwarded-allow-ips with the proxy's address, or Triolet(origins=[…])"

CURES: Final[Mapping[Fault, Mapping[str, Cure]]] = {
    "upgrade": {
        "nginx": Cure(_NGINX_UPGRADE, note=_UPGRADE_NOTE),
        "haproxy": Cure(
            remove=("http-request del-header Upgrade", "http-request del-header Connection"),
            note="haproxy passes upgrades on by itself",
        ),
        "caddy": Cure(
            remove=("header_up -Upgrade", "header_up -Connection"), note="Caddy passes upgrades on by itself"
        ),
        "apache": Cure((_APACHE_PASS,), note="Apache 2.4.47 or newer, with mod_proxy_http"),
        "aws": Cure(note="an Application Load Balancer passes upgrades on; a rule or a firewall (WAF) refuses them"),
        "google": Cure(note="its HTTP balancer passes upgrades on; a rule (Cloud Armor) refuses them"),
        "cloudflare": Cure(note="switch on Network > WebSockets"),
    },
    "http/1.0": {
        "nginx": Cure(_NGINX_UPGRADE, note=_UPGRADE_NOTE),
        "apache": Cure(remove=("SetEnv force-proxy-request-1.0", "SetEnv downgrade-1.0")),
        "caddy": Cure(note="Caddy speaks HTTP/1.1 by itself: look at what stands behind it"),
        "haproxy": Cure(note="haproxy speaks HTTP/1.1 by itself: look at what stands behind it"),
    },
    "buffering": {
        "nginx": Cure(("proxy_buffering off;", "proxy_http_version 1.1;"), ("proxy_ignore_headers X-Accel-Buffering",)),
        "haproxy": Cure(note="haproxy buffers no answers: look at what else stands on the way"),
        "caddy": Cure(("flush_interval -1",), ("response_buffers",)),
        "apache": Cure((_APACHE_PASS,)),
        "aws": Cure(note="an Application Load Balancer buffers no streams; API Gateway and Lambda do: go around them"),
        "google": Cure(note="its HTTP balancer buffers no streams; look at what stands behind it"),
        "cloudflare": Cure(note="it heeds Cache-Control: no-transform, which a proxy before it must have taken off"),
    },
    "compression": {
        "nginx": Cure(remove=("gzip_types text/event-stream", "brotli_types text/event-stream")),
        "haproxy": Cure(remove=("compression type text/event-stream",)),
        "caddy": Cure(note="name in encode { match { header Content-Type … } } what to compress, event streams not"),
        "apache": Cure(remove=("AddOutputFilterByType DEFLATE text/event-stream", "SetOutputFilter DEFLATE")),
        "cloudflare": Cure(note="a compression rule for text/event-stream: switch it off"),
    },
    "idle": {
        "nginx": Cure(("proxy_read_timeout 60s;",)),
        "haproxy": Cure(("timeout client 60s", "timeout server 60s", "timeout tunnel 60s")),
        "caddy": Cure(remove=("read_timeout", "write_timeout", "stream_timeout")),
        "apache": Cure((_APACHE_PASS,)),
        "aws": Cure((_ALB_IDLE,)),
        "google": Cure(("gcloud compute backend-services update NAME --global --timeout=86400",)),
        "cloudflare": Cure(note="it waits for 100 s: what cuts sooner stands behind it"),
    },
    "cache": {
        "nginx": Cure(remove=("proxy_cache", "proxy_cache_valid", "proxy_ignore_headers Cache-Control")),
        "haproxy": Cure(remove=("http-request cache-use", "http-response cache-store")),
        "caddy": Cure(remove=("cache",)),
        "apache": Cure(('CacheDisable "/"',), ("CacheIgnoreCacheControl", "CacheStoreNoStore")),
        "google": Cure(("gcloud compute backend-services update NAME --global --cache-mode=USE_ORIGIN_HEADERS",)),
        "cloudflare": Cure(note="a cache rule for these URLs: bypass the cache"),
    },
    "last-event-id": {
        "nginx": Cure(remove=("proxy_set_header Last-Event-ID", "proxy_pass_request_headers")),
        "haproxy": Cure(remove=("http-request del-header Last-Event-ID",)),
        "caddy": Cure(remove=("header_up -Last-Event-ID",)),
        "apache": Cure(remove=("RequestHeader unset Last-Event-ID",)),
        "cloudflare": Cure(note="a transform rule for request headers that takes Last-Event-ID off"),
    },
    "origin": {
        "nginx": Cure(
            (
                "proxy_set_header Host $http_host;",
                "proxy_set_header X-Forwarded-Proto $scheme;",
                "proxy_set_header X-Forwarded-Host $http_host;",
            ),
            note=_TO_THE_SERVER,
        ),
        "haproxy": Cure(
            (
                "http-request set-header X-Forwarded-Proto https if { ssl_fc }",
                "http-request set-header X-Forwarded-Proto http unless { ssl_fc }",
                "http-request set-header X-Forwarded-Host %[req.hdr(host)]",
            ),
            ("http-request set-header Host",),
            _TO_THE_SERVER,
        ),
        "caddy": Cure(remove=("header_up Host",), note=_TO_THE_SERVER),
        "apache": Cure(
            ("ProxyPreserveHost On", 'RequestHeader set X-Forwarded-Proto "expr=%{REQUEST_SCHEME}"'),
            note=_TO_THE_SERVER,
        ),
        "aws": Cure(note=_TO_THE_SERVER),
        "google": Cure(note=_TO_THE_SERVER),
        "cloudflare": Cure(note=_TO_THE_SERVER),
    },
    "cors": {
        "nginx": Cure(remove=("proxy_hide_header Access-Control-", 'proxy_set_header Origin ""')),
        "haproxy": Cure(
            remove=("http-response del-header Access-Control-", "http-request del-header Origin"),
        ),
        "caddy": Cure(remove=("header_down -Access-Control-", "header_up -Origin")),
        "apache": Cure(remove=("Header unset Access-Control-", "RequestHeader unset Origin")),
        "cloudflare": Cure(note="a transform rule for response headers that takes Access-Control-… off"),
    },
}
"""By fault and proxy. What stands in none of them is not the proxy's: the app's list of origins, or a refusal."""

_NAMED: Final = (
    ("cf-ray", "", "cloudflare"),
    ("server", "cloudflare", "cloudflare"),
    ("server", "awselb", "aws"),
    ("via", "google", "google"),
    ("via", "caddy", "caddy"),
    ("server", "caddy", "caddy"),
    ("server", "nginx", "nginx"),
    ("server", "openresty", "nginx"),
    ("server", "apache", "apache"),
)
"""What a header of an answer says of the proxy that stands last."""


def proxy_of(headers: Mapping[str, str]) -> str | None:
    """The proxy that an answer's headers name, the one next to the client; None: none that is known here.

    Args:
        headers: by name in lower case.
    """
    for header, word, proxy in _NAMED:
        if header in headers and word in headers[header].lower():
            return proxy
    return None
