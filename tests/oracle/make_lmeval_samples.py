# SPDX-License-Identifier: Apache-2.0
"""Samples files that lm-evaluation-harness itself writes, for tests of `lfm2 score`.

    python make_lmeval_samples.py OUT

lm-eval's own evaluator asks a model that says what answers.json says, about the documents of OUT/own; its chats go
through the template of data/tiny. Writes OUT/samples/samples_TASK_DATE.jsonl.
"""

import json
import os
import sys

import jinja2.sandbox
import lm_eval
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

import make_lmeval_golden as golden

MODEL = os.path.join(os.path.dirname(__file__), "../../data/tiny")

# Task, shots, documents, how it is asked: as in tests/test_eval_score.c.
RUNS = [
    ("gsm8k_cot_llama", 2, 8, "chat"),
    ("gsm8k_cot", 2, 6, "single"),
    ("gsm_plus_mini", 1, 30, "plain"),
    ("mgsm_native_cot_te", 1, 8, "chat"),
    ("mmlu_abstract_algebra", 2, 8, "chat"),
    ("mmlu_abstract_algebra_generative", 1, 8, "single"),
    ("mmlu_high_school_us_history", 2, 8, "plain"),
    ("mmmlu_ja_jp_virology", 0, 6, "chat"),
    ("mmlu_pro_math", 1, 6, "chat"),
    ("gpqa_diamond_cot_n_shot", 1, 8, "chat"),
    ("hendrycks_math500", 0, 40, "plain"),
]


class Scripted(LM):
    tokenizer_name = "data/tiny"

    def __init__(self, task, templates):
        super().__init__()
        self.task, self.templates = task, templates
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        with open(os.path.join(MODEL, "chat_template.jinja"), encoding="utf-8") as f:
            self.source = f.read()
        self.compiled = environment.from_string(self.source)
        with open(os.path.join(MODEL, "tokenizer_config.json"), encoding="utf-8") as f:
            self.bos = json.load(f)["bos_token"]

    def chat_template(self, chat_template=False):
        return self.source

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        return self.compiled.render(
            messages=chat_history, bos_token=self.bos, add_generation_prompt=add_generation_prompt, tools=None
        )

    def generate_until(self, requests, disable_tqdm=False):
        out = []
        for r in requests:
            answers = golden.answers_for(self.task.config.task, self.task, r.doc, self.templates)
            out.append(answers[r.doc_id * 7 % len(answers)])
        return out

    def loglikelihood(self, requests, disable_tqdm=False):
        rows = self.templates["lls"]
        return [(float(rows[r.doc_id % len(rows)][r.idx]), r.idx == 1) for r in requests]

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


def main():
    out = sys.argv[1]
    golden.use_data(os.path.join(out, "own"))
    with open(os.path.join(out, "answers.json"), encoding="utf-8") as f:
        templates = json.load(f)
    manager = TaskManager()
    for name, shots, limit, way in RUNS:
        task = manager.load([name])["tasks"][name]
        results = lm_eval.simple_evaluate(
            model=Scripted(task, templates),
            tasks=[name],
            num_fewshot=shots,
            limit=limit,
            apply_chat_template=way != "plain",
            fewshot_as_multiturn=way == "chat",
            system_instruction="Answer with care." if way == "single" else None,
            bootstrap_iters=0,
            task_manager=manager,
        )
        tracker = EvaluationTracker(output_path=out)
        tracker.general_config_tracker.model_name_sanitized = "samples"
        tracker.date_id = "2026-01-31T00-00-00.000000"
        tracker.save_results_samples(name, results["samples"][name])
        print("samples", name, len(results["samples"][name]), flush=True)


main()
