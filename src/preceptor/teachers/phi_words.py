"""Patterns for what words give away: ages above 89, street addresses, and names behind a title or a cue.

A name that no title, cue or degree announces is not found here; that takes a language model (`phi_names.py`).
"""

from __future__ import annotations

from preceptor.teachers.phi_patterns import any_case, as_written

# --- ages --------------------------------------------------------------------------------------------------------

_ONES = "(?:one|two|three|four|five|six|seven|eight|nine|ten)"
_NINETY = r"(?:9\d|1[0-2]\d)"
_NINETY_WORDS = rf"(?:ninety(?:[- ]{_ONES})?|(?:a|one) hundred(?:(?: and)?[- ]{_ONES})?)"
_ONE_PERSON = (
    r"(?<![\d.,<>=≥≤+-])(?<!\d to )(?<!\d and )(?<!than )(?<!least )(?<!over )(?<!above )(?<!under )(?<!below )"
    r"(?<![<>=≥≤] )(?<!mean )(?<!median )(?<!average )\b"
)
"""Not the end of a range, nor a bound or a mean: those speak of groups."""
_NO_GROUP = (
    r"(?!\s*(?:%|or (?:older|over|more|above)|and (?:older|over|above)|\+|-\s*\d|to \d|[.,]\d|±|days|weeks|months))"
)

_AGES = (
    any_case(
        "age",
        _ONE_PERSON,
        rf"(?P<v>(?:{_NINETY}|{_NINETY_WORDS})[\s-]*(?:years?|yrs?|y)[\s.-]*(?:old|of age)\b)",
        _NO_GROUP,
    ),
    any_case("age", _ONE_PERSON, rf"(?P<v>{_NINETY}\s*-?(?:y\.?/?\s?o\b\.?|yr\.?\b))", _NO_GROUP),
    any_case(
        "age",
        rf"(?<!mean )(?<!median )(?<!average )\b(?:aged?|age of|age is|age was)\b\s*[:=]?\s*(?P<v>{_NINETY})\b",
        _NO_GROUP,
        r"(?!\s*(?:years?|yrs?)\s*(?:or|and)\s+(?:older|over|above|more))",
    ),
    any_case("age", rf"\b(?P<v>{_NINETY}(?:st|nd|rd|th)\s+birthday)"),
)

# --- addresses ---------------------------------------------------------------------------------------------------

_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]"
    r"|W[AIVY])"
)
_STREET = (
    r"(?:Street|St|Avenue|Ave?|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Close|Crescent|Cres|Terrace|Place|Pl"
    r"|Square|Sq|Parkway|Pkwy|Highway|Hwy|Way|Gardens|Gdns|Grove|Mews|Circle|Cir|Trail|Row|Quay|Wharf|Hill"
    r"|Alley|Arcade|Bend|Bluff|Bypass|Causeway|Corner|Coves?|Crossing|Esplanade|Estates?|Expressway|Freeway|Glen|Green"
    r"|Heights|Hollow|Junctions?|Knoll|Landing|Loop|Manor|Meadows?|Parade|Parks?|Pass|Path|Pike|Plaza|Ridge|Run|Summit"
    r"|Trace|Track|Turnpike|Valley|Views?|Village|Vista|Walks?)"
)
_STREET_WORD = (
    r"(?!Minute|Min|Met(?:er|re)|Hour|Day|Week|Month|Year|Latin|Patients|Phase|Grade|Stage|Item|Point)[A-Z][\w'.-]*"
)
"""A word of a street's name, and no unit that "6 Minute Way" could mean."""
_UNIT = r"(?:Flat|Apt|Apartment|Unit|Suite|Ste|Room|Rm)\.?\s*\#?\d*[A-Z]?"
_UK_POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}"
_CANADIAN_POSTCODE = r"[A-Z]\d[A-Z]\s?\d[A-Z]\d"
_PLACE = r"(?:[A-Z][\w'.-]{1,30}\s){0,2}[A-Z][\w'.-]{1,30}"

