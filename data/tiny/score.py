# SPDX-License-Identifier: Apache-2.0
"""Scores a folder with Transformers in float32, as lm-eval would, and keeps every item's result for the tests.

python score.py [EVERY]    every item, or every 2nd, 3rd ...; writes expected_gsm8k.jsonl.gz, expected_mmlu.jsonl.gz and expected.json beside this file
"""
import csv
import gzip
import hashlib
import json
import math
import os
import random
import re
import sys
from itertools import groupby

import torch
import tokenizers
import transformers

import generate
import train

HERE = os.path.dirname(os.path.abspath(__file__))
SHOTS, MOST, BATCH = 5, 128, 32


def rows_of(path):
    with open(f"{HERE}/{path}", newline="") as f:
        if path.endswith(".jsonl"):
            return [json.loads(line) for line in f]
        return [{"question": r[0], "choices": r[1:5], "answer": int(r[5])} for r in list(csv.reader(f))[1:]]


def gsm8k_items():
    """Five rows of the training split for each question, drawn as lm-eval draws them."""
    r, shots = random.Random(1234), rows_of("mini_gsm8k/train.jsonl")
    for row in rows_of("mini_gsm8k/test.jsonl"):
        before = "".join(f"{generate.gsm8k_prompt(s)} {s['answer']}\n\n" for s in r.sample(shots, SHOTS))
        yield {"prompt": before + generate.gsm8k_prompt(row), "gold": row["answer"].split("#### ")[1]}


def mmlu_items():
    for subject in generate.SUBJECTS:
        dev = rows_of(f"mini_mmlu/dev/{subject}_dev.csv")
        before = generate.mmlu_description(subject) + "".join(
            f"{generate.mmlu_prompt(s)} {generate.LETTERS[s['answer']]}\n\n" for s in dev)
        for row in rows_of(f"mini_mmlu/test/{subject}_test.csv"):
            yield {"subject": subject, "prompt": before + generate.mmlu_prompt(row), "gold": row["answer"]}


def batches(items):
    """Items whose prompts have the same number of tokens: padding would change what the convolutions see."""
    order = sorted(range(len(items)), key=lambda i: len(items[i]["ids"]))
    for _, group in groupby(order, key=lambda i: len(items[i]["ids"])):
        group = list(group)
        for i in range(0, len(group), BATCH):
            yield [items[k] for k in group[i:i + BATCH]]


def run_mmlu(model, t, every):
    items = list(mmlu_items())[::every]
    letters = [t.encode(f" {c}", add_special_tokens=False).ids for c in generate.LETTERS]
    assert all(len(x) == 1 for x in letters)
    for item in items:
        item["ids"] = t.encode(item["prompt"]).ids
    for batch in batches(items):
        logits = model(torch.tensor([x["ids"] for x in batch]), logits_to_keep=1).logits[:, -1]
        for item, ll in zip(batch, logits.log_softmax(-1)[:, [x[0] for x in letters]].tolist()):
            item["ll"] = ll
            item["correct"] = ll.index(max(ll)) == item["gold"]
    return items


def cut(text):
    return text.split("Question:")[0]


def run_gsm8k(model, t, every):
    items = list(gsm8k_items())[::every]
    for item in items:
        item["ids"] = t.encode(item["prompt"]).ids
        item["new"], item["margin"] = [], math.inf
    for batch in batches(items):
        x, cache, open_ = torch.tensor([i["ids"] for i in batch]), None, [True] * len(batch)
        for _ in range(MOST):
            out = model(x, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            best = out.logits[:, -1].topk(2)
            x = best.indices[:, :1]
            for i, item in enumerate(batch):
                if open_[i]:
                    item["new"].append(x[i].item())
                    item["margin"] = min(item["margin"], (best.values[i, 0] - best.values[i, 1]).item())
                    open_[i] = x[i].item() != train.CONFIG["eos_token_id"] and \
                        "Question:" not in t.decode(item["new"][-4:])
            if not any(open_):
                break
    for item in items:
        item["text"] = cut(t.decode(item["new"]))
        found = re.findall(r"#### (\-?[0-9\.\,]+)", item["text"])
        item["correct"] = bool(found) and found[0] == item["gold"]
    return items


def perplexity(model, t, context=512):
    """As llama.cpp does it: BOS at the start of each chunk, its second half counts."""
    with open(f"{HERE}/heldout.txt") as f:
        ids = t.encode(f.read()).ids
    rows = torch.tensor(ids[:len(ids) // context * context]).view(-1, context).clone()
    rows[:, 0] = train.CONFIG["bos_token_id"]
    total, n, half = 0.0, 0, context // 2
    for part in rows.split(8):
        logp = model(part).logits[:, half:-1].log_softmax(-1)
        total -= logp.gather(-1, part[:, half + 1:, None]).double().sum().item()
        n += part.shape[0] * (context - 1 - half)
    return math.exp(total / n), len(ids)


def check_forward(model, folder, t):
    """The training's own forward pass against Transformers, both in float32."""
    ids = torch.tensor([t.encode(generate.mmlu_description("world_facts") * 4).ids])
    w = {n: p.float() for n, p in model.state_dict().items()}
    train.PRECISION = torch.float32
    ours, _ = train.forward(w, ids)
    return (ours - model(ids).logits).abs().max().item()


def write_items(name, items, keys):
    lines = "".join(json.dumps({"sha256": hashlib.sha256(i["prompt"].encode()).hexdigest(),
                                **{k: i[k] for k in keys}}) + "\n" for i in items)
    with open(f"{HERE}/{name}", "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as z:
        z.write(lines.encode())


def wilson(k, n, z=1.96):
    p, d = k / n, 1 + z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    return (p + z * z / (2 * n)) / d - half, (p + z * z / (2 * n)) / d + half


def main(folder, every):
    torch.set_num_threads(2)
    t = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    model = transformers.Lfm2MoeForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        summary = {"transformers": transformers.__version__, "torch": torch.__version__,
                   "own_forward_max_difference": check_forward(model, folder, t)}
        mmlu, gsm = run_mmlu(model, t, every), run_gsm8k(model, t, every)
        summary["perplexity_512"], summary["heldout_tokens"] = perplexity(model, t)
    groups = [("mini_gsm8k", gsm), ("mini_mmlu", mmlu)]
    groups += [(f"mini_mmlu/{s}", [i for i in mmlu if i["subject"] == s]) for s in generate.SUBJECTS]
    for name, items in groups:
        k, n = sum(i["correct"] for i in items), len(items)
        low, high = wilson(k, n)
        summary[name] = {"correct": k, "items": n, "accuracy": k / n, "low": low, "high": high}
    write_items("expected_gsm8k.jsonl.gz", gsm, ["prompt", "new", "text", "margin", "gold", "correct"])
    write_items("expected_mmlu.jsonl.gz", mmlu, ["prompt", "subject", "ll", "gold", "correct"])
    with open(f"{HERE}/expected.json", "w") as f:
        json.dump(summary, f, indent=1)
        f.write("\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main(HERE, int(sys.argv[1]) if len(sys.argv) > 1 else 1)
