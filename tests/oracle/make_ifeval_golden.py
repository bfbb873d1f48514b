# SPDX-License-Identifier: Apache-2.0
"""IFEval's verdicts by lm-eval's own checkers on answers.json's answers, for tests/test_eval_ifeval.c.

    python make_ifeval_golden.py OUT [DATA]

Writes OUT/ifeval_own.jsonl (documents of OUT/own) and, with DATA, OUT/ifeval_real.jsonl: per document the instructions,
and per instruction one string of digits, two per answer: strict, loose. NLTK's sentence model has to be downloaded and
is not used: number_sentences is left out, and words are split without splitting sentences first.
"""

import gzip
import json
import os
import random
import sys

import langdetect
import nltk
from nltk.tokenize import NLTKWordTokenizer

nltk.data.find = lambda *a, **k: None  # instructions_util looks for the sentence model when it is imported
nltk.word_tokenize = NLTKWordTokenizer().tokenize
langdetect.DetectorFactory.seed = 0

from lm_eval.tasks.ifeval import instructions_util, utils  # noqa: E402

instructions_util.count_sentences = lambda text: 0


def filled(template, doc):
    words = []
    for kwargs in doc["kwargs"]:
        for key in sorted(kwargs):
            value = kwargs[key]
            if isinstance(value, str):
                words.append(value)
            elif isinstance(value, list):
                words += value
    return template.replace("{K}", " ".join(words))


def main():
    out = sys.argv[1]
    answers = json.load(open(os.path.join(out, "answers.json"), encoding="utf-8"))["ifeval"]
    jobs = [("own", os.path.join(out, "own/ifeval/input_data.jsonl"))]
    if len(sys.argv) > 2:
        path = os.path.join(sys.argv[2], "ifeval/input_data.jsonl")
        jobs.append(("real", path if os.path.exists(path) else path + ".gz"))
    for which, path in jobs:
        text = (gzip.open if path.endswith(".gz") else open)(path, "rb").read().decode("utf-8")
        docs = [json.loads(line) for line in text.split("\n") if line.strip()]
        with open(os.path.join(out, f"ifeval_{which}.jsonl"), "w", encoding="utf-8") as f:
            for doc in docs[: 120 if which == "real" else None]:
                digits = ["" for _ in doc["kwargs"]]
                random.seed(doc["key"])  # lm-eval draws a letter where a document names none
                for template in answers:
                    result = utils.process_results(doc, [filled(template, doc)])
                    pairs = zip(result["inst_level_strict_acc"], result["inst_level_loose_acc"])
                    for i, (strict, loose) in enumerate(pairs):
                        digits[i] += f"{int(strict)}{int(loose)}"
                    assert result["prompt_level_strict_acc"] == all(result["inst_level_strict_acc"])
                f.write(json.dumps({"key": doc["key"], "verdicts": digits}) + "\n")
        print(which, len(docs), flush=True)


main()