_ADDRESSES = (
    as_written(
        "address",
        rf"\b(?P<v>(?:{_UNIT},?\s+)?\d{{1,5}}[A-Za-z]?(?:[/-]\d{{1,4}}[A-Z]?)?,?\s+",
        r"(?:(?:[NSEW]|[NS][EW]|North|South|East|West)\.?\s+)?",
        rf"(?:{_STREET_WORD}\s+){{0,3}}(?:{_STREET_WORD}|\d{{1,3}}(?:st|nd|rd|th))\s+{_STREET}\b\.?(?:,?\s+{_UNIT}\b)?)",
    ),
    as_written(
        "address",
        r"(?i:\b(?:lives?|living|resid\w+|address|home|house|found)\b[^.\n]{0,12}?\b(?:at|in|is|:))\s+",
        r"(?P<v>\d{1,5}[A-Za-z]?,?\s+(?:The\s+)?[A-Z][\w'.-]+(?:\s+[A-Z][\w'.-]+){0,3})",
    ),
    as_written(
        "address",
        r"(?i:\b(?:lives|lived|resides|resided|home\s+address|address)\s*(?:at|in|is|:)?)\s+",
        r"(?P<v>(?:[A-Z][\w.]{0,30},?\s+){0,4}\d{1,5}[\w/-]{0,9},?(?:\s+(?:[A-Z][\w'.-]{0,30}|\d[\w/-]{0,9}),?){1,8})",
    ),
    any_case("address", r"\b(?P<v>P\.?\s?O\.?\s?Box\s+\d+)\b"),
    as_written("address", r"\b(?P<v>(?:(?:PSC|Unit)\s+\d+,?\s+Box\s+\d+,?\s+)?[AFD]PO,?\s+A[AEP],?\s+\d{5})\b"),
    any_case("address", r"\b(?P<v>(?:rural\s+route|R\.?R\.?|RFD|star\s+route)\s*\#?\d+,?\s*box\s*\d+)\b"),
    any_case(
        "address",
        r"\b(?:zip|post(?:al)?)[ -]?(?:code)?\b\s*(?:[:#]|is|was)?\s*",
        rf"(?P<v>\d{{5}}(?:-\d{{4}})?|\d{{4}}|{_UK_POSTCODE}|{_CANADIAN_POSTCODE})\b",
    ),
    as_written("address", rf"\b(?P<v>(?:{_PLACE},\s+)?{_STATE}\.?,?\s+\d{{5}}(?:-\d{{4}})?)(?![\w,.-]*\d)"),
    as_written("address", rf"\b(?P<v>{_PLACE},?\s+(?:NSW|VIC|QLD|WA|SA|TAS|ACT|NT),?\s+\d{{4}})\b"),
    as_written("address", r"(?:\b[A-Z][a-z][\w'.-]+,?|,)\s+(?P<v>[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2})\b"),
    as_written("address", rf"{_STREET}\b[^\n]{{0,40}}?(?P<v>[A-Z]\d[A-Z]\s\d[A-Z]\d|\b\d{{5}}-\d{{4}})\b"),
)

# --- names -------------------------------------------------------------------------------------------------------

