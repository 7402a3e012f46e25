"""Identifiers of people that can be told by their form or by the word before them, found with regular expressions.

The kinds follow the list of identifiers in the HIPAA safe harbour, 45 CFR 164.514(b)(2). Years, months, ages below 90, doses,
p values and the public numbers of trials, genes and sequences are not among them. Every pattern reads one pass of the text;
none needs a package or the network. Dates have their own module, `phi_dates.py`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from preceptor.teachers.phi_dates import find_dates

PLAIN = str.maketrans(dict.fromkeys("‐‑‒–—−", "-") | dict.fromkeys("’‘ʼ", "'") | dict.fromkeys("\u00a0\u2009\u202f", " "))
"""Typographic characters to plain ones, one to one: positions stay."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One identifier in a text."""

    kind: str
    """One of `config.PHI_KINDS`."""
    start: int
    end: int
    text: str
    """`source[start:end]`. Never part of an error, a log or a count."""


@dataclass(frozen=True, slots=True)
class Detector:
    """A pattern of one kind. The group `v` is the identifier; without it the whole match is."""

    kind: str
    pattern: re.Pattern[str]
    check: Callable[[re.Match[str]], bool] | None = None
    """What the pattern cannot say, such as a check digit."""

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """(kind, start, end) of each identifier."""
        group = "v" if "v" in self.pattern.groupindex else 0
        for match in self.pattern.finditer(text):
            if self.check is None or self.check(match):
                yield self.kind, match.start(group), match.end(group)


def find_patterns(text: str) -> tuple[Finding, ...]:
    """All identifiers that patterns find, in order, without overlaps: of two that overlap the longer one stays."""
    plain = text.translate(PLAIN)
    found = [hit for detector in DETECTORS for hit in detector.find(plain)]
    found += [("date", start, end) for start, end in find_dates(plain)]
    return settle(text, found)


def settle(text: str, found: list[tuple[str, int, int]]) -> tuple[Finding, ...]:
    """Findings without overlaps: the longer first, then the one listed first."""
    kept: list[tuple[str, int, int]] = []
    for hit in sorted(found, key=lambda hit: hit[1] - hit[2]):
        if all(hit[2] <= other[1] or hit[1] >= other[2] for other in kept):
            kept.append(hit)
    return tuple(Finding(kind, start, end, text[start:end]) for kind, start, end in sorted(kept, key=lambda k: k[1]))


# --- checks ---------------------------------------------------------------------------------------------------------


def _digits(text: str) -> list[int]:
    return [int(sign) for sign in text if sign.isascii() and sign.isdigit()]


def _enough(number: int) -> Callable[[re.Match[str]], bool]:
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


PUBLIC_NUMBER = re.compile(
    r"(?:\d{4}-\d{6}-\d\d\b|NCT|ISRCTN|ACTRN|ANZCTRN?|ChiCTR|EudraCT|DRKS|UMIN|JAPIC|NTR|CTRI|IRCT|KCT|PACTR|RBR|CRD|GSE|GSM|PRJ|E-MTAB|EGA|PMC)",
    re.IGNORECASE,
)
"""How the public numbers of registries and archives begin."""

COLLECTION = re.compile(r"\b(?:GenBank|GEO|EMBL|ArrayExpress|PDB|UniProt|RefSeq|dbSNP|OMIM|[Tt]rials?|[Gg]rants?|[Pp]rotocols?)\b")
"""Collections whose accession numbers are public."""

PUBLIC_HOST = re.compile(
    r"(?:controlled-trials|clinicaltrials|NCT\d|actr\.org|irct\.ir|isrctn|anzctr|chictr|umin\.ac|trialregister|drks|ctri\.nic|who\.int|\.gov\b|europa\.eu"
    r"|nejm|doi\.org|cochrane|r-project|pubmed|crd\.york|biomedcentral|webcitation)",
    re.IGNORECASE,
)
"""Sites of registries, authorities, journals and programs."""

PLACES_TO_LOOK = frozenset(
    "available registered register found see look online published accessed posted deposited located download access data "
    "information details site website registry trial database freely".split()  # noqa: SIM905
)
"""Words that stand before "at some-site.org" where no mailbox is meant."""


# --- pieces -----------------------------------------------------------------------------------------------------------

