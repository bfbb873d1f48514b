# SPDX-License-Identifier: Apache-2.0
"""Fills the files of fixtures/lmeval/own with documents made here until every suite has at least 100.

    python make_documents.py OWN

The first lines of each file were written by hand, for what goes wrong in prompts and scores; these are like them:
numbers, names and signs drawn with a seed. Lines that an earlier run added are replaced.
"""

import csv
import io
import json
import os
import random
import sys

OWN = sys.argv[1]
NAMES = ["Ada", "Björn", "Chloé", "Đặng", "Елена", "فاطمة", "菊池", "Ọláolú", "O'Neill", "Søren \"S\"", "Zoë\u00a0K.", "Iğdır"]
THINGS = ["pencils", "apples & pears", "2-cent stamps", "cups (blue)", "naïve ideas", "μm of wire", "<b>bold</b> words"]
ENDS = ["", "", "", " ", "\n", " \t", "\u3000", "\\n", " #### ", " {}", " %s"]
draw = random.Random(20260131)


def rows_of(path, by_hand):
    """The file's first lines, and the file to write."""
    with open(path, encoding="utf-8", newline="") as f:
        lines = f.read().split("\n")
    return "\n".join(lines[:by_hand]) + "\n"


def fill(name, by_hand, more):
    path = os.path.join(OWN, name)
    text = rows_of(path, by_hand) + "".join(more)
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)


def line(value):
    return json.dumps(value, ensure_ascii=False) + "\n"


def table(row):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(row)
    return out.getvalue()


def number():
    n = draw.choice([draw.randint(0, 20), draw.randint(-50, 999), draw.randint(1000, 10**7)])
    return draw.choice([str(n), f"{n:,}", f"{n}.50" if n >= 0 else str(n)])


def gsm8k(i):
    a, b, who, what = draw.randint(2, 90), draw.randint(2, 90), draw.choice(NAMES), draw.choice(THINGS)
    q = f"{who} has {a} {what} and gets {b} more.{draw.choice(ENDS)} How many {what} is that?{draw.choice(ENDS)}"
    return line({"question": q, "answer": f"{a} + {b} = <<{a}+{b}={a + b}>>{a + b} {what}.\n#### {number()}"})


def gsm_plus(i):
    n = number()
    kind = draw.choice(["numerical substitution", "critical thinking", "problem understanding", "distraction insertion"])
    return line({
        "question": f"{draw.choice(NAMES)} counts {i} {draw.choice(THINGS)}.{draw.choice(ENDS)} How many?",
        "solution": f"They are {n}.\n#### {n}", "answer": "None" if kind == "critical thinking" else n,
        "perturbation_type": kind, "seed_question": "How many?", "seed_solution": "#### 1", "seed_answer": "1",
    })


def math500(i):
    a, b = draw.randint(1, 99), draw.randint(2, 99)
    boxed = draw.choice([
        f"\\frac{{{a}}}{{{b}}}", f"{a}", f"{a}\\sqrt{{{b}}}", f"\\dfrac{a % 9 + 1}{b % 9 + 1}", f"{a}^\\circ", f"[{a}, {b})",
        f"({a},{b})", f"{a / b:.3f}", f"x={a}", f"\\text{{{draw.choice(['even', 'odd', 'Wednesday'])}}}", f"{a}\\%", f"\\${a}",
        f"{a},\\!{b:03d}", f"\\left({a},{b}\\right)", f"{a} \\text{{ cm}}^2", f"{a}\\pi", f"{{{a}}}", f"-{a}/{b}",
    ])
    return line({
        "problem": f"Let $x_{{{i}}}$ be {a} of {b}.{draw.choice(ENDS)} What is it?",
        "solution": f"We find $x_{{{i}}}=\\boxed{{{boxed}}}$.", "answer": boxed, "subject": "Own", "level": 1 + i % 5,
        "unique_id": f"own/{i}",
    })


