"""Patterns for what is mostly digits: mail and web addresses, telephones, records, accounts, vehicles and devices."""

from __future__ import annotations

import ipaddress
import re

from preceptor.teachers.phi_patterns import Check, any_case, as_written, cued

PUBLIC_NUMBER = re.compile(
    r"(?:\d{4}-\d{6}-\d\d\b|NCT|ISRCTN|ACTRN|ANZCTRN?|ChiCTR|EudraCT|DRKS|UMIN|JAPIC|NTR|CTRI|IRCT|KCT|PACTR|RBR|CRD|GSE|GSM"
    r"|PRJ|E-MTAB|EGA|PMC)",
    re.IGNORECASE,
)
"""How the public numbers of registries and archives begin."""

COLLECTION = re.compile(
    r"\b(?:GenBank|GEO|EMBL|ArrayExpress|PDB|UniProt|RefSeq|dbSNP|OMIM|[Tt]rials?|[Gg]rants?|[Pp]rotocols?)\b"
)
"""Collections whose accession numbers are public."""

PUBLIC_HOST = re.compile(
    r"(?:controlled-trials|clinicaltrials|NCT\d|actr\.org|irct\.ir|isrctn|anzctr|chictr|umin\.ac|trialregister|drks"
    r"|ctri\.nic|who\.int|\.gov\b|europa\.eu|nejm|doi\.org|cochrane|r-project|pubmed|crd\.york|biomedcentral"
    r"|webcitation)",
    re.IGNORECASE,
)
"""Sites of registries, authorities, journals and programs."""

PLACES_TO_LOOK = frozenset(
    {"available", "registered", "register", "found", "see", "look", "online", "published", "accessed", "posted"}
    | {"deposited", "located", "download", "access", "data", "information", "details", "site", "website", "registry"}
    | {"trial", "database", "freely"}
)
"""Words that stand before "at some-site.org" where no mailbox is meant."""

# --- checks -----------------------------------------------------------------------------------------------------------


def _digits(text: str) -> list[int]:
    return [int(sign) for sign in text if sign.isascii() and sign.isdigit()]


def _enough(number: int) -> Check:
    return lambda match: len(_digits(match["v"])) >= number