_LINK = r"(?:\s*(?:[:=#]|\b(?:no|nos|nr|num|number|numbers|id|ident|identifier|identification|code|is|was|reads)\b\.?))*\s*"
"""What may stand between a cue and its number."""
_NUMBERED = r"(?:\s*(?:#|\b(?:no|nr|num|number|id|ident|identifier|identification)\b\.?))+(?:\s*(?:[:=#]|\b(?:is|was)\b))*\s*"
"""The same where the cue alone does not announce a number."""
_VALUE = r"(?P<v>(?:[A-Z]{1,4}[-/ ]?)?\d(?:[\w/-]*\w)?(?:[ .]\d[\w-]*)*)(?![\w%]|[.,]\d)"
"""Digits in groups, with letters before or among them."""
_TLD = r"(?:com|org|net|edu|gov|info|int|mil|io|co|uk|de|fr|nl|ie|au|nz|ca|eu|ch|es|it|se|jp|cn|br|health|clinic|care)"
_HOST = rf"(?:[a-z0-9-]+\.)+{_TLD}\b"
_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])"
)
_STREET = (
    r"(?:Street|St|Avenue|Ave?|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Close|Crescent|Cres|Terrace|Place|Pl|Square"
    r"|Sq|Parkway|Pkwy|Highway|Hwy|Way|Gardens|Gdns|Grove|Mews|Circle|Cir|Trail|Row|Quay|Wharf|Hill)"
)
_NOT_STREETS = r"(?!Minute|Min|Met(?:er|re)|Hour|Day|Week|Month|Year|Latin|Patients|Phase|Grade|Stage|Item|Point)"
_UNIT = r"(?:Flat|Apt|Apartment|Unit|Suite|Ste|Room|Rm)\.?\s*\#?\d*[A-Z]?"
_NOBODY = (
    r"(?!(?:The|This|She|He|Her|His|My|Bye|Oh|Doctor|Nurse|Patient|Miss|Mr|Mrs|Yes|Yeah|No|Not|Hi|Hello|Okay|Ok|Good|Well|Thank|Thanks|Sure|And|But|What|How|When|Where|Who|Why|Is|Are"
    r"|Do|Did|Does|Have|Has|Can|Could|Would|It|You|We|They|In|On|At|For|Practitioners?|Managers?|Led|Staff|Education"
    r"|Specialists?|Partnership|Mentor\w*|Care|Clinics?|Study|General|University|Hospital|Medical|Department|Center|Centre|National)\b)"
)
_WORD = _NOBODY + r"[A-Z](?:'[A-Z])?[^\W\d_]+(?:['-][^\W\d_]+)*"
"""A word of a name. No part of it can match in two ways, or a long text would take for ever."""
_NAME = rf"(?:[A-Z]\.\s?){{0,2}}{_WORD}(?:,?\s(?:[A-Z]\.\s)?(?:(?:van|von|de|del|der|den|da|la|bin|al)\s){{0,2}}{_WORD}){{0,2}}"
_TWO_NAMES = rf"{_WORD},?\s(?:[A-Z]\.?\s)?{_WORD}"
_KIN = (
    r"(?:son|daughter|wife|husband|mother|father|sister|brother|partner|niece|nephew|aunt|uncle|friend|cousin|carer|caregiver"
    r"|neighbou?r|grand(?:son|daughter|mother|father)|fianc[ée]e?)"
)