def gpqa(i):
    texts = draw.sample([f"It is {i}.{k} eV" for k in range(3)] + [f"({i})", f"{draw.choice(NAMES)}'s {i}", "None of these", "A", "B",
                                                                  f"x = {i}\ny = 2", f"${i}\\%$", "Guilty", "guilty of theft"], 4)
    right = draw.randrange(4)
    doc = {"Question": f"Own question {i}, of {draw.choice(NAMES)}?{draw.choice(ENDS)}", "Correct Answer": texts[right]}
    doc.update({f"choice{k + 1}": t for k, t in enumerate(texts)})
    return line({**doc, "choices": texts, "answer": f"({chr(65 + right)})"})


def mmlu(i, digits):
    right = draw.randrange(4)
    choices = [f"{draw.choice(NAMES)} {k}{draw.choice(ENDS)}" for k in range(4)]
    question = f"{draw.choice(ENDS)}Which of the {draw.choice(THINGS)}, number {i}?{draw.choice(ENDS)}"
    return table([question] + choices + [right if digits else "ABCD"[right]])


def mmlu_pro(i, category):
    n = draw.randint(3, 10)
    options = [draw.choice(["", " "]) + f"{draw.choice(NAMES)} {k}" for k in range(n)]
    right = draw.randrange(n)
    return line({
        "question_id": 200 + i, "question": f"A {category} question of {draw.choice(NAMES)}:{draw.choice(ENDS)} {i}?", "options": options,
        "answer": chr(65 + right), "answer_index": right, "cot_content": "", "category": category, "src": "own",
    })


def mmmlu_row(i):
    word = draw.choice(["Frage", "Größe", "Straße", "Übermaß"])
    return [i, f"{word} {i}:{draw.choice(ENDS)} Was gilt für {draw.choice(NAMES)}?"] + [f"{draw.choice(NAMES)} {k}" for k in range(4)] + [
        draw.choice("ABCD"), "world_religions"]


def mmmlu_japanese(i):
    doc = {"Question": f"{draw.choice(ENDS)}質問{i}：{draw.choice(NAMES)}はどれですか？{draw.choice(ENDS)}"}
    doc.update({k: draw.choice("甲乙丙丁") + str(i) for k in "ABCD"})
    return line({**doc, "Answer": draw.choice("ABCD"), "Subject": "virology"})


BASKETS = {
    "de": "{who} hat {a} Äpfel, {b} kommen dazu. Wie viele sind es?", "en": "{who} has {a} apples and gets {b}. How many are there?",
    "ja": "{who}さんはりんごを{a}個、さらに{b}個もらいました。全部で何個ですか？", "te": "{who} దగ్గర {a} పండ్లు, మరో {b} వచ్చాయి. మొత్తం ఎన్ని?",
}


def mgsm(code):
    a, b = draw.randint(1, 999), draw.randint(1, 9999)
    return f"{BASKETS[code].format(who=draw.choice(NAMES), a=a, b=b)}\t{a + b:,}\n"


def main():
    fill("gsm8k/test.jsonl", 10, [gsm8k(i) for i in range(94)])
    fill("gsm_plus/gsmplus_testmini.jsonl", 30, [gsm_plus(i) for i in range(74)])
    fill("hendrycks_math500/test.jsonl", 17, [math500(i) for i in range(17, 104)])
    fill("gpqa/gpqa_diamond_frozen.jsonl", 8, [gpqa(i) for i in range(8, 104)])
    fill("mmlu/test/abstract_algebra_test.csv", 9, [mmlu(i, False) for i in range(46)])
    fill("mmlu/test/high_school_us_history_test.csv", 7, [mmlu(i, True) for i in range(46)])
    fill("mmlu_pro/test.jsonl", 12, [mmlu_pro(i, ("math", "computer science")[i % 2]) for i in range(92)])
    fill("mmmlu/mmlu_DE-DE.csv", 10, [table(mmmlu_row(i)) for i in range(9, 56)])
    fill("mmmlu/mmlu_JA-JP.jsonl", 6, [mmmlu_japanese(i) for i in range(6, 54)])
    for code in BASKETS:
        fill(f"mgsm/mgsm_{code}.tsv", 9, [mgsm(code) for _ in range(17)])


main()
