"""Formats of strings: which are enforced, and what the engine's grammar does not know of them.

Knows no schema. The patterns here are intersected with what the engine's library has for the format: its dates have a
29th of February in every year and leap seconds in every minute, its hostnames any Punycode.
"""

# Formats that JSON Schema defines; any other says nothing that could be held.
FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
UNENFORCED_FORMATS = (
    *("regex", "json-pointer", "relative-json-pointer", "uri-reference", "uri-template"),
    *("iri", "iri-reference", "idn-email", "idn-hostname"),
)

_LEAP_YEAR = "([02468][048]|[13579][26])00|[0-9]{2}(0[48]|[2468][048]|[13579][26])"
_DAYS = (
    "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])",
    "(0[469]|11)-(0[1-9]|[12][0-9]|30)",
    "02-(0[1-9]|1[0-9]|2[0-8])",
)
_DATE = f"([0-9]{{4}}-({'|'.join(_DAYS)})|({_LEAP_YEAR})-02-29)"
_TIME = "[0-9]{2}:[0-9]{2}:[0-5][0-9]([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
# Format -> a pattern that its strings must match, too. Without two hyphens in a row, no label is Punycode.
NARROWER = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}[Tt]{_TIME}$",
    "hostname": "^[^-]+(-[^-]+)*$",
}
