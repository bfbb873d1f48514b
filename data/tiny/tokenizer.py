# SPDX-License-Identifier: Apache-2.0
"""The tiny model's tokenizer: byte-level BPE with LFM2's pre-tokenizer, special tokens and chat layout."""
import itertools
import json
import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import generate

VOCABULARY = 768
# LFM2's first ids, in its order.
SPECIAL = [f"<|{n}|>" for n in (
    "pad", "startoftext", "endoftext", "fim_pre", "fim_mid", "fim_suf", "im_start", "im_end", "tool_list_start",
    "tool_list_end", "tool_call_start", "tool_call_end", "tool_response_start", "tool_response_end")]
PAD, BOS, EOS = 0, 1, 7
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")

# ChatML as LFM2 writes it: the tools in the system message, a tool's answer between two tokens of its own.
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- set turns = messages -%}
{%- set system = "" -%}
{%- if turns[0].role == "system" -%}
    {%- set system = turns[0].content -%}
    {%- set turns = turns[1:] -%}
{%- endif -%}
{%- if tools -%}
    {%- set texts = [] -%}
    {%- for tool in tools -%}
        {%- set _ = texts.append(tool if tool is string else tool | tojson) -%}
    {%- endfor -%}
    {%- set before = system + "\\n" if system else "" -%}
    {%- set system = before + "List of tools: <|tool_list_start|>[" + texts | join(", ") + "]<|tool_list_end|>" -%}
{%- endif -%}
{%- if system -%}
    {{- "<|im_start|>system\\n" + system + "<|im_end|>\\n" -}}
{%- endif -%}
{%- for turn in turns -%}
    {%- set text = turn.content if turn.content is string else turn.content | tojson -%}
    {%- if turn.role == "tool" -%}
        {%- set text = "<|tool_response_start|>" + text + "<|tool_response_end|>" -%}
    {%- endif -%}
    {{- "<|im_start|>" + turn.role + "\\n" + text + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- "<|im_start|>assistant\\n" -}}
{%- endif -%}
"""


def train(documents=20000, seed=generate.SEED):
    r = random.Random(seed)
    t = Tokenizer(models.BPE(ignore_merges=False))
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    texts = ("".join(s for s, _ in generate.document(r)) for _ in range(documents))
    numbers = [" ".join(map(str, range(10, 100)))] * documents  # every number below 100 is one token
    t.train_from_iterator(itertools.chain(numbers, texts), trainer)
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<|startoftext|> $A", pair="<|startoftext|> $A <|startoftext|> $B",
                                      special_tokens=[("<|startoftext|>", BOS)])])
    return t


def save(t, folder):
    t.save(f"{folder}/tokenizer.json", pretty=False)
    added = {str(i): {"content": s, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                      "special": True} for i, s in enumerate(SPECIAL)}
    names = {"bos_token": SPECIAL[BOS], "eos_token": SPECIAL[EOS], "pad_token": SPECIAL[PAD]}
    config = {"add_bos_token": True, "add_eos_token": False, "added_tokens_decoder": added, **names,
              "clean_up_tokenization_spaces": False, "model_input_names": ["input_ids", "attention_mask"],
              "model_max_length": 2048, "tokenizer_class": "PreTrainedTokenizerFast"}
    for name, value in (("tokenizer_config.json", config), ("special_tokens_map.json", names)):
        with open(f"{folder}/{name}", "w") as f:
            json.dump(value, f, indent=1)
            f.write("\n")
    with open(f"{folder}/chat_template.jinja", "w") as f:
        f.write(CHAT_TEMPLATE)
