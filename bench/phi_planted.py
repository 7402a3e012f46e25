"""Made-up identifiers, written as people write them in notes, and planted into other texts at random places.

Every spelling is a template: `[[...]]` marks the identifier, `#` becomes a digit, `%` a digit other than 0, `?` a
capital letter, and `{...}` a drawn value. Half of each kind's templates belong to the development half and the others
to the counted half, so what is counted was not only drawn with another seed but is spelt in other ways.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Half = Literal["development", "counted"]

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TENS = ("ninety", "ninety-one", "ninety-two", "ninety-four", "ninety-seven", "a hundred", "one hundred and two")

FIRST = (
    "Rosa", "Kwame", "Ingrid", "Tomasz", "Aisha", "Declan", "Mei", "Pedro", "Gudrun", "Ravi", "Siobhan", "Tariq",
    "Olga", "Bram", "Chidi", "Noor", "Agnes", "Lucía", "Hiroshi", "Eilidh", "Marek", "Fatima", "George", "Beatrice",
    "Yusuf", "Hannah", "Walter", "Priya", "Dmitri", "Colette",
)  # fmt: skip
LAST = (
    "Alvarez", "Osei", "Lindqvist", "Kowalczyk", "Rahman", "O'Brien", "Zhang", "Carvalho", "Hallgrímsdóttir", "Iyer",
    "McAllister", "Aziz", "Petrova", "Vandenberg", "Okafor", "Haddad", "Whitcombe", "Ibáñez", "Tanaka", "Drummond",
    "Nowak", "El-Sayed", "Pemberton", "Achterberg", "Yilmaz", "Goldfarb", "Ashworth", "Menon", "Sokolov", "Duquesne",
)  # fmt: skip
STREETS = (
    "Oakhurst",
    "Elm",
    "Harley",
    "Banksia",
    "Lamar",
    "Whitmore",
    "St. Andrews",
    "Mill",
    "Kingsway Park",
    "Juniper",
)
TOWNS = ("Springfield", "Harrow", "Fitzroy", "Dundee", "Eau Claire", "Galway", "Tacoma", "Bexley")
HOSTS = (
    "stmaryclinic.org",
    "northvale-hospital.com",
    "gmail.com",
    "nhs.net",
    "health.example.co.uk",
    "mail.example.edu",
)

DATE = """
Seen on [[{m}/{d}/{y}]] in clinic.
admitted [[{mm}/{dd}/{yy}]] with chest pain
Operation [[{d} {Month} {y}]].
[[{Month} {d}, {y}]]: started on metoprolol.
DOB: [[{dd}.{mm}.{y}]]
born [[{th} of {Month} {y}]]
discharged [[{y}-{mm}-{dd}]]
follow-up [[{dd}-{Mon}-{y}]]
biopsy of [[{Mon} {d} {y}]] was benign
blood drawn [[{dd}{MON}{y}]] at 07:40
[[{d}/{m}/{yy}]] tel. contact with the ward
he died on the [[{th} {Month}, {y}]]
D.O.B. [[{d}-{m}-{y}]]
last visit [[{Mon}. {th}, {y}]]
[[{y}/{mm}/{dd}]] CT head normal
surgery was [[{Weekday}, {Month} {d}, {y}]]
date of death [[{d} {Mon} '{yy}]]
[[{mm}-{dd}-{yy}]] labs reviewed
StudyDate [[{y}{mm}{dd}]]
Seen [[{Month} {th}]] and again a week later.
came back on [[{m}/{d}]] with fever
ECG recorded [[{y}-{mm}-{dd}T07:40:12]]
dictated [[{dd}.{mm}.{yy}]]
(transferred [[{Mon} {d}, '{yy}]])
the fall was on [[{Month} the {th}]]
Date: [[{dd} {MON} {y}]]
seen by me [[{d}.{m}.{y}]], stable
expired [[{Mon} {dd}, {y}]]
"""

AGE = """
a [[{old}-year-old]] woman with dementia
Mother, aged [[{old}]], is well.
[[{old} y/o]] male
[[{old} yo]] F with a fall
age: [[{old}]]
she is [[{ninety} years old]]
Pt is [[{old} years of age]]
celebrated her [[{old}th birthday]] on the ward
a [[{old} year old]] man
[[{old}yo]] widower
this [[{old}-yr-old]] lady
lived alone until the age of [[{old}]]
[[{old} years old]], lives with his niece
Age [[{old} yrs]]
"""

PHONE = """
call [[({area}) {exch}-####]]
phone [[{area}-{exch}-####]]
[[{area}.{exch}.####]] (mobile)
reach her at [[+1 {area} {exch} ####]]
[[1-{area}-{exch}-####]] is the daughter's number
London office [[+44 20 7### ####]]
home [[020 8### ####]]
mob. [[07### ######]]
Tel [[+44 (0)161 ### ####]]
fax [[{area}/{exch}-####]]
Fax: [[+49 89 ########]]
ring [[+61 2 9### ####]]
his cell is [[{area}{exch}####]]
(tel. [[0161 496 0###]])
ward phone [[{exch}-####]]
pager [[%####]]
[[({area}){exch}-####]], ask for the son
GP surgery [[01224 ######]]
Telephone number [[00 33 1 ## ## ## ##]]
[[+1-{area}-{exch}-####]] ext 221
[[+91 98### #####]] (wife)
contact: [[{area} {exch} ####]]
"""

EMAIL = """
write to [[{first}.{last}@{host}]]
[[{last}##@{host}]]
e-mail: [[{first}_{last}@{host}]]
results go to [[{LAST}@{HOST}]]
<[[{f}{last}@{host}]]>
[[{first}+clinic@{host}]] is preferred
mailto:[[{first}-{last}@{host}]]
(contact [[{f}.{last}#@{host}]])
[[{first} at {host}]]
email [[{first}.{last} [at] {host}]]
"""

URL = """
see [[https://portal.stmaryclinic.org/patients/8####]]
photos at [[http://www.{last}family.com/album]]
his page [[www.{first}{last}.net]]
[[facebook.com/{first}.{last}]]
profile: [[https://www.linkedin.com/in/{first}-{last}-##]]
chart [[https://mychart.northvale.org/view?id=######&v=2]]
images under [[ftp://10.4.7.9/pacs/######]]
blogs on [[{first}{last}.wordpress.com]]
[[http://172.16.4.2:8080/pt/#####]]
tweets as [[twitter.com/{first}_{last}]]
video call on [[meet.example-health.org/{last}-###]]
"""

IP = """
logged in from [[10.{o}.{o}.{o}]]
IP [[192.168.{o}.{o}]]
([[{o2}.{o}.{o}.{o}]])
IP address: [[{o2}.{o}.{o}.{o}]]
server [[172.16.{o}.{o}]]:8080
access by [[2001:0db8:{h}:{h}:{h}:{h}:{h}:{h}]]
client [[fe80::{h}:{h}:{h}:{h}]]
from host [[2001:db8:{h}::{h}]] at night
"""

SSN = """
SSN: [[{ssn3}-##-####]]
SSN [[{ssn3} ## ####]]
ssn [[{ssn3}######]]
social security no. [[{ssn3}-##-####]]
her social security number is [[{ssn3}-##-####]]
[[{ssn3}-##-####]] on the form
SS# [[{ssn3}-##-####]]
Soc. Sec. #: [[{ssn3}-##-####]]
SSN ending in [[####]]
National Insurance number [[{ni}]]
NI no. [[{ni}]]
last 4 of social: [[####]]
"""

RECORD = """
MRN: [[#######]]
MRN#[[######]]
(MRN [[##-##-##-##]])
medical record number [[#####-#]]
Med. Rec. No. [[######]]
chart no. [[?#####]]
Chart #: [[########]]
NHS number [[{nhs}]]
NHS no: [[{nhs10}]]
[[{nhs}]] taken from the wristband
Hospital no. [[?######]]
hosp. number [[#######]]
patient ID: [[P-0####]]
Pt ID [[#####]]
accession [[S04-#####]]
sample no. [[??-####-##]]
Specimen ID [[########]]
account number [[000-#####-#]]
Acct # [[##########]]
policy no. [[???#######]]
insurance ID: [[???%########]]
Medicare number [[1EG4-TE5-MK7#]]
member ID [[W#########]]
health card [[####-###-###-??]]
encounter number [[#########]]
visit no. [[V########]]
case number [[#####/##]]
lab no. [[04H#######]]
CHI number [[##########]]
UR number [[#######]]
DEA number [[?{L}#######]]
medical licence number [[G#####]]
NPI [[1#########]]
passport no. [[#########]]
card [[{card}]] was charged
hospital number was [[??######]]
record # [[#######]]
patient number [[######]]
study patient no. [[##-####]] (real number)
Case ID: [[CX-#####]]
unit no. [[### ## ##]]
bank account [[{iban}]]
prescription number [[Rx #######]]
beneficiary number [[#########A]]
"""

VEHICLE = """
VIN [[{vin}]]
vehicle identification number [[{vin}]]
licence plate [[??## ???]]
license plate [[???-####]]
plate number [[7???###]]
number plate [[??## ???]]
car reg. [[??## ???]]
his car ([[{vin}]]) was found
drove a blue van, registration [[??## ???]],
Vehicle reg no: [[?### ???]]
tag no. [[??? ###]]
motorcycle plate: [[####-??]]
"""

DEVICE = """
pacemaker serial no. [[PJN######]]
S/N [[???#####]]
device ID [[##-####-?]]
Serial number: [[########]]
insulin pump serial # [[SN-######]]
IMEI [[35###########%#]]
MAC address [[{x}:{x}:{x}:{x}:{x}:{x}]]
UDI [[(01)00812345######]]
ICD generator s/n [[BLH######?]]
lead serial [[LFP######]]
hearing aid ser. no. [[?##-#####]]
ventilator SN: [[?##########]]
Device identifier [[0########]]
implant with serial [[??######]]
"""

ADDRESS = """
lives at [[%### {street} Avenue]]
[[%# {street} Close]], {town}
[[%## {street} Ave., Apt %B]]
home address [[%# {street} Road, {town}]]
[[P.O. Box %###]]
[[Flat %, %# {street} Street]]
moved to [[%### N. {street} Blvd]]
found at [[%##B {street} St]]
{town}, [[IL 6####]]
ZIP [[6####-####]]
postcode [[SW1A 2{a}{a}]]
zip code [[9####]]
[[{town}, TX 7####-%###]]
letter sent to [[%# {street} Lane, {town} NW3 4{a}{a}]]
[[Unit %, %# {street} Road, {town} VIC 3###]]
Address: [[Suite %00, %## {street} Street]]
resident of [[%## {street} Terrace]]
[[Rural Route %, Box ##]]
the house in [[%# {street} Drive]]
next of kin at [[%### {street} Ct.]]
[[%### West {street} Pkwy]], second floor
post code [[EH12 9{a}{a}]]
PO box [[%####]]
Addr [[%### %%th Street]]
"""

TITLED = """
Mr. [[{First} {Last}]] was seen.
Mrs [[{Last}]] agreed.
I saw Ms. [[{Last}]] today.
Dr [[{Last}]] reviewed the films.
Prof. [[{First} {Last}]] was consulted.
Miss [[{Last}]] declined.
Discussed with Dr. [[{F}. {Last}]].
Sister [[{Last}]] called.
Nurse [[{Last}]] reports pain.
MR [[{LAST}]] ATTENDED
"""

CUED = """
Patient name: [[{First} {Last}]]
Pt: [[{Last}, {First}]]
Name: [[{First} {F}. {Last}]]
referred by [[{First} {Last}]], MD
her daughter [[{First}]] came along
Signed: [[{First} {Last}]]
Next of kin: [[{First} {Last}]]
cc [[{First} {Last}]], RN
the patient, [[{First} {Last}]], agreed
my name is [[{First}]]
"""

BARE = """
[[{First} {Last}]] was seen in clinic.
We spoke to [[{First} {Last}]] again.
[[{Last}]] felt better the next day.
Then [[{First}]] began to cough.
As [[{F}. {Last}]] told us, the pain began at night.
[[{First} {F}. {Last}]] lives alone.
The pain that [[{First} {Last}]] described was dull.
Seen with [[{First}]] and her son.
"""

KINDS = {
    "date": DATE,
    "age": AGE,
    "phone": PHONE,
    "email": EMAIL,
    "url": URL,
    "ip": IP,
    "ssn": SSN,
    "record": RECORD,
    "vehicle": VEHICLE,
    "device": DEVICE,
    "address": ADDRESS,
}
"""Kind -> spellings, a line each. Names are apart: `NAMES`."""

NAMES = {"with a title": TITLED, "with a cue": CUED, "bare": BARE}


@dataclass(frozen=True, slots=True)
class Planted:
    """One identifier inside a text of other things."""

    kind: str
    text: str
    start: int
    end: int
    """The identifier is `text[start:end]`."""


def spellings(lines: str, half: Half) -> list[str]:
    """The templates of one half. Order and halves come from the templates' hashes, not from who wrote them when."""
    ordered = sorted(filter(None, lines.splitlines()), key=lambda line: hashlib.sha256(line.encode()).hexdigest())
    return ordered[0 if half == "development" else 1 :: 2]


def plant(texts: Sequence[str], kinds: dict[str, str], number: int, half: Half, seed: int) -> list[Planted]:
    """`number` texts, each with one identifier; the kinds take turns, and so do the spellings within a kind."""
    rng = random.Random(f"{seed} {half} {sorted(kinds)}")
    found = []
    for index in range(number):
        kind = list(kinds)[index % len(kinds)]
        lines = spellings(kinds[kind], half)
        before, inner, after = fill(lines[index // len(kinds) % len(lines)], rng)
        host = rng.choice(texts)
        place = rng.choice([0, len(host), *(gap.start() for gap in re.finditer(r"(?<=[.!?]) | ", host))])
        head = f"{host[:place]} {before}".lstrip()
        text = f"{head}{inner}{after} {host[place:].lstrip()}".rstrip()
        found.append(Planted(kind, text, len(head), len(head) + len(inner)))
    return found


def fill(template: str, rng: random.Random) -> tuple[str, str, str]:
    """The template with drawn values: what stands before the identifier, the identifier, and what follows."""
    for key, value in values(rng).items():
        template = template.replace("{" + key + "}", value)
    template = re.sub(r"\{(o|o2|h|x|a|L)\}", lambda slot: again(slot.group(1), rng), template)
    before, inner, after = re.split(r"\[\[|\]\](?!\])", template, maxsplit=2)
    signs = {"#": "0123456789", "%": "123456789", "?": "ABCDEFGHJKLMNPRSTVWXY"}
    # In the addresses of pages only digits are drawn: there `?` and `%` mean themselves.
    drawn = re.sub("[#]" if "://" in inner else "[#%?]", lambda sign: rng.choice(signs[sign.group()]), inner)
    return before, drawn, after


def again(slot: str, rng: random.Random) -> str:
    """A value of one of the slots that differ each time they stand in a template."""
    match slot:
        case "o":
            return str(rng.randint(1, 254))
        case "o2":
            return str(rng.choice([r for r in range(20, 224) if r not in (127, 172, 192)]))
        case "h":
            return f"{rng.randint(4096, 65535):x}"
        case "x":
            return f"{rng.randint(0, 255):02X}"
        case _:
            return rng.choice("ABDEFGHJLNPQRSTUWXYZ")


def values(rng: random.Random) -> dict[str, str]:
    """One draw of everything that a template may name."""
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1931, 2023)
    first, last, host = rng.choice(FIRST), rng.choice(LAST), rng.choice(HOSTS)
    suffix = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    plain = {"first": ascii_of(first), "last": ascii_of(last)}
    return {
        "d": str(day),
        "dd": f"{day:02}",
        "th": f"{day}{suffix}",
        "m": str(month),
        "mm": f"{month:02}",
        "y": str(year),
        "yy": f"{year % 100:02}",
        "Month": MONTHS[month - 1],
        "Mon": MONTHS[month - 1][:3],
        "MON": MONTHS[month - 1][:3].upper(),
        "Weekday": rng.choice(DAYS),
        "old": str(rng.choice([90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 104])),
        "ninety": rng.choice(TENS),
        "area": f"{rng.randint(201, 989)}",
        "exch": f"{rng.randint(220, 989)}",
        "ssn3": f"{rng.randint(1, 665):03}",
        "ni": rng.choice(["JG 10 37 59 A", "AB123456C", "PW-22-84-01-D", "CE 88 17 43 B"]),
        "nhs": spaced(nhs(rng)),
        "nhs10": nhs(rng),
        "card": rng.choice(["4111 1111 1111 1111", "5500005555555559", "3782 822463 10005", "6011-0009-9013-9424"]),
        "iban": rng.choice(
            ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "FR14 2004 1010 0505 0001 3M02 606"]
        ),
        "vin": rng.choice(["1HGCM82633A004352", "WAUZZZ8K9AA123456", "5YJSA1DG9DFP14705", "1M8GDM9AXKP042788"]),
        "street": rng.choice(STREETS),
        "town": rng.choice(TOWNS),
        "host": host,
        "HOST": host.upper(),
        "first": plain["first"],
        "f": plain["first"][0],
        "last": plain["last"],
        "LAST": last.upper(),
        "First": first,
        "F": first[0],
        "Last": last,
    }


def ascii_of(name: str) -> str:
    """The name as it stands in addresses."""
    return name.lower().translate(str.maketrans("íóðáñ", "iodan", "'-"))


def nhs(rng: random.Random) -> str:
    """Ten digits whose last is the check digit of the NHS number (weights 10 to 2, modulo 11)."""
    while True:
        digits = [rng.randint(1, 9), *(rng.randint(0, 9) for _ in range(8))]
        check = -sum(weight * digit for weight, digit in zip(range(10, 1, -1), digits, strict=True)) % 11
        if check != 10:
            return "".join(map(str, [*digits, check]))


def spaced(number: str) -> str:
    """3 3 4, as it is printed."""
    return f"{number[:3]} {number[3:6]} {number[6:]}"