def luhn(match: re.Match[str]) -> bool:
    """Whether a card's check digit is right: every second digit from the right doubled, sum divisible by 10."""
    digits = _digits(match["v"])
    doubled = [sum(divmod(2 * d, 10)) if i % 2 else d for i, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def nhs(match: re.Match[str]) -> bool:
    """Whether ten digits are an NHS number: weights 10 to 1, the sum divisible by 11."""
    digits = _digits(match["v"])
    total = sum(weight * d for weight, d in zip(range(10, 0, -1), digits, strict=True))
    return len(set(digits)) > 1 and total % 11 == 0


def iban(match: re.Match[str]) -> bool:
    """Whether the letters and digits of an account number leave 1 when divided by 97 (ISO 13616)."""
    plain = match["v"].replace(" ", "")
    moved = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def _address_of_a_machine(match: re.Match[str]) -> bool:
    if "::" not in match["v"] and match["v"].count(":") < 5:
        return False  # a time, a ratio
    try:
        return len(match["v"]) > 8 and ipaddress.ip_address(match["v"]).version == 6
    except ValueError:
        return False


def _vin(match: re.Match[str]) -> bool:
    return len(re.findall(r"[A-Z]", match["v"])) >= 3 and match["v"][-4:].isdigit()


def _letters_and_digits(match: re.Match[str]) -> bool:
    return bool(re.search(r"\d", match["v"])) and bool(re.search(r"[A-Z]", match["v"]) or "-" in match["v"])


def _record(match: re.Match[str]) -> bool:
    """Whether a value behind a cue is somebody's number: at least three digits, and not a public one."""
    return len(_digits(match["v"])) >= 3 and not _is_public(match)


def _weak_record(match: re.Match[str]) -> bool:
    """The same behind words that count people as often as they number one, as in "sample number 500"."""
    digits = len(_digits(match["v"]))
    marked = re.search(r"[A-Za-z/-]", match["v"]) is not None
    return (digits >= 5 or (marked and digits >= 4)) and not _is_public(match)


def _is_public(match: re.Match[str]) -> bool:
    """Whether the number is a trial's, or stands in a public collection that the words before it name."""
    if PUBLIC_NUMBER.match(match["v"]):
        return True
    if not re.match(r"accession|registration|ref|identi", match[0], re.IGNORECASE):
        return False
    return COLLECTION.search(match.string[max(0, match.start() - 40) : match.start("v")]) is not None


def _private_page(match: re.Match[str]) -> bool:
    return PUBLIC_HOST.search(match[0]) is None


def _private_mailbox(match: re.Match[str]) -> bool:
    return PUBLIC_HOST.search(match[0]) is None and match["user"].lower() not in PLACES_TO_LOOK


# --- pieces -----------------------------------------------------------------------------------------------------------

NUMBER_WORD = r"\b(?:no|nr|num|number|id|ident|identifier|identification)\b\.?"
LINK = rf"(?:\s*(?:[:=#]|{NUMBER_WORD}|\b(?:nos|numbers|code|is|was|reads)\b\.?))*\s*"
"""What may stand between a cue and its number."""
NUMBERED = rf"(?:\s*(?:#|{NUMBER_WORD}))+(?:\s*(?:[:=#]|\b(?:is|was)\b))*\s*"
"""The same where the cue alone does not announce a number."""
VALUE = r"(?P<v>(?:[A-Z]{1,4}[-/ ]?)?\d(?:[\w/-]*\w)?(?:[ .]\d[\w-]*)*)(?![\w%]|[.,]\d)"
"""Digits in groups, with letters before or among them."""
TLD = r"(?:com|org|net|edu|gov|info|int|mil|io|co|uk|de|fr|nl|ie|au|nz|ca|eu|ch|es|it|se|jp|cn|br|health|clinic|care)"
OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
MBI = "[AC-HJKMNP-RT-Y]"
"""Letters of Medicare's identifier: all but S, L, O, I, B and Z."""
BEFORE = r"(?<![\w.,/+-])"
AFTER = r"(?![\w%]|[-.,]\d)"

# --- kinds ------------------------------------------------------------------------------------------------------------

_NETWORK = (
    any_case("email", rf"(?<![\w.+-])[\w.+'-]{{1,64}}@(?:[a-z0-9-]+\.)+{TLD}\b"),
    any_case(
        "email",
        r"(?<![\w.+-])(?P<user>[a-z][\w.+-]{1,63})\s*(?:\[at\]|\(at\)|\bat\b)\s*",
        rf"(?:[\w-]+(?:\.|\s?\[?\bdot\b\]?\s?))+{TLD}\b",
        check=_private_mailbox,
    ),
    any_case("url", r"\b(?:https?|ftp|sftp)://[^\s<>\"]*[\w/]", check=_private_page),
    any_case("url", r"(?<![\w@.])www\.[\w-]+\.[^\s<>\"),;]*[\w/]", check=_private_page),
    any_case(
        "url",
        rf"(?<![\w@.-])(?:[a-z][a-z0-9-]+\.)+{TLD}(?:/[\w.~/?=&%-]*[\w/]|(?![\w./-]))",
        check=_private_page,
    ),
    as_written("ip", rf"(?<![\w.])(?<!EC )(?P<v>(?:{OCTET}\.){{3}}{OCTET})(?!\w|\.\d)"),
    as_written(
        "ip",
        r"(?<![\w:.])(?P<v>[0-9A-Fa-f]{0,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?:\.\d+){0,3})(?![\w:])",
        check=_address_of_a_machine,
    ),
)

_SSN = (
    as_written("ssn", r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])"),
    any_case(
        "ssn",
        r"\b(?:ssn|ss\s?(?=\#|no\b)|soc(?:ial)?\.?\s+sec(?:urity)?\.?|last\s+(?:4|four)\s+(?:digits\s+)?of\s+social)",
        LINK,
        r"(?:(?:ending|ends|last)\s*(?:in|with|4|four)*\s*:?\s*)?(?P<v>\d{3}[- ]?\d\d[- ]?\d{4}|\d{4})\b",
    ),
    # Great Britain's number has letters that are never used
    as_written(
        "ssn",
        r"\b(?P<v>(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:[ -]?\d\d){3}[ -]?[A-D])\b",
    ),
)

