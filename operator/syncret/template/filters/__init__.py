"""The filters and tests that a template may use: these and no others.

All are pure: they see what they are given, and neither network, files, environment, clock nor
chance. docs/templates.md is their reference, and a test holds the two together.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2 import filters as jinja
from jinja2 import tests as jinja_tests

from syncret.template.filters import certificates, data, digests, jks, text

#: Jinja's own. Left out: what draws lots, what is for HTML, what leads to attributes.
_JINJA: Final = frozenset(
    {
        *("abs", "batch", "capitalize", "count", "dictsort", "first", "float", "format", "groupby"),
        *("int", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr"),
        *("reverse", "round", "select", "selectattr", "slice", "sort", "string", "sum", "title"),
        *("truncate", "unique", "upper", "wordcount", "wordwrap"),
    }
)

FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: jinja.FILTERS[name] for name in _JINJA},
    "b64decode": text.b64decode,
    "b64encode": text.b64encode,
    "bcrypt": digests.bcrypt,
    "bool": text.to_bool,
    "center": text.center,
    "cert_chain": certificates.cert_chain,
    "cert_info": certificates.cert_info,
    "cert_sans": certificates.cert_sans,
    "combine": data.combine,
    "d": text.default,
    "date_add": digests.date_add,
    "date_format": digests.date_format,
    "default": text.default,
    "dict2items": data.dict2items,
    "difference": data.difference,
    "flatten": data.flatten,
    "from_json": data.from_json,
    "from_yaml": data.from_yaml,
    "from_yaml_all": data.from_yaml_all,
    "hash": digests.hash_,
    "hex_decode": text.hex_decode,
    "hex_encode": text.hex_encode,
    "hmac": digests.hmac,
    "htpasswd": digests.htpasswd,
    "indent": text.indent,
    "intersect": data.intersect,
    "items": data.items,
    "items2dict": data.items2dict,
    "jks_certs": jks.jks_certs,
    "jks_key": jks.jks_key,
    "join": text.join,
    "jwk_private_pem": certificates.jwk_private_pem,
    "jwk_public_pem": certificates.jwk_public_pem,
    "keys": data.keys,
    "mandatory": text.mandatory,
    "md5": digests.digest_filter("md5"),
    "nindent": text.nindent,
    "omit": data.omit,
    "pem_filter": certificates.pem_filter,
    "pick": data.pick,
    "pkcs12_certs": certificates.pkcs12_certs,
    "pkcs12_key": certificates.pkcs12_key,
    "quote": text.quote,
    "regex_escape": text.regex_escape,
    "regex_findall": text.regex_findall,
    "regex_replace": text.regex_replace,
    "regex_search": text.regex_search,
    "replace": text.replace,
    "rsa_decrypt": certificates.rsa_decrypt,
    "sha1": digests.digest_filter("sha1"),
    "sha256": digests.digest_filter("sha256"),
    "sha384": digests.digest_filter("sha384"),
    "sha512": digests.digest_filter("sha512"),
    "split": text.split,
    "splitlines": text.splitlines,
    "ternary": text.ternary,
    "to_epoch": digests.to_epoch,
    "to_jks": jks.to_jks,
    "to_jks_truststore": jks.to_jks_truststore,
    "to_json": data.to_json,
    "to_nice_json": data.to_nice_json,
    "to_nice_yaml": data.to_nice_yaml,
    "to_pkcs12": certificates.to_pkcs12,
    "to_pkcs12_truststore": certificates.to_pkcs12_truststore,
    "to_yaml": data.to_yaml,
    "tojson": data.to_json,
    "trim": text.trim,
    "union": data.union,
    "urldecode": text.urldecode,
    "urlencode": text.urlencode,
    "values": data.values,
    "xml_escape": text.xml_escape,
    "zip": data.zip_lists,
}

_JINJA_TESTS: Final[dict[str, Any]] = {**jinja_tests.TESTS}

TESTS: Final[Mapping[str, Callable[..., Any]]] = {
    **_JINJA_TESTS,
    "match": text.is_match,
    "regex": text.is_search,
    "search": text.is_search,
}