def _insensitive(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _cased(cue: str, rest: str) -> re.Pattern[str]:
    """A cue in any case before a value whose case matters."""
    return re.compile(rf"(?i:{cue}){rest}")


# --- kinds ------------------------------------------------------------------------------------------------------------

_NINETY = r"(?:9\d|1[0-2]\d)"
_NINETY_WORDS = (
    r"(?:ninety(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?|(?:a|one) hundred(?:(?: and)?[- ](?:one|two|three|four"
    r"|five|six|seven|eight|nine|ten))?)"
)
_ONE_PERSON = (
    r"(?<![\d.,<>=≥≤+-])(?<!\d to )(?<!\d and )(?<!than )(?<!least )(?<!over )(?<!above )(?<!under )(?<!below )"
    r"(?<![<>=≥≤] )(?<!mean )(?<!median )(?<!average )"
)
"""Not the end of a range, nor a bound or a mean: those speak of groups."""
_NO_GROUP = r"(?!\s*(?:%|or (?:older|over|more|above)|and (?:older|over|above)|\+|-\s*\d|to \d|[.,]\d|±|days|weeks|months))"

AGES = (
    _insensitive(rf"{_ONE_PERSON}\b(?P<v>(?:{_NINETY}|{_NINETY_WORDS})[\s-]*(?:years?|yrs?|y)[\s.-]*(?:old|of age)\b){_NO_GROUP}"),
    _insensitive(rf"{_ONE_PERSON}\b(?P<v>{_NINETY}\s*-?(?:y\.?/?\s?o\b\.?|yr\.?\b)){_NO_GROUP}"),
    _insensitive(
        rf"(?<!mean )(?<!median )(?<!average )\b(?:aged?|age of|age is|age was)\b\s*[:=]?\s*(?P<v>{_NINETY})\b{_NO_GROUP}"
        rf"(?!\s*(?:years?|yrs?)\s*(?:or|and)\s+(?:older|over|above|more))"
    ),
    _insensitive(rf"\b(?P<v>{_NINETY}(?:st|nd|rd|th)\s+birthday)"),
)

PHONES = (
    # North America, with or without the country's 1
    _insensitive(r"(?<![\w.,/+-])(?P<v>(?:\+?1[-. ]?)?(?:\([2-9]\d\d\)\s?-?[2-9]\d\d[-. ]|[2-9]\d\d/[2-9]\d\d-|[2-9]\d\d(?P<sign>[-. ])[2-9]\d\d(?P=sign))\d{4})(?![\w%]|[-.,]\d)"),
    # Great Britain and Ireland: eleven digits from 0 in the usual groups
    _insensitive(
        r"(?<![\w.,/+-])(?P<v>\(?0(?:[12378]\d\)?[ -]?\d{4}[ -]?\d{4}|[12378]\d\d\)?[ -]?\d{3}[ -]?\d{4}"
        r"|[1-378]\d{3}\)?[ -]?\d{3}[ -]?\d{3}))(?![\w%]|[-.,]\d)"
    ),
)
CUED_PHONES = (
    # A word that only numbers of this kind follow: four digits are enough.
    _insensitive(
        r"\b(?:tel(?:ephone)?|phone|fax|facsimile|mob(?:ile)?|cell(?:phone)?|pager|beeper|bleep|extension)\b\.?"
        rf"{_LINK}(?P<v>\+?\(?\d[\d ().-]{{2,20}}\d)(?!\w|%|[.,]\d)"
    ),
    _insensitive(r"\bext\.?\s*(?P<v>\d{3,6})\b"),
)
LONG_PHONES = (
    # A plus or two zeros and a country: nine digits at least.
    _insensitive(r"(?<![\w.,+-])(?P<v>\+[1-9]\d{0,2}[ -]?(?:\(0\)[ -]?)?(?:\d{1,5}[ -]?){1,5}\d{2,10})(?![\w%]|[-.,]\d)"),
    _insensitive(r"(?<![\w.,+-])(?P<v>00[ -]?[1-9]\d{0,2}[ -]?(?:\(0\)[ -]?)?(?:\d{1,5}[ -]){2,5}\d{2,8})(?![\w%]|[-.,]\d)"),
)
CALLED_PHONES = _insensitive(
    r"\b(?:call(?:ed)?|ring|rang|text|contact|reach(?:ed)?|dial)\b(?:\s+(?:him|her|them|me|us|at|on|back|the|ward|home|number))*"
    r"\s*:?\s*(?P<v>\+?\(?\d[\d ()./-]{5,20}\d)(?!\w|%|[.,]\d)"
)

STRONG_RECORD = (
    r"\b(?:MRN|MR\s?(?=\#|no\b|number)|medical\s+rec(?:ord)?|med\.?\s*rec\.?|chart|NHS|CHI|NPI|DEA|CSN|HCN|accession|specimen"
    r"|account|acct|a/c|policy|insurance|member(?:ship)?|subscriber|beneficiary|claim|medicare|medicaid|health\s*card"
    r"|passport|driv(?:er'?s|ing)\s+licen[cs]e|encounter|hosp(?:ital)?\.?\s+(?=no\b|number|\#)|wristband)"
)
WEAK_RECORD = (
    r"\b(?:patient'?s?|pts?\.?|hosp(?:ital)?\.?|clinic|unit|record|case|file|folder|group|licen[cs]e|certificate|sample|tube"
    r"|lab(?:oratory)?|visit|admission|episode|order|prescription|subject|participant|donor|UR|URN|registration|reference|ref\.?"
    r"|card|customer|client|employee|student|tax|identity|national|social\s+insurance)"
)
RECORDS = (
    (_cased(STRONG_RECORD, rf"(?i:\s*(?:card|plan|record))?(?i:{_LINK}){_VALUE}"), _record),
    (_cased(WEAK_RECORD, rf"(?i:{_NUMBERED}){_VALUE}"), _weak_record),
    (_cased(r"\b(?:rx|prescription)\b", rf"(?i:{_LINK})(?P<v>(?i:rx\s*)?\d{{6,}})\b"), None),
    (_cased(r"\b(?:policy|insurance|member|health\s*card|medicare|sample|specimen|accession)\b", rf"(?i:{_LINK})(?P<v>[A-Z]{{2,5}}[- ]?\d[\w-]+\w)"), _record),
    (re.compile(r"(?<![\w.-])(?P<v>\d{3}[ ]\d{3}[ ]\d{4})(?![\w.-])"), nhs),
    (re.compile(r"(?<![\w.+-])(?P<v>[3-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}|3[47]\d{2}[ -]?\d{6}[ -]?\d{5})(?![\w-])"), luhn),
    (re.compile(r"\b(?P<v>[A-Z]{2}\d{2}[ ]?(?:[A-Z0-9]{4}[ ]?){2,7}[A-Z0-9]{1,4})\b"), iban),
    # Medicare's identifier: fixed places for digits and for letters without S, L, O, I, B, Z
    (re.compile(r"\b(?P<v>[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y\d]\d-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y\d]\d-?[AC-HJKMNP-RT-Y]{2}\d\d)\b"), None),
)  # fmt: skip

SSN_CUE = r"\b(?:ssn|ss\s?(?=\#|no\b)|soc(?:ial)?\.?\s+sec(?:urity)?\.?|(?:last\s+(?:4|four)\s+(?:digits\s+)?of\s+)social)"
NINO = (
    r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?\d\d[ -]?\d\d[ -]?\d\d[ -]?[A-D]"
)
SSNS = (
    re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])"),
    _insensitive(rf"{SSN_CUE}{_LINK}(?:(?:ending|ends|last)\s*(?:in|with|4|four)*\s*:?\s*)?(?P<v>\d{{3}}[- ]?\d\d[- ]?\d{{4}}|\d{{4}})\b"),
    re.compile(rf"\b(?P<v>{NINO})\b"),
)

