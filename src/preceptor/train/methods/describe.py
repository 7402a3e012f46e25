"""What a method is called in tables, and what it takes from the model's window."""

from __future__ import annotations

from preceptor.config import VIRTUAL, TrainSettings

NAMES = {"lora": "LoRA", "rslora": "rsLoRA", "dora": "DoRA"}


def reserved(settings: TrainSettings) -> int:
    """Positions of the model's window that the method takes away from the text."""
    return settings.virtual_tokens if settings.method in VIRTUAL else 0


def in_text(settings: TrainSettings) -> bool:
    """Whether the method's tokens stand inside the prompt, as words that are added to the vocabulary."""
    return settings.method == "prompt" and settings.prompt_position != "start"


def describe(settings: TrainSettings) -> str:
    """The method in words, for tables. alpha/r is shown because it scales every step that LoRA takes."""
    last = f", last {settings.last_layers} layers" if settings.last_layers is not None else ""
    return f"{_method(settings)}{last}, lr {settings.learning_rate:g}{_objectives(settings)}"


def _objectives(settings: TrainSettings) -> str:
    """Nothing for the label alone."""
    weights = {name: weight for name, weight in settings.objectives.model_dump().items() if weight}
    if weights == {"label": 1}:
        return ""
    return ", " + " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in weights.items())


def _method(settings: TrainSettings) -> str:
    count = settings.virtual_tokens
    match settings.method:
        case "full":
            return "all weights"
        case "ia3":
            return "IA3"
        case "prefix":
            projected = ", projected" if settings.projection else ""
            return f"prefix {count}, from {settings.initialisation}{projected}"
        case "prompt":
            before = {"before-question": settings.prompt_field, "before-answer": "answer"}
            place = before.get(settings.prompt_position)
            where = "at the start" if place is None else f"before the {place}"
            return f"prompt {count} {where}, from {settings.initialisation}"
        case "p-tuning":
            return f"p-tuning {count}"
        case name:
            divisor = "sqrt(r)" if name == "rslora" else "r"
            scale = f"alpha/{divisor} {settings.scale:g}"
            return f"{NAMES[name]} r {settings.rank}, alpha {settings.alpha:g} ({scale})"
