"""`preceptor doctor`: what this machine has, what is missing, and the line that installs it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass

from preceptor.errors import PreceptorError
from preceptor.models.builtin import BUILTIN, locate
from preceptor.store.provenance import machine
from preceptor.teachers.phi_names import INSTALL, INSTALL_MODEL, has_presidio, installed_models

PACKAGES = {
    "torch": ("training and scoring", 'pip install "preceptor[train]"'),
    "transformers": ("training and scoring", 'pip install "preceptor[train]"'),
    "peft": ("LoRA and prefix tuning", 'pip install "preceptor[train]"'),
    "gguf": ("the built-in SmolLM2", 'pip install "preceptor[train]"'),
    "datasets": ("data from the Hugging Face hub", 'pip install "preceptor[hub]"'),
    "presidio_analyzer": ("names, and numbers of many countries, in the check for identifiers", INSTALL),
}
OPTIONAL = frozenset({"datasets", "presidio_analyzer"})
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TOGETHER_API_KEY", "AZURE_OPENAI_API_KEY", "HF_TOKEN")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination."""

    name: str
    state: str
    """`ok`, `missing`, or `-` where neither applies."""
    words: str


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings."""

    findings: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        """Whether nothing that the demo needs is missing."""
        return all(f.state != "missing" for f in self.findings)

    @property
    def text(self) -> str:
        """A table for people."""
        width = max(len(f.name) for f in self.findings)
        lines = [f"{f.name:<{width}}  {f.state:<7}  {f.words}" for f in self.findings]
        verdict = (
            "Ready." if self.ready else "Something is missing: run the lines above, then `preceptor doctor` again."
        )
        return "\n".join([*lines, verdict])


def examine() -> Examination:
    """Look at packages, devices, models and keys. Never shows a key's value."""
    return Examination((*_machine(), *_packages(), *_names(), *_devices(), *_models(), *_keys()))


def _machine() -> Iterator[Finding]:
    found = machine()
    yield Finding("python", "ok", f"{found['python']} on {found['system']}")
    yield Finding("processor", "ok", f"{found['processor']}, {found['cores']} cores usable")


def _packages() -> Iterator[Finding]:
    for name, (purpose, install) in PACKAGES.items():
        if importlib.util.find_spec(name) is not None:
            yield Finding(name, "ok", importlib.metadata.version(name))
        else:
            yield Finding(name, "-" if name in OPTIONAL else "missing", f"needed for {purpose}: {install}")


def _names() -> Iterator[Finding]:
    """Whether the check for identifiers can find names that nothing announces. Downloads nothing."""
    models = installed_models()
    if not models:
        without = "no spaCy model is installed: the check finds names behind titles and cues only"
        yield Finding("names", "-", f"{without}: {INSTALL_MODEL}")
    elif not has_presidio():
        yield Finding("names", "-", f"the spaCy model {models[0].name} is there, presidio is not: {INSTALL}")
    else:
        yield Finding("names", "ok", f"found with the spaCy model {models[0].name}")


def _devices() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        return
    import torch

    from preceptor.models.load import fast_bfloat16

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(index).total_memory / 2**30
            yield Finding(f"cuda:{index}", "ok", f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    else:
        yield Finding("cuda", "-", "no CUDA device: students train on the CPU")
    yield Finding("threads", "ok", f"torch computes with {torch.get_num_threads()}")
    native = "native: used" if fast_bfloat16() else "emulated: float32 is used instead"
    yield Finding("bfloat16", "ok" if fast_bfloat16() else "-", native)


def _models() -> Iterator[Finding]:
    for name, model in BUILTIN.items():
        try:
            locate(name)
        except PreceptorError as error:
            yield Finding(name, "missing", f"{error.message} {error.hint}")
        else:
            yield Finding(name, "ok", f"SHA-256 {model.sha256[:16]}… verified, {model.licence}")


def _keys() -> Iterator[Finding]:
    for name in KEYS:
        yield Finding(name, "-", "set" if os.environ.get(name) else "not set")
