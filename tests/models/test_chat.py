"""What is trained is what is asked: targets are the template's own rendering, after exactly the prompt of inference."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from preceptor.errors import ModelError
from preceptor.models.chat import ALPACA, ALPACA_WITH_INPUT, make_form
from preceptor.models.load import Loaded, load_causal
from preceptor.records import Instruction, user_text

WITH = Instruction("a", " does the drug improve pain ? ", "pain fell \n", "yes", "other")
WITHOUT = Instruction("b", "does the drug improve pain ?", " \n", "no", "other")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("followers")
    return {
        "llama": tiny.save_follower(root / "llama", "llama"),
        "plain": tiny.save_follower(root / "plain", "llama", template=None),
    }


@pytest.fixture
def chat(folders: dict[str, Path]) -> Loaded:
    return load_causal(str(folders["llama"]), "float32")


@pytest.fixture
def plain(folders: dict[str, Path]) -> Loaded:
    return load_causal(str(folders["plain"]), "float32")


def said(loaded: Loaded, form: str, item: Instruction, answer: str) -> tuple[list[int], tuple[int, ...]]:
    """Prompt and target."""
    made = make_form(loaded, form)
    prompts = made.prompt_ids([item])
    return prompts[0], made.answer_ids([item], prompts, [answer])[0].target


def test_the_users_words_are_the_instruction_and_its_input() -> None:
    assert user_text(WITH) == "does the drug improve pain ?\n\npain fell"
    assert user_text(WITHOUT) == "does the drug improve pain ?"


@pytest.mark.parametrize("item", [WITH, WITHOUT])
@pytest.mark.parametrize("answer", ["yes", "maybe not sure .", " no \n"])
def test_prompt_and_target_are_the_templates_own_rendering(chat: Loaded, item: Instruction, answer: str) -> None:
    prompt, target = said(chat, "chat", item, answer)
    turns = [{"role": "user", "content": user_text(item)}]
    words = chat.tokenizer
    asked = words.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    whole = words.apply_chat_template(
        [*turns, {"role": "assistant", "content": answer.strip()}], add_generation_prompt=False, return_dict=False
    )
    assert prompt == list(asked)
    assert [*prompt, *target] == list(whole)  # the line break after the mark is no token of this tokenizer
    assert target[-1] == words.eos_token_id


def test_what_a_template_writes_after_the_end_mark_is_not_trained(chat: Loaded) -> None:
    chat.tokenizer.chat_template = tiny.TEMPLATE.replace("</s>\n", "</s> word")
    _, target = said(chat, "chat", WITH, "yes")
    assert chat.tokenizer.convert_ids_to_tokens(list(target)) == ["yes", "</s>"]


def test_a_template_without_an_end_mark_gets_the_tokenizers_own(chat: Loaded) -> None:
    chat.tokenizer.chat_template = tiny.TEMPLATE.replace("</s>\n", " .")
    _, target = said(chat, "chat", WITH, "yes")
    assert chat.tokenizer.convert_ids_to_tokens(list(target)) == ["yes", ".", "</s>"]


def test_a_default_system_message_stays(chat: Loaded) -> None:
    chat.tokenizer.chat_template = "{{ '<s>trial </s>' }}" + tiny.TEMPLATE
    prompt, target = said(chat, "chat", WITHOUT, "yes")
    assert chat.tokenizer.convert_ids_to_tokens(prompt)[:3] == ["<s>", "trial", "</s>"]
    assert chat.tokenizer.convert_ids_to_tokens(list(target)) == ["yes", "</s>"]


def test_alpacas_wording_is_the_published_one() -> None:
    # train.py of github.com/tatsu-lab/stanford_alpaca; models tuned by it know these very words.
    assert ALPACA_WITH_INPUT == (
        "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}"
        "\n\n### Response:"
    )
    assert ALPACA == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\n{instruction}\n\n### Response:"
    )


@pytest.mark.parametrize(("item", "wording"), [(WITH, ALPACA_WITH_INPUT), (WITHOUT, ALPACA)])
def test_alpacas_form_ends_with_the_end_mark(plain: Loaded, item: Instruction, wording: str) -> None:
    prompt, target = said(plain, "auto", item, "maybe not sure")
    text = wording.format(instruction=item.instruction.strip(), input=item.input.strip())
    assert prompt == list(plain.tokenizer(text)["input_ids"])
    assert prompt[0] == plain.tokenizer.bos_token_id
    assert plain.tokenizer.convert_ids_to_tokens(list(target)) == ["maybe", "not", "sure", "</s>"]


def test_an_answer_that_would_join_the_prompts_last_token_stands_for_itself(plain: Loaded) -> None:
    together = plain.tokenizer.tokenize("### Response:? yes")
    assert together[-2:] == ["<unk>", "yes"]  # ":?" is one word to this tokenizer
    prompt, target = said(plain, "alpaca", WITHOUT, "? yes")
    assert prompt == list(plain.tokenizer(ALPACA.format(instruction=WITHOUT.instruction))["input_ids"])
    assert plain.tokenizer.convert_ids_to_tokens(list(target)) == ["?", "yes", "</s>"]


def test_auto_takes_the_template_where_there_is_one(chat: Loaded, plain: Loaded) -> None:
    assert make_form(chat, "auto").name == "chat"
    assert make_form(chat, "alpaca").name == "alpaca"
    assert make_form(plain, "auto").name == "alpaca"


def test_chat_without_a_template_is_one_sentence(plain: Loaded) -> None:
    with pytest.raises(ModelError, match=r"^The tokenizer of .* has no chat template\.") as caught:
        make_form(plain, "chat")
    assert 'form = "alpaca"' in caught.value.hint


def test_a_template_that_rewrites_the_question_once_it_is_answered_is_refused(chat: Loaded) -> None:
    chat.tokenizer.chat_template = "{{ messages | length }}" + tiny.TEMPLATE
    with pytest.raises(ModelError, match="trained on other prompts than it is asked"):
        make_form(chat, "chat")


def test_a_template_that_cannot_be_rendered_is_one_sentence(chat: Loaded) -> None:
    chat.tokenizer.chat_template = "{{ raise_exception('a system turn is needed') }}"
    with pytest.raises(ModelError, match="cannot show an instruction: a system turn is needed"):
        make_form(chat, "auto")


@pytest.mark.long
def test_the_built_in_models_own_template() -> None:
    """A real tokenizer: line breaks are tokens here, so what stands around an answer shows."""
    loaded = load_causal("builtin:smollm2-135m-instruct", "float32")
    words = loaded.tokenizer
    prompt, target = said(loaded, "auto", WITH, "\n 12 mg, yes.\n")
    assert words.decode(prompt) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\ndoes the drug improve pain ?\n\npain fell<|im_end|>\n<|im_start|>assistant\n"
    )
    assert words.decode(list(target)) == "12 mg, yes.<|im_end|>"
    whole = words.apply_chat_template(
        [{"role": "user", "content": user_text(WITH)}, {"role": "assistant", "content": "12 mg, yes."}],
        return_dict=False,
    )
    assert [*prompt, *target, *words("\n", add_special_tokens=False)["input_ids"]] == list(whole)
    alpaca, target = said(loaded, "alpaca", WITHOUT, " yes ")
    assert words.decode(alpaca) == ALPACA.format(instruction=WITHOUT.instruction)
    assert words.decode(list(target)) == "yes<|im_end|>"