_PLATE = r"(?P<v>[A-Z0-9]{1,4}[ -]?[A-Z0-9]{1,4}(?:[ -]?[A-Z]{1,3})?)\b"
PLATES = (
    _cased(r"\b(?:(?:licen[cs]e|number|registration|motorcycle|car|vehicle)\s+(?:plate|tag)s?|plates?\s*(?=no\b|number|\#|:)|tag\s+(?=no\b|number|\#))", rf"(?i:{_LINK}){_PLATE}"),
    _cased(r"\b(?:car|van|vehicle|truck|lorry|motor(?:cycle|bike)|taxi|ambulance)\b[^.\n]{0,12}?\breg(?:istration|istered|\.|\b)", rf"(?i:(?:\s*(?:as|under))?{_LINK}){_PLATE}"),
    _cased(r"\breg(?:istration)?\.?\s*(?:no\.?|number)?\s*:?", r"\s*(?P<v>[A-Z]{2}\d{2}\s?[A-Z]{3})\b"),
)  # fmt: skip
VINS = (
    (_cased(r"\b(?:VIN|vehicle\s+ident\w*)\b", rf"(?i:{_LINK})(?P<v>[A-HJ-NPR-Z0-9]{{11,17}})\b"), None),
    (re.compile(r"\b(?P<v>[A-HJ-NPR-Z0-9]{17})\b"), _vin),
)

