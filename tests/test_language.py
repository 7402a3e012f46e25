"""Which texts are taken for English and which for broken off: made-up ones, and real ones where they are present."""

from __future__ import annotations

import csv
import json
import random
import time
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from preceptor.language import looks_cut_off, looks_english

FOREIGN = {
    "French": "Le patient se plaint d'une toux sèche depuis trois jours. Il n'a pas de fièvre et prend du paracétamol.",
    "French without accents": "La patiente ne prend pas de medicaments et ne fume plus depuis deux ans.",
    "short French": "Oui, la tension est normale.",
    "French table": "Traitement | Dose\nmetformine | un comprimé le matin et le soir\nramipril | le soir, avec du pain",
    "German": "Die Patientin klagt seit drei Tagen über trockenen Husten. Sie hat kein Fieber und nimmt nichts ein.",
    "German with English words": "Der Patient will so an die frische Luft und hat in der Nacht nicht gut geschlafen.",
    "Spanish": "El paciente refiere tos seca desde hace tres días. No tiene fiebre y no toma ningún medicamento.",
    "Portuguese": "A doente refere tosse seca há três dias. Não tem febre e não toma medicamentos para a dor.",
    "Italian": "Il paziente riferisce tosse secca da tre giorni. Non ha febbre e non prende farmaci per il dolore.",
    "Dutch": "De patiënt hoest sinds drie dagen en heeft geen koorts. Zij was in de ochtend over het dieet bezorgd.",
    "Swedish": "Patienten har haft torrhosta i tre dagar och har inte feber. Hon tar inga läkemedel för det.",
    "Danish": "Patienten har hostet i tre dage og har ikke feber. Hun tager det roligt og er ellers rask.",
    "Polish": "Pacjent zgłasza suchy kaszel od trzech dni. Nie ma gorączki i nie przyjmuje leków, jest to pierwszy.",
    "Romanian": "Pacientul are tuse seacă de trei zile și nu are febră. Nu ia medicamente pentru durere.",
    "Turkish": "Hasta üç gündür kuru öksürük ve halsizlik tarif ediyor. Ateşi yok ve bir ilaç kullanmıyor.",
    "Indonesian": "Pasien mengeluh batuk kering dengan nyeri dada dan tidak ada demam pada hari ini.",
    "Czech": "Pacient si stěžuje na suchý kašel, který trvá tři dny. Horečku nemá a je bez léků, což není obvyklé.",
    "Hungarian": "A beteg három napja száraz köhögésre panaszkodik. Nem lázas, és nem szed gyógyszert, ez az első.",
    "Finnish": "Potilas on yskinyt kolme päivää, mutta hän ei ole kuumeinen. Lääkkeitä ei ole käytössä tai tarpeen.",
    "Russian": "Пациент жалуется на сухой кашель в течение трёх дней.",
    "Greek": "Ο ασθενής παραπονιέται για ξηρό βήχα εδώ και τρεις ημέρες.",
    "Chinese": "患者干咳三天，没有发烧。",
    "Japanese": "患者は三日前から咳が出ています。",
    "Arabic": "يشكو المريض من سعال جاف منذ ثلاثة أيام.",
    "Hindi": "रोगी को तीन दिन से सूखी खांसी है।",
    "Vietnamese": "Bệnh nhân ho khan ba ngày nay, không sốt và không dùng thuốc.",
    "unlisted": "Mgonjwa analalamika kikohozi kikavu kwa siku tatu zilizopita lakini hana homa wala maumivu ya kifua "
    "yoyote tangu alipofika hospitalini asubuhi",
}
"""Made-up sentences about a patient with a cough, or the like."""

ENGLISH = (
    "",
    "42",
    "27.5 kg/m²",
    "Yes",
    "maybe",
    "Asthma",
    "Entailment",
    "aspirin, metformin, lisinopril, atorvastatin",
    "Sjögren syndrome, Ménière disease, Behçet disease, Guillain-Barré syndrome",
    "β-blocker",
    "TNF-α and IL-1β rise in the first days.",
    "De novo lipogenesis",
    "metformin 500 mg po bid; aspirin 81 mg po od; eye drops os and od",
    "LES pressure low, LA dilated, DES suspected, UN normal",
    "MI, DM, CKD, COPD, LA, LES",
    "THE PATIENT IS WELL AND HAS NO COMPLAINTS",
    "s/p CABG, c/o CP, h/o DM, w/ SOB",
    '{"drug": "amoxicillin", "dose": "500 mg", "route": "oral", "frequency": "three times daily", "days": 7}',
    "| Test | Value |\n| --- | --- |\n| Sodium | 140 mmol/L |\n| Potassium | 4.1 mmol/L |",
    "hypertension\ntype 2 diabetes\nchronic kidney disease\natrial fibrillation\ngout\nosteoarthritis\ncataract"
    "\nobesity\nobstructive sleep apnoea\ndepression\nmigraine\npsoriasis",
    "Alert, oriented, chest clear, abdomen soft, extremities warm, gait steady.",
    "Ragu alla Bolognese\nSpaghetti alla Carbonara",
    "The word is spelled “la migraña” and used with an article, so “el” would be wrong here.",
)


@pytest.mark.parametrize("language", FOREIGN)
def test_other_languages_are_not_english(language: str) -> None:
    assert not looks_english(FOREIGN[language])
    assert not looks_english(unicodedata.normalize("NFD", FOREIGN[language]))
    assert not looks_english(f"\n{FOREIGN[language]}\n\n{FOREIGN[language]}")


@pytest.mark.parametrize("text", ENGLISH)
def test_english_short_texts_lists_and_terms_are_english(text: str) -> None:
    assert looks_english(text)