_DEVICE = (
    cued("device", r"\b(?:serial|ser\.)", LINK, r"(?P<v>(?:[A-Z]{1,4}[- ]?)?\d[\w-]*\w)(?![\w%]|[.,]\d)", _enough(4)),
    as_written("device", r"(?i:\bS/?N\b(?!\s*ratio))(?:\s*[:#.=])*\s*(?P<v>[A-Z]{0,4}-?\d[\w-]{3,})", check=_enough(4)),
    cued(
        "device",
        r"\b(?:device|implant|pacemaker|generator|pump|lead|ventilator|monitor)\b(?:\s\w+)?",
        NUMBERED,
        VALUE,
        _weak_record,
    ),
    cued("device", r"\bIMEI\b", LINK, r"(?P<v>\d[\d -]{13,18}\d)\b"),
    as_written("device", r"(?<![\w:-])(?P<v>(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2})(?![\w:-])"),
    as_written("device", r"(?P<v>\(01\)\s?\d{14}(?:\(\d\d\)\w+)*)"),
)

_PLATE = r"(?P<v>[A-Z0-9]{1,4}[ -]?[A-Z0-9]{1,4}(?:[ -]?[A-Z]{1,3})?)\b"
_VEHICLE = (
    cued("vehicle", r"\b(?:VIN|vehicle\s+ident\w*)\b", LINK, r"(?P<v>[A-HJ-NPR-Z0-9]{11,17})\b"),
    as_written("vehicle", r"\b(?P<v>[A-HJ-NPR-Z0-9]{17})\b", check=_vin),
    cued(
        "vehicle",
        r"\b(?:(?:licen[cs]e|number|registration|motorcycle|car|vehicle)\s+(?:plate|tag)s?"
        r"|plates?\s*(?=no\b|number|\#|:)|tag\s+(?=no\b|number|\#))",
        LINK,
        r"(?P<v>[A-Z0-9]{1,7}(?:[ -][A-Z0-9]{2,5}){0,2})\b",
        _enough(1),
    ),
    cued(
        "vehicle",
        r"\b(?:car|van|vehicle|truck|lorry|motor(?:cycle|bike)|taxi|ambulance)\b[^.\n]{0,12}?"
        r"\breg(?:istration|istered|\.|\b)",
        rf"(?:\s*(?:as|under))?{LINK}",
        _PLATE,
        _letters_and_digits,
    ),
    cued("vehicle", r"\breg(?:istration)?\.?\s*(?:no\.?|number)?\s*:?", r"\s*", r"(?P<v>[A-Z]{2}\d{2}\s?[A-Z]{3})\b"),
)

_CUED_PHONE = any_case(
    # A word that only numbers of this kind follow: four digits are enough.
    "phone",
    r"\b(?:tel(?:ephone)?|phone|fax|facsimile|mob(?:ile)?|cell(?:phone)?|pager|beeper|bleep|extension)\b\.?",
    LINK,
    r"(?P<v>\+?\(?\d[\d ().-]{2,20}\d(?:\s?(?:x|ext\.?)\s?\d{1,6})?)(?!\w|%|[.,]\d)",
    check=_enough(4),
)
_PHONE = (
    # North America, with or without the country's 1
    any_case(
        "phone",
        BEFORE,
        r"(?P<v>(?:(?:\+|00)?1[-. ]?)?(?:\(\d{3}\)\s?-?\d{3}[-. ]|[2-9]\d\d/[2-9]\d\d-"
        r"|\d{3}(?P<sign>[-.])\d{3}(?P=sign)|[2-9]\d\d [2-9]\d\d )\d{4}(?:\s?(?:x|ext\.?)\s?\d{1,6})?)",
        AFTER,
    ),
    # Great Britain and Ireland: eleven digits from 0 in the usual groups
    any_case(
        "phone",
        BEFORE,
        r"(?P<v>\(?0(?:[12378]\d\)?[ -]?\d{4}[ -]?\d{4}|[12378]\d\d\)?[ -]?\d{3}[ -]?\d{4}"
        r"|[1-378]\d{3}\)?[ -]?\d{3}[ -]?\d{3}))",
        AFTER,
    ),
    # Australia, New Zealand and India
    any_case(
        "phone",
        BEFORE,
        r"(?P<v>\(0\d{1,2}\)\s?\d{3,4}[ -]?\d{3,4}|04\d\d[ -]\d{3}[ -]\d{3}|0[6-9]\d{9})",
        AFTER,
    ),
    any_case("phone", r"\bext\.?\s*(?P<v>\d{3,6})\b"),
    # A plus or two zeros and a country
    any_case(
        "phone",
        r"(?<![\w.,+-])(?P<v>\+[1-9]\d{0,2}[ -]?(?:\(0\)[ -]?)?(?:\d{1,5}[ -]?){1,5}\d{2,10})",
        AFTER,
        check=_enough(9),
    ),
    any_case(
        "phone",
        r"(?<![\w.,+-])(?P<v>00[ -]?[1-9]\d{0,2}[ -]?(?:\(0\)[ -]?)?(?:\d{1,5}[ -]){2,5}\d{2,8})",
        AFTER,
        check=_enough(9),
    ),
    any_case(
        "phone",
        r"\b(?:call(?:ed)?|ring|rang|text|contact|reach(?:ed)?|dial)\b",
        r"(?:\s+(?:him|her|them|me|us|at|on|back|the|ward|home|number))*\s*:?\s*",
        r"(?P<v>\+?\(?\d[\d ()./-]{5,20}\d)(?!\w|%|[.,]\d)",
        check=_enough(7),
    ),
)