DEVICES = (
    (_cased(r"\b(?:serial|ser\.)", rf"(?i:{_LINK})(?P<v>(?:[A-Z]{{1,4}}[- ]?)?\d[\w-]*\w)(?![\w%]|[.,]\d)"), _enough(4)),
    (_cased(r"\bS/?N\b(?!\s*ratio)", r"(?:\s*[:#.=])*\s*(?P<v>[A-Z]{0,4}-?\d[\w-]{3,})"), _enough(4)),
    (_cased(r"\b(?:device|implant|pacemaker|generator|pump|lead|ventilator|monitor)\b(?:\s\w+)?", rf"(?i:{_NUMBERED}){_VALUE}"), _weak_record),
    (_cased(r"\bIMEI\b", rf"(?i:{_LINK})(?P<v>\d[\d -]{{13,18}}\d)\b"), None),
    (re.compile(r"(?<![\w:-])(?P<v>(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2})(?![\w:-])"), None),
    (re.compile(r"(?P<v>\(01\)\s?\d{14}(?:\(\d\d\)\w+)*)"), None),
)  # fmt: skip

ADDRESSES = (
    re.compile(
        rf"\b(?P<v>(?:{_UNIT},?\s+)?\d{{1,5}}[A-Za-z]?(?:[/-]\d{{1,4}}[A-Z]?)?,?\s+(?:(?:[NSEW]|[NS][EW]|North|South|East|West)\.?\s+)?"
        rf"(?:{_NOT_STREETS}[A-Z][\w'.-]*\s+){{0,3}}(?:{_NOT_STREETS}(?:[A-Z][\w'.-]*|\d{{1,3}}(?:st|nd|rd|th)))\s+{_STREET}\b\.?"
        rf"(?:,?\s+{_UNIT}\b)?)"
    ),
    re.compile(rf"(?i:\b(?:lives?|living|resid\w+|address|home|house|found)\b[^.\n]{{0,12}}?\b(?:at|in|is|:))\s+(?P<v>\d{{1,5}}[A-Za-z]?,?\s+(?:The\s+)?(?:[A-Z][\w'.-]+\s*){{1,4}})"),
    _insensitive(r"\b(?P<v>P\.?\s?O\.?\s?Box\s+\d+)\b"),
    _insensitive(r"\b(?P<v>(?:rural\s+route|R\.?R\.?|RFD|star\s+route)\s*\#?\d+,?\s*box\s*\d+)\b"),
    _insensitive(r"\b(?:zip|post(?:al)?)[ -]?(?:code)?\b\s*(?:[:#]|is|was)?\s*(?P<v>\d{5}(?:-\d{4})?|\d{4}|[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}|[A-Z]\d[A-Z]\s?\d[A-Z]\d)\b"),
    re.compile(rf"\b(?P<v>(?:(?:[A-Z][\w'.-]+\s){{0,2}}[A-Z][\w'.-]+,\s+)?{_STATE}\.?,?\s+\d{{5}}(?:-\d{{4}})?)(?![\w,.-]*\d)"),
    re.compile(r"\b(?P<v>(?:(?:[A-Z][\w'.-]+\s){0,2}[A-Z][\w'.-]+,?\s+)(?:NSW|VIC|QLD|WA|SA|TAS|ACT)\s+\d{4})\b"),
    re.compile(r"(?:\b[A-Z][a-z][\w'.-]+,?|,)\s+(?P<v>[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2})\b"),
    re.compile(rf"{_STREET}\b[^\n]{{0,40}}?(?P<v>[A-Z]\d[A-Z]\s\d[A-Z]\d|\b\d{{5}}-\d{{4}})\b"),
)  # fmt: skip