def test_capitals_do_not_hide_a_language() -> None:
    assert not looks_english("LE PATIENT EST STABLE ET NE PREND PAS DE MEDICAMENTS")


COMPLETE = (
    "",
    "No",
    "Contradiction",
    "Blood group O-",
    "The tumour is HER2-",
    "Metformin 500 mg twice daily",
    "The patient is stable.",
    "Is the patient stable?",
    "He said: “It is over.”",
    "aspirin 81 mg daily, metformin 500 mg twice daily, lisinopril 10 mg daily, atorvastatin 40 mg at night, insulin",
    "hypertension; type 2 diabetes; chronic kidney disease; atrial fibrillation; gout; osteoarthritis of both knees",
    "Take the tablet with food and water.\nDo not crush it under any circumstances.\n- Call us with questions about it",
    "1. Wash the hands for twenty seconds\n2. Put on gloves\n3. Clean the skin and let it dry before the stick",
    "The dose is weight times ten, and the weight is 12 kg in this child.\n12 kg × 10 mg/kg = 120 mg",
    "BMI = 80 kg / (1.75 m × 1.75 m) = 80 / 3.06 and that is 26.1 kg/m²",
    "Effect of a daily walk on blood pressure in adults over sixty: a randomised trial of twelve weeks",
    "Daily walking and blood pressure in older adults. A randomised trial with blinded assessment over twelve weeks",
    "The pain began on the day before the fever, and the rash came last of all.\nAnswer: pain, fever, rash",
    "Dear patient,\nYour results are normal and no further test is needed at the moment.\nKind regards\nThe clinic",
    "| Test | Value |\n| --- | --- |\n| Sodium in the first sample of the day | 140 mmol/L |",
    "The text should contain ten words or more, so here it is.\n```\na fence that is closed\n```",
    '{"drug": "amoxicillin", "doses": [{"mg": 500}]}',
    "**The patient was seen in clinic today and is doing well on the current treatment.**",
    "patient → nurse → doctor → pharmacist → patient at home → nurse at the next visit",
)
BROKEN = (
    "The patient should take",
    "- aspirin\n- metformin\n- lisino-",
    "aspirin, metformin,",
    "The findings are:",
    "He has two complaints (",
    "She was told to follow-",
    "He said “",
    "Nothing was found in the",
    "The tablets were stopped because",
    "The report is here:\n```\nSodium 140",
    '{"drug": "amoxicillin", "doses": [{"mg": 500}',
    '[\n  {"drug": "amoxicillin"}',
    "The patient was seen in clinic today and is doing well. The next visit takes pla",
    "Insulin lowers glucose by moving it into muscle and fat cells, and in the liver it will stop the rele",
    "The first cause is an infection of the urinary tract.\n\nThe second cause, which one sees more in older men, is a",
    "A cough of three days is most often viral and needs no antibiotic in healthy adults.\nRest and fluids are enough",
    "The risk is higher in smokers, in people with diabetes, in people over sixty and in those who were",
)


@pytest.mark.parametrize("text", COMPLETE)
def test_complete_texts_are_not_cut_off(text: str) -> None:
    assert not looks_cut_off(text)
    assert not looks_cut_off(f"{text}\n ")


@pytest.mark.parametrize("text", BROKEN[1:])
def test_texts_that_break_off(text: str) -> None:
    assert looks_cut_off(text)


def test_a_few_words_may_stand_without_a_full_stop() -> None:
    """Nothing in so short a text tells a label from a beginning."""
    assert not looks_cut_off(BROKEN[0])


def notes(data_root: Path) -> list[str]:
    found = []
    for part in ("TrainingSet", "ValidationSet", "TestSet-1-MEDIQA-Chat-2023"):
        path = data_root / "mts-dialog" / f"MTS-Dialog-{part}.csv"
        if not path.is_file():
            pytest.skip(f"no {path}")
        with path.open(encoding="utf-8", newline="") as file:
            found += [row["section_text"] for row in csv.DictReader(file)]
    return found


def conclusions(data_root: Path) -> list[str]:
    items = json.loads((data_root / "pubmedqa" / "ori_pqal.json").read_text(encoding="utf-8"))
    return [item["LONG_ANSWER"] for item in items.values()]


def share(texts: Iterable[str], holds: Callable[[str], bool]) -> float:
    held = [holds(text) for text in texts]
    return sum(held) / len(held)


@pytest.mark.parametrize("read", [notes, conclusions])
def test_real_notes_and_conclusions_are_english_and_complete(
    data_root: Path, read: Callable[[Path], list[str]]
) -> None:
    texts = read(data_root)
    assert len(texts) >= 1000
    assert share(texts, looks_english) >= 0.995
    assert share(texts, looks_cut_off) <= 0.005


@pytest.mark.parametrize("read", [notes, conclusions])
def test_most_real_texts_cut_at_a_random_word_are_found(data_root: Path, read: Callable[[Path], list[str]]) -> None:
    generator = random.Random(1)
    long = [words for text in read(data_root) if len(words := text.split()) > 20]
    cut = [" ".join(words[: generator.randrange(14, len(words))])[:-1] for words in long]
    assert len(cut) > 500
    assert share(cut, looks_cut_off) >= 0.75


def test_long_texts_take_no_long_time() -> None:
    start = time.process_time()
    for text in ("word " * 40_000, "a" * 200_000, "[" * 200_000, "(" * 200_000 + "x", "x. " * 60_000, " -" * 100_000):
        looks_english(text)
        looks_cut_off(text)
    assert time.process_time() - start < 5
