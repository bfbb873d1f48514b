# SPDX-License-Identifier: Apache-2.0
"""What lm-evaluation-harness itself makes of documents and answers, written down for tests/test_eval_*.c.

Uses the installed package's own task definitions and code; only where they would download a data set they get one
that is built here from local files. Usage (see run.sh):

    python make_lmeval_golden.py OUT [DATA]

OUT is tests/fixtures/lmeval: its folder own/ holds documents written for these tests, answers.json the answers that
are scored. own.jsonl is written there: per task and way of asking, hashes of the prompts, and the scores. With DATA, a
folder as for `lfm2 eval --data`, real.jsonl gets the same of the first real documents: hashes and digests only.
make_lmeval_samples.py uses this file's data sets and answers.
"""

import copy
import csv
import glob
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

import datasets
import lm_eval.api.task as lmtask
from lm_eval.tasks import TaskManager
from lm_eval.utils import hash_string

ROOT = None  # the data folder in use


def digest(text):
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def find(*names):
    for name in names:
        for path in (os.path.join(ROOT, name), os.path.join(ROOT, name + ".gz")):
            if os.path.exists(path):
                return path
    return None


def read(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
        return f.read().decode("utf-8")


def jsonl(*names):
    path = find(*names)
    if path is None:
        return []
    text = read(path)
    return json.loads(text) if text.lstrip().startswith("[") else [json.loads(x) for x in text.split("\n") if x.strip()]


# --- data sets in the form that lm-eval would download, from the files that people have


def gsm8k(name):
    return {s: jsonl(f"gsm8k/{s}.jsonl") for s in ("test", "train")}


def gsm_plus(name):
    return {
        "test": jsonl("gsm_plus/gsmplus_test.jsonl", "gsm-plus/gsmplus_test.jsonl"),
        "testmini": jsonl("gsm_plus/gsmplus_testmini.jsonl", "gsm-plus/gsmplus_testmini.jsonl"),
    }


def mmlu(name):
    out = {}
    for split in ("test", "dev"):
        path = find(f"mmlu/{split}/{name}_{split}.csv")
        if path:
            text = read(path)
        else:
            archive = find("mmlu/mmlu_dev_test.tar", "mmlu/data.tar")
            if archive is None:
                return {"test": [], "dev": []}
            with tarfile.open(archive) as tar:
                member = next((m for m in tar.getnames() if m.endswith(f"{split}/{name}_{split}.csv")), None)
                text = tar.extractfile(member).read().decode("utf-8") if member else ""
        rows = [r for r in csv.reader(io.StringIO(text, newline="")) if r]
        if rows and rows[0][0] == "question" and rows[0][5] == "answer":
            rows = rows[1:]
        out[split] = [
            {
                "question": r[0],
                "subject": name,
                "choices": r[1:5],
                "answer": int(r[5]) if r[5].isdigit() else "ABCD".index(r[5]),
            }
            for r in rows
        ]
    return out


def mmmlu(name):
    code = name.replace("_", "-")
    path = find(f"mmmlu/mmlu_{code}.csv")
    if path:
        rows = list(csv.reader(io.StringIO(read(path), newline="")))
        keys = ["Unnamed: 0", "Question", "A", "B", "C", "D", "Answer", "Subject"]
        return {"test": [dict(zip(keys, [int(r[0])] + r[1:])) for r in rows[1:]]}
    return {"test": jsonl(f"mmmlu/mmlu_{code}.jsonl")}


def mmlu_pro(name):
    return {
        "test": jsonl("mmlu_pro/test.jsonl", "mmlu-pro/mmlu_pro_test.jsonl"),
        "validation": jsonl("mmlu_pro/validation.jsonl"),
    }


def mgsm(name):
    path = find(f"mgsm/mgsm_{name}.tsv")
    test = []
    for line in read(path).split("\n") if path else []:
        if line.strip():
            q, n = line.split("\t")
            test.append(
                {"question": q, "answer": None, "answer_number": int(n.replace(",", "")), "equation_solution": None}
            )
    all_examples = json.loads(read(find("mgsm/exemplars.json"))) if path else {}
    train = []
    for x in all_examples.get(name, {}).values():
        digits = "".join(c if c.isdigit() and c.isascii() else " " for c in x["a"].replace(",", ""))
        number = x.get("number_answer", int(digits.split()[-1]))
        train.append({"question": x["q"], "answer": x["a"], "answer_number": number, "equation_solution": None})
    return {"test": test, "train": train}


def math500(name):
    return {"test": jsonl("hendrycks_math500/test.jsonl", "math/math500_test.jsonl")}


def gpqa(name):
    return {"train": jsonl(f"gpqa/{name}_frozen.jsonl")}


def ifeval(name):
    return {"train": jsonl("ifeval/ifeval_input_data.jsonl", "ifeval/input_data.jsonl")}


SOURCES = {
    "openai/gsm8k": gsm8k,
    "qintongli/GSM-Plus": gsm_plus,
    "cais/mmlu": mmlu,
    "openai/MMMLU": mmmlu,
    "TIGER-Lab/MMLU-Pro": mmlu_pro,
    "juletxara/mgsm": mgsm,
    "HuggingFaceH4/MATH-500": math500,
    "Idavidrein/gpqa": gpqa,
    "google/IFEval": ifeval,
}


class NoDocuments(Exception):
    pass


def local_download(self, dataset_kwargs=None, **kwargs):
    splits = SOURCES[self.DATASET_PATH](self.DATASET_NAME)
    if not any(splits.get(s) for s in (self.config.test_split, self.config.validation_split)):
        raise NoDocuments
    self.dataset = {k: datasets.Dataset.from_list(v) for k, v in splits.items()}
    if self.DATASET_PATH == "Idavidrein/gpqa":  # frozen documents are as lm-eval logs them, choices in their order
        self.config.process_docs = None


lmtask.ConfigurableTask.download = local_download


# --- what is asked


def plans(which):
    """(task name, [(shots, way)], documents): way is plain, chat (turns), or single (one user message)."""
    subjects = sorted(
        os.path.basename(p)[5:-5]
        for p in glob.glob(os.path.join(os.path.dirname(lmtask.__file__), "../tasks/mmlu/default/mmlu_*.yaml"))
    )
    own = which == "own"
    three = [(0, "plain"), (5, "plain"), (5, "chat"), (5, "single")]
    out = []
    for i, s in enumerate(subjects):
        out.append((f"mmlu_{s}", three if i < 2 or own else [(5, "plain")], 100 if own else 40))
        out.append((f"mmlu_{s}_generative", [(0, "plain"), (5, "chat")] if i < 2 or own else [(5, "plain")], 100 if own else 10))
        for code in ("de_de", "ja_jp") if own else ():
            out.append((f"mmmlu_{code}_{s}", [(0, "plain"), (2, "plain"), (2, "chat")], 100))
    for c in ("biology business chemistry computer_science economics engineering health history law math other "
              "philosophy physics psychology").split():
        out.append((f"mmlu_pro_{c}", three if own else [(0, "plain")], 100))
    for name, shots in (("gsm8k", 5), ("gsm8k_cot", 8), ("gsm8k_cot_zeroshot", 0), ("gsm8k_cot_llama", 8)):
        single = [(shots, "single")] if own or name != "gsm8k" else []
        out.append((name, [(shots, "plain"), (2, "plain"), (shots, "chat")] + single, 200 if name == "gsm8k" else 100))
    for name in ("gsm_plus_mini", "gsm_plus"):
        out.append((name, [(5, "plain"), (8, "plain"), (5, "chat")], 100))
    every = "bn de en es fr ja ru sw te th zh"
    for kind, some in (("direct", every), ("native_cot", "en ja"), ("en_cot", "de th")):
        for code in (every if own else some).split():
            ways = [(0, "plain"), (8, "plain"), (3, "chat")]
            out.append((f"mgsm_{kind}_{code}", ways, 100))
    out.append(("hendrycks_math500", [(0, "plain"), (0, "chat")], 150))
    for part in ("diamond",):
        for way in "zeroshot n_shot generative_n_shot cot_zeroshot cot_n_shot".split():
            out.append((f"gpqa_{part}_{way}", [(0, "plain"), (3, "plain"), (3, "chat")], 100))
    return out


def render(messages, add_generation_prompt=True):
    """Stands for a chat template: what a template gets, in one text."""
    return "".join(f"{m['role']}\0{m['content']}\0" for m in messages)


def gold_and_wrong(name, task, doc):
    if name.startswith(("gsm", "mgsm")):
        gold = str(task.doc_to_target(doc)).split("####")[-1].strip()
        return gold, gold + "1", ""
    if name.startswith("hendrycks"):
        return doc["answer"], doc["answer"] + "1", ""
    letter = str(task.doc_to_target(doc)).strip("()")
    choices = doc.get("choices") or doc.get("options") or [""] * 4
    index = ord(letter) - 65
    return letter, chr(65 + (index + 1) % 4), choices[index] if index < len(choices) else ""


def answers_for(name, task, doc, templates):
    gold, wrong, choice = gold_and_wrong(name, task, doc)
    kind = "number" if name.startswith(("gsm", "mgsm")) else "math" if name.startswith("hendrycks") else "letter"
    return [
        t.replace("{G}", gold).replace("{W}", wrong).replace("{g}", gold.lower()).replace("{C}", choice)
        for t in templates[kind]
    ]


def score_document(name, task, instances, templates):
    """Per filter: the list of filtered texts, and the metrics as a string of digits per metric."""
    choices = task.OUTPUT_TYPE == "multiple_choice"
    doc = instances[0].doc
    rows = templates["lls"] if choices else answers_for(name, task, doc, templates)
    rows = [[(x, False) for x in row] if choices else [row] for row in rows]
    copies = [[copy.copy(i) for i in instances] for _ in rows]
    for row, group in zip(rows, copies, strict=True):
        for resp, inst in zip(row, group, strict=True):
            inst.resps, inst.filtered_resps = [resp], {}
    task._instances = [i for group in copies for i in group]
    task.apply_filters()
    filtered, metrics = [], []
    for f in copies[0][0].filtered_resps:
        values = [task.process_results(doc, [i.filtered_resps[f] for i in group]) for group in copies]
        filtered.append(["" if choices else group[0].filtered_resps[f] for group in copies])
        metrics.append({k: "".join(str(int(v[k])) for v in values) for k in values[0]})
    return filtered, metrics


def document_digest(filtered, metrics):
    text = "".join("".join(x + "\x1f" for x in fs) + json.dumps(m) + "\x1e" for fs, m in zip(filtered, metrics))
    return digest(text)[:8]


def run_task(name, task, ways, limit, templates, own):
    first = True
    fixed = task.config.num_fewshot == 0  # which lm-eval lets nobody change
    for shots, way in ways:
        if fixed and shots:
            continue
        task.set_config("num_fewshot", shots)
        task.set_fewshot_seed(1234)
        chat = way != "plain"
        task.build_all_requests(
            limit=limit,
            apply_chat_template=chat,
            fewshot_as_multiturn=way == "chat",
            chat_template=render if chat else None,
            system_instruction="Answer with care." if way == "single" else None,
        )
        by_doc = {}
        for inst in task.instances:
            by_doc.setdefault(inst.doc_id, []).append(inst)
        line = {"task": name, "shots": shots, "way": way, "version": str(task.VERSION)}
        if task.OUTPUT_TYPE == "generate_until":
            line["kwargs"] = json.dumps(task.instances[0].args[1], ensure_ascii=False)
        line["prompts"] = "".join(
            digest("\0".join([i[0].args[0]] + [x.args[1] for x in i if task.OUTPUT_TYPE == "multiple_choice"]))[:12]
            for i in by_doc.values()
        )
        # What lm-eval logs as prompt_hash, of all documents.
        line["prompt_hashes"] = digest("".join(hash_string(i[0].args[0]) for i in by_doc.values()))
        line["targets"] = "".join(digest(str(task.doc_to_target(i[0].doc)))[:4] for i in by_doc.values())
        if first:
            scored = [score_document(name, task, i, templates) for i in by_doc.values()]
            line["filters"] = list(by_doc[0][0].filtered_resps)
            line["scores"] = "".join(document_digest(*s) for s in scored)
            line["scored"] = sum(len(x) for s in scored for x in s[0])
            if own:
                keep = 3 if name == "hendrycks_math500" else 1
                line["rows"] = [{"filtered": f if len(set(map(str, f[0]))) > 1 else [], "metrics": m} for f, m in scored[:keep]]
        first = False
        yield line


def use_data(root):
    global ROOT
    ROOT = root


def main():
    out = sys.argv[1]
    templates = json.load(open(os.path.join(out, "answers.json"), encoding="utf-8"))
    manager = TaskManager()
    for which, root in (("own", os.path.join(out, "own")), ("real", sys.argv[2] if len(sys.argv) > 2 else None)):
        if root is None:
            continue
        use_data(root)
        with open(os.path.join(out, which + ".jsonl"), "w", encoding="utf-8") as f:
            for name, ways, limit in plans(which):
                try:
                    task = manager.load([name])["tasks"][name]
                except (NoDocuments, IndexError):  # IndexError: no document of this subject
                    continue
                for line in run_task(name, task, ways, limit, templates, which == "own"):
                    f.write(json.dumps(line, ensure_ascii=False) + "\n")
                    print(which, line["task"], line["shots"], line["way"], len(line["prompts"]) // 12, flush=True)


if __name__ == "__main__":
    main()