_NOBODY = (
    r"(?!(?:The|This|She|He|Her|His|My|Bye|Oh|Doctor|Nurse|Patient|Miss|Mr|Mrs|Yes|Yeah|No|Not|Hi|Hello|Okay|Ok|Good|Well"
    r"|Thank|Thanks|Sure|And|But|What|How|When|Where|Who|Why|Is|Are|Do|Did|Does|Have|Has|Can|Could|Would|It|You|We|They|In"
    r"|On|At|For|Practitioners?|Managers?|Led|Staff|Education|Specialists?|Partnership|Mentor\w*|Care|Clinics?|Study"
    r"|General|University|Hospital|Medical|Department|Center|Centre|National|MRN|DOB|NHS|SSN|ID|Tel|Phone|Fax|Address|Age"
    r"|Date|Ward|Room|Bed)\b)"
)
"""Words with a capital that follow titles and cues and name nobody."""
_WORD = _NOBODY + r"[A-Z](?:'[A-Z])?[^\W\d_]+(?:['-][^\W\d_]+){0,3}"
"""A word of a name. No part of it can match in two ways or without bound, or a long text would take for ever."""
_PARTICLE = r"(?:(?:van|von|de|del|der|den|da|la|bin|al)\s)"
_NAME = rf"(?:[A-Z]\.\s?){{0,2}}{_WORD}(?:,?\s(?:[A-Z]\.\s)?{_PARTICLE}{{0,2}}{_WORD}){{0,2}}"
_TWO_NAMES = rf"{_WORD},?\s(?:[A-Z]\.?\s)?{_WORD}"
_KIN = (
    r"(?:son|daughter|wife|husband|mother|father|sister|brother|partner|niece|nephew|aunt|uncle|friend|cousin|carer"
    r"|caregiver|neighbou?r|grand(?:son|daughter|mother|father)|fianc[ée]e?)"
)

_NAMES = (
    as_written("name", rf"\b(?:(?:Mrs?|Ms|Mx|Dr|Prof|Rev)\b\.?|Miss|Professor|Doctor|Nurse|Sister)\s(?P<v>{_NAME})"),
    # In capitals MR is also a picture of the inside
    as_written(
        "name",
        r"\b(?:MRS?|DR|MISS)\b\.?\s+",
        r"(?P<v>(?!IMAG|ANGIO|SPECTR|ENTERO|CHOLANG|ARTHRO|SCAN|PATIENT|EXAM|FINDING|STUD)[A-Z][A-Z'-]{3,})\b",
    ),
    as_written(
        "name",
        r"(?i:\b(?:name(?:\s+of\s+[\w ]{3,16})?|next\s+of\s+kin|NOK|attending|physician|surgeon|signed|dictated\s+by",
        r"|emergency\s+contact|spouse|guardian|witness|informant|attn|cc)\s*:)\s*",
        rf"(?P<v>{_NAME})",
    ),
    as_written("name", rf"(?i:\bpt\s*:)\s*(?P<v>{_WORD},\s{_WORD})"),
    as_written(
        "name",
        rf"(?i:\b(?:pt|patient)\s*:)\s*(?P<v>{_TWO_NAMES})",
        r"(?=\s*(?:$|[\n;(|]|\b(?:DOB|MRN|NHS|ID|age)\b|\d))",
    ),
    as_written("name", rf"(?i:\bcc)\s+(?P<v>{_TWO_NAMES})"),
    as_written(
        "name",
        r"(?i:\b(?:signed|dictated|referred|reviewed|seen|examined|transcribed|interviewed)\s+by)\s*:?\s+",
        rf"(?P<v>{_TWO_NAMES})",
    ),
    as_written(
        "name",
        rf"\b(?P<v>{_WORD}\s(?:[A-Z]\.?\s)?{_WORD}),?\s",
        r"(?:M\.?D\.?|R\.?N\.?|Ph\.?D\.?|D\.?O\.?|N\.?P\.?|PA-C|FRCS|MRCP|MBBS|MBChB|LCSW)\b(?!\.?,?\s(?:USA|\d))",
    ),
    as_written("name", rf"(?i:\b(?:his|her|their|my)\s+(?:\w+\s+)?{_KIN})(?:,|\s+is)?\s+(?P<v>{_NAME})"),
    as_written(
        "name",
        r"(?i:\b(?:my\s+name\s+is|my\s+name's|(?:first|last|full|maiden)\s+name\s+is",
        r"|(?:man|woman|boy|girl|lady|gentleman|patient)\s+(?:named|called)))\s+",
        rf"(?P<v>{_NAME})",
    ),
    as_written("name", rf"(?i:\b(?:the|this)\s+patient),\s+(?P<v>{_TWO_NAMES}),"),
)

WORDS = (*_AGES, *_ADDRESSES, *_NAMES)
"""In order of preference."""