_RECORD = (
    # Words that announce somebody's number
    cued(
        "record",
        r"\b(?:MRN|MR\s?(?=\#|no\b|number)|medical\s+rec(?:ord)?|med\.?\s*rec\.?|chart|NHS|NPI|DEA|CSN|HCN|accession"
        r"|specimen|account|acct|a/c|policy|insurance|member(?:ship)?|subscriber|beneficiary|claim|medicare|medicaid"
        r"|health\s*card|passport|driv(?:er'?s|ing)\s+licen[cs]e|encounter|hosp(?:ital)?\.?\s+(?=no\b|number|\#)"
        r"|wristband)",
        rf"(?:\s*(?:card|plan|record))?{LINK}",
        VALUE,
        _record,
    ),
    # Words that do so only with "no." or "ID"
    cued(
        "record",
        r"\b(?:patient'?s?|pts?\.?|hosp(?:ital)?\.?|clinic|unit|record|case|file|folder|group|licen[cs]e|certificate"
        r"|sample|tube|lab(?:oratory)?|visit|admission|episode|order|prescription|subject|participant|donor|UR|URN"
        r"|registration|reference|ref\.?|card|customer|client|employee|student|tax|identity|national"
        r"|social\s+insurance)",
        NUMBERED,
        VALUE,
        _weak_record,
    ),
    cued("record", r"\b(?:rx|prescription)\b", LINK, r"(?P<v>(?i:rx\s*)?\d{6,})\b"),
    cued(
        "record",
        r"\b(?:policy|insurance|member|health\s*card|medicare|sample|specimen|accession)\b",
        LINK,
        r"(?P<v>[A-Z]{2,5}[- ]?\d[\w-]+\w)",
        _record,
    ),
    # Scotland's number; in any other case the letters are a statistic's.
    as_written("record", rf"\bCHI(?i:{LINK}){VALUE}", check=_record),
    as_written("record", r"(?<![\w.-])(?P<v>\d{3}[ ]\d{3}[ ]\d{4})(?![\w.-])", check=nhs),
    as_written(
        "record",
        r"(?<![\w.+-])(?P<v>[3-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}"
        r"|(?:3[47]\d{2}|2131|1800)[ -]?\d{6}[ -]?\d{5})(?![\w-])",
        check=luhn,
    ),
    as_written("record", r"\b(?P<v>[A-Z]{2}\d{2}[ ]?(?:[A-Z0-9]{4}[ ]?){2,7}[A-Z0-9]{1,4})\b", check=iban),
    as_written("record", rf"\b(?P<v>[1-9]{MBI}(?:{MBI}|\d)\d-?{MBI}(?:{MBI}|\d)\d-?{MBI}{{2}}\d\d)\b"),
)

NUMBERS = (*_NETWORK, *_SSN, *_DEVICE, *_VEHICLE, _CUED_PHONE, *_RECORD, *_PHONE)
"""In order of preference."""