NAMES = (
    re.compile(rf"\b(?:(?:Mrs?|Ms|Mx|Dr|Prof|Rev)\b\.?|Miss|Professor|Doctor|Nurse|Sister)\s(?P<v>{_NAME})"),
    re.compile(r"\b(?:MRS?|DR|MISS)\b\.?\s+(?P<v>(?!IMAG|ANGIO|SPECTR|ENTERO|CHOLANG|ARTHRO|SCAN|PATIENT|EXAM|FINDING|STUD)[A-Z][A-Z'-]{3,})\b"),
    re.compile(rf"(?i:\b(?:name(?:\s+of\s+[\w ]{{3,16}})?|next\s+of\s+kin|NOK|attending|physician|surgeon|signed|dictated\s+by|emergency\s+contact|spouse|guardian|witness|informant|attn|cc)\s*:)\s*(?P<v>{_NAME})"),
    re.compile(rf"(?i:\bpt\s*:)\s*(?P<v>{_WORD},\s{_WORD})"),
    re.compile(rf"(?i:\b(?:pt|patient)\s*:)\s*(?P<v>{_TWO_NAMES})(?=\s*(?:$|[\n;(|]|\b(?:DOB|MRN|NHS|ID|age)\b|\d))"),
    re.compile(rf"(?i:\bcc)\s+(?P<v>{_TWO_NAMES})"),
    re.compile(rf"(?i:\b(?:signed|dictated|referred|reviewed|seen|examined|transcribed|interviewed)\s+by)\s*:?\s+(?P<v>{_TWO_NAMES})"),
    re.compile(rf"\b(?P<v>{_WORD}\s(?:[A-Z]\.?\s)?{_WORD}),?\s(?:M\.?D\.?|R\.?N\.?|Ph\.?D\.?|D\.?O\.?|N\.?P\.?|PA-C|FRCS|MRCP|MBBS|MBChB|LCSW)\b(?!\.?,?\s(?:USA|\d))"),
    re.compile(rf"(?i:\b(?:his|her|their|my)\s+(?:\w+\s+)?{_KIN})(?:,|\s+is)?\s+(?P<v>{_NAME})"),
    re.compile(rf"(?i:\b(?:my\s+name\s+is|my\s+name's|(?:first|last|full|maiden)\s+name\s+is|(?:man|woman|boy|girl|lady|gentleman|patient)\s+(?:named|called)))\s+(?P<v>{_NAME})"),
    re.compile(rf"(?i:\b(?:the|this)\s+patient),\s+(?P<v>{_TWO_NAMES}),"),
)  # fmt: skip

DETECTORS = (
    Detector("email", _insensitive(rf"(?<![\w.+-])[\w.+'-]+@{_HOST}")),
    Detector("email", _insensitive(rf"(?<![\w.+-])(?P<user>[a-z][\w.+-]+)\s*(?:\[at\]|\(at\)|\bat\b)\s*(?:[\w-]+(?:\.|\s?\[?\bdot\b\]?\s?))+{_TLD}\b"), _private_mailbox),
    Detector("url", _insensitive(r"\b(?:https?|ftp|sftp)://[^\s<>\"]*[\w/]"), _private_page),
    Detector("url", _insensitive(r"(?<![\w@.])www\.[\w-]+\.[^\s<>\"),;]*[\w/]"), _private_page),
    Detector("url", _insensitive(rf"(?<![\w@.-])(?:[a-z][a-z0-9-]+\.)+{_TLD}(?:/[\w.~/?=&%-]*[\w/]|(?![\w./-]))"), _private_page),
    Detector("ip", re.compile(r"(?<![\w.])(?<!EC )(?P<v>(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d))(?![\w]|\.\d)")),
    Detector("ip", re.compile(r"(?<![\w:.])(?P<v>[0-9A-Fa-f]{0,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?:\.\d+){0,3})(?![\w:])"), _address_of_a_machine),
    *(Detector("ssn", pattern) for pattern in SSNS),
    *(Detector("device", pattern, check) for pattern, check in DEVICES),
    *(Detector("vehicle", pattern, check) for pattern, check in VINS),
    *(Detector("vehicle", pattern, _letters_and_digits) for pattern in PLATES),
    *(Detector("phone", pattern, _enough(4)) for pattern in CUED_PHONES[:1]),
    *(Detector("record", pattern, check) for pattern, check in RECORDS),
    *(Detector("phone", pattern) for pattern in (*PHONES, *CUED_PHONES[1:])),
    *(Detector("phone", pattern, _enough(9)) for pattern in LONG_PHONES),
    Detector("phone", CALLED_PHONES, _enough(7)),
    *(Detector("age", pattern) for pattern in AGES),
    *(Detector("address", pattern) for pattern in ADDRESSES),
    *(Detector("name", pattern) for pattern in NAMES),
)  # fmt: skip
"""In order of preference for findings of equal length."""
