# SPDX-License-Identifier: Apache-2.0
"""Text for the tiny model: training documents, the test sets mini_gsm8k and mini_mmlu, and a held-out text.

Everything is made here from word lists and a seed; nothing is taken from anywhere. A question belongs to the
training text or to the tests by a checksum of its own words, so no test item can be trained on.
"""
import csv
import json
import os
import random
import sys
import zlib

SEED = 20261121
LETTERS = "ABCD"

# --- words -----------------------------------------------------------------------------------------------
PEOPLE = [("Tom", "He"), ("Ann", "She"), ("Sam", "He"), ("Mia", "She"), ("Ben", "He"), ("Eva", "She"),
          ("Max", "He"), ("Amy", "She"), ("Leo", "He"), ("Zoe", "She")]
THINGS = ["apples", "pens", "books", "eggs", "cups", "hats", "cards", "coins", "balls", "nuts"]
BOXES = ["bags", "boxes", "baskets"]
GROUPS = {
    "an animal": ["fox", "cat", "dog", "cow", "hen", "goat", "bear", "wolf"],
    "a fruit": ["plum", "pear", "fig", "lemon", "melon", "cherry", "peach", "grape"],
    "a tool": ["saw", "axe", "hammer", "drill", "rake", "file", "knife", "spade"],
    "a colour": ["red", "blue", "green", "black", "white", "brown", "pink", "grey"],
    "a vehicle": ["car", "bus", "ship", "train", "bike", "truck", "boat", "tram"],
}
GROUP_OF = {w: g for g, words in GROUPS.items() for w in words}


def make_world():
    """24 towns; every town has one value of each property."""
    r = random.Random(7)
    names = sorted({a + b for a in ("Ba", "Do", "Ki", "Lu", "Me", "No", "Sa", "Te", "Vi", "Zu")
                    for b in ("mo", "ra", "lin", "den", "sto", "va", "gar", "ble")})
    r.shuffle(names)
    rivers = ["Aln", "Bex", "Cor", "Dun", "Esk", "Fal", "Gar", "Hull"]
    winds = random.Random(8)
    return {t: {"animal": r.choice(GROUPS["an animal"]), "food": r.choice(GROUPS["a fruit"]),
                "flag": r.choice(GROUPS["a colour"]), "river": r.choice(rivers),
                "wind": winds.choice(["the north", "the east", "the south", "the west"])} for t in names[:24]}


WORLD = make_world()
VALUES = {k: sorted({v[k] for v in WORLD.values()}) for k in ("animal", "food", "flag", "river", "wind")}
ASK = {"animal": ["What is the animal of {t}?", "Which animal lives in {t}?"],
       "food": ["What do people eat in {t}?", "What is the food of {t}?"],
       "flag": ["What colour is the flag of {t}?", "Which colour has the flag of {t}?"],
       "river": ["Which river runs through {t}?", "On which river is {t}?"],
       "wind": ["Where does the wind of {t} come from?", "From where blows the wind in {t}?"]}
SAY = {"animal": ["The animal of {t} is the {v}.", "In {t} lives the {v}."],
       "food": ["People in {t} eat {v}.", "The food of {t} is {v}."],
       "flag": ["The flag of {t} is {v}.", "{t} has a {v} flag."],
       "river": ["The river {v} runs through {t}.", "{t} is on the river {v}."],
       "wind": ["The wind of {t} comes from {v}.", "In {t} the wind blows from {v}."]}


def is_test(text):
    return zlib.crc32(text.encode()) % 8 == 0


# --- word problems: a question and an answer in GSM8K's form ------------------------------------------------
def calc(a, op, b):
    c = {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[op]
    return c, f"<<{a}{op}{b}={c}>>{c}"


def problem(r):
    (n, he), (m, _) = r.sample(PEOPLE, 2)
    it, box = r.choice(THINGS), r.choice(BOXES)
    a, b, c = r.randint(2, 20), r.randint(2, 10), r.randint(2, 5)
    x, y = r.randint(2, 6), r.randint(2, 9)
    kind = r.randrange(12)
    if kind == 0:
        q = f"{n} has {a} {it}. {he} buys {b} more. How many {it} does {n} have now?"
        v, s = calc(a, "+", b)
        steps = [f"{n} has {s} {it}."]
    elif kind == 1:
        q = f"{n} has {a + b} {it}. {he} gives {b} to {m}. How many {it} are left?"
        v, s = calc(a + b, "-", b)
        steps = [f"{n} has {s} {it} left."]
    elif kind == 2:
        q = f"There are {x} {box} with {y} {it} each. How many {it} are there?"
        v, s = calc(x, "*", y)
        steps = [f"There are {s} {it}."]
    elif kind == 3:
        q = f"{n} shares {x * y} {it} among {x} friends. How many {it} does each friend get?"
        v, s = calc(x * y, "/", x)
        steps = [f"Each friend gets {s} {it}."]
    elif kind == 4:
        q = f"{n} buys {x} {it} for ${y} each. How many dollars does {n} pay?"
        v, s = calc(x, "*", y)
        steps = [f"{n} pays ${s}."]
    elif kind == 5:
        q = f"{n} has {a} {it}. {he} finds {b} more and loses {c}. How many {it} does {n} have now?"
        t, s = calc(a, "+", b)
        v, s2 = calc(t, "-", c)
        steps = [f"First {n} has {s} {it}.", f"Then {n} has {s2} {it}."]
    elif kind == 6:
        c = min(b, x * y - 1)
        q = f"{n} has {x} {box} with {y} {it} each. {he} gives {c} to {m}. How many {it} are left?"
        t, s = calc(x, "*", y)
        v, s2 = calc(t, "-", c)
        steps = [f"First {n} has {s} {it}.", f"Then {n} has {s2} {it} left."]
    elif kind == 7:
        q = f"{n} has {x} {box} with {y} {it} each and {b} more {it}. How many {it} does {n} have?"
        t, s = calc(x, "*", y)
        v, s2 = calc(t, "+", b)
        steps = [f"In the {box} are {s} {it}.", f"{n} has {s2} {it}."]
    elif kind == 8:
        q = f"{n} has {a} {it}. {m} has {b} more than {n}. How many {it} do they have together?"
        t, s = calc(a, "+", b)
        v, s2 = calc(a, "+", t)
        steps = [f"{m} has {s} {it}.", f"They have {s2} {it}."]
    elif kind == 9:
        q = f"{n} has {a} {it}. {m} has twice as many. How many {it} do they have together?"
        t, s = calc(2, "*", a)
        v, s2 = calc(a, "+", t)
        steps = [f"{m} has {s} {it}.", f"They have {s2} {it}."]
    elif kind == 10:
        q = f"{n} has ${x * y + b}. {he} buys {x} {it} for ${y} each. How many dollars are left?"
        t, s = calc(x, "*", y)
        v, s2 = calc(x * y + b, "-", t)
        steps = [f"{n} pays ${s}.", f"{n} has ${s2} left."]
    else:
        q = f"{n} shares {x * y} {it} among {x} friends. Each friend had {b} before. How many does each have now?"
        t, s = calc(x * y, "/", x)
        v, s2 = calc(b, "+", t)
        steps = [f"Each friend gets {s} {it}.", f"Each friend has {s2} {it}."]
    return {"question": q, "answer": "\n".join(steps + [f"#### {v}"])}


# --- multiple choice: a question, four choices, the index of the right one ----------------------------------
# The choices of a subject stand in one order, so that what has to be known is the answer and its letter; finding
# a choice among shuffled ones and copying the letter before it is not learned in a training this short.
SIZES = ["it is smaller", "it is equal", "it is larger", "there is no answer"]
RESULTS = ["even, below 20", "odd, below 20", "even, 20 or more", "odd, 20 or more"]
WINDS = ["the north", "the east", "the south", "the west"]
PAIRS = ["of one kind", "only the first is an animal", "only the second is an animal", "of other kinds"]


def ask_number_comparison(r):
    kind = r.randrange(4)
    a = r.randint(1, 99)
    b = a if kind == 1 else r.choice(list(GROUP_OF)) if kind == 3 else r.randint(1, 99)
    right = 3 if kind == 3 else 0 if a < b else 1 if a == b else 2
    return f"How does {a} compare with {b}?", SIZES, right


def ask_arithmetic(r):
    op = r.choice("+-*")
    if op == "*":
        a, b = r.randint(2, 9), r.randint(2, 9)
    else:
        a, b = r.randint(2, 24), r.randint(2, 16)
        a += b if op == "-" else 0
    v = calc(a, op, b)[0]
    return f"Which is true of {a} {op} {b}?", RESULTS, v % 2 + 2 * (v >= 20)


def ask_world_facts(r):
    t, (n, he) = r.choice(list(WORLD)), r.choice(PEOPLE)
    text = r.choice(["{n} buys {it} in {t}. Where does the wind come from there?",
                     "{n} is in {t} and has {it}. From where does the wind blow?"])
    return text.format(n=n, t=t, it=r.choice(THINGS)), WINDS, WINDS.index(WORLD[t]["wind"])


def ask_word_groups(r):
    same = r.random() < .25
    a = r.choice(GROUPS["an animal"]) if r.random() < .33 else r.choice(list(GROUP_OF))
    b = r.choice(GROUPS["an animal"]) if r.random() < .33 else r.choice(list(GROUP_OF))
    if same:
        b = r.choice(GROUPS[GROUP_OF[a]])
    x, y = GROUP_OF[a], GROUP_OF[b]
    right = 0 if x == y else 1 if x == "an animal" else 2 if y == "an animal" else 3
    return f"What is true of a {a} and a {b}?", PAIRS, right


SUBJECTS = {"arithmetic": ask_arithmetic, "number_comparison": ask_number_comparison,
            "word_groups": ask_word_groups, "world_facts": ask_world_facts}


def choice(r, subject):
    q, choices, i = SUBJECTS[subject](r)
    return {"question": q, "choices": choices, "answer": i}


# --- the prompts of the evaluation, as they are in lm-eval ---------------------------------------------------
def gsm8k_prompt(row):
    return f"Question: {row['question']}\nAnswer:"


def mmlu_description(subject):
    return f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"


def mmlu_prompt(row):
    lines = "".join(f"{LETTERS[i]}. {c}\n" for i, c in enumerate(row["choices"]))
    return f"{row['question']}\n{lines}Answer:"


def fresh(r, make, want_test=False):
    """A row of the wanted side. The four choices count as a set, so that another order is no new question."""
    while True:
        row = make(r)
        key = row["question"] + "|" + "|".join(sorted(row.get("choices", [])))
        if is_test(key) == want_test:
            return row


# --- documents: lists of (text, weight of its tokens in the loss) ---------------------------------------------
# What nobody could guess, such as the numbers of a question, counts less; what has to be worked out counts more.
GIVEN, PLAIN, STEPS, LETTER = 0.3, 1.0, 1.5, 4.0


def doc_gsm8k(r):
    doc = []
    for i in range(r.choice([1, 1, 2, 3, 4, 5, 6])):
        row = fresh(r, problem)
        doc += [("\n\n" if i else "", PLAIN), (gsm8k_prompt(row), GIVEN), (" " + row["answer"], STEPS)]
    return doc


def doc_mmlu(r):
    subject = r.choice(list(SUBJECTS))
    doc = [(mmlu_description(subject), GIVEN)]
    for i in range(r.choice([1, 2, 3, 4, 5, 6, 6])):
        row = fresh(r, lambda s: choice(s, subject))
        doc += [("\n\n" if i else "", PLAIN), (mmlu_prompt(row), GIVEN), (" " + LETTERS[row["answer"]], LETTER)]
    return doc


def fact(r, t, k):
    return r.choice(SAY[k]).format(t=t, v=WORLD[t][k])


def doc_text(r):
    out = []
    for _ in range(r.randint(2, 5)):
        kind = r.randrange(6)
        if kind <= 2:
            t = r.choice(list(WORLD))
            keys = r.sample(list(VALUES), r.randint(2, 4))
            out.append(f"{t} is a town. " + " ".join(fact(r, t, k) for k in keys))
        elif kind == 3:
            w = r.choice(list(GROUP_OF))
            v = r.choice([x for x in GROUP_OF if GROUP_OF[x] == GROUP_OF[w] and x != w])
            out.append(f"A {w} is {GROUP_OF[w]}. A {v} is {GROUP_OF[v]} too.")
        elif kind == 4:
            a, b = r.sample(range(1, 100), 2)
            c = sorted(r.sample(range(1, 100), 5))
            out.append(f"{max(a, b)} is larger than {min(a, b)}. These numbers grow: "
                       + ", ".join(map(str, c)) + ".")
        else:
            (n, he), (m, _) = r.sample(PEOPLE, 2)
            t, it = r.choice(list(WORLD)), r.choice(THINGS)
            out.append(f"{n} went to {t} and bought {it} for {m}. There {he.lower()} saw a "
                       f"{WORLD[t]['animal']} and the {WORLD[t]['flag']} flag.")
    return [("\n".join(out), PLAIN)]


def doc_sums(r):
    out = []
    for _ in range(r.randint(4, 10)):
        op = r.choice("+-*/")
        a, b = (r.randint(2, 6), r.randint(2, 9)) if op in "*/" else (r.randint(2, 36), r.randint(2, 10))
        a = a * b if op == "/" else a + b if op == "-" else a
        out += [(f"<<{a}{op}{b}=", GIVEN), (f"{calc(a, op, b)[0]}>>\n", STEPS)]
    return out


TOOLS = {"weather": '{"name": "weather", "parameters": {"town": "string"}}',
         "add": '{"name": "add", "parameters": {"a": "number", "b": "number"}}',
         "buy": '{"name": "buy", "parameters": {"thing": "string", "count": "number"}}'}


def tool_talk(r):
    kind = r.choice(list(TOOLS))
    tools = r.sample(list(TOOLS.values()), r.randint(1, 2))
    if TOOLS[kind] not in tools:
        tools[0] = TOOLS[kind]
    if kind == "weather":
        t, w = r.choice(list(WORLD)), r.choice(["sunny", "rainy", "windy"])
        ask, call, reply, say = f"How is the weather in {t}?", f'weather(town="{t}")', f'{{"weather": "{w}"}}', \
            f"It is {w} in {t}."
    elif kind == "add":
        a, b = r.randint(10, 99), r.randint(10, 99)
        ask, call, reply, say = f"What is {a} plus {b}?", f"add(a={a}, b={b})", f'{{"sum": {a + b}}}', \
            f"The sum is {a + b}."
    else:
        it, c, p = r.choice(THINGS), r.randint(2, 9), r.randint(2, 60)
        ask, call, reply, say = f"Please buy {c} {it}.", f'buy(thing="{it}", count={c})', f'{{"price": {p}}}', \
            f"I bought {c} {it} for ${p}."
    system = "List of tools: <|tool_list_start|>[" + ", ".join(tools) + "]<|tool_list_end|>"
    return [("system", system), ("user", ask), ("assistant", f"<|tool_call_start|>[{call}]<|tool_call_end|>"),
            ("tool", f"<|tool_response_start|>{reply}<|tool_response_end|>"), ("assistant", say)]


def plain_talk(r):
    turns = [("system", r.choice(["Answer briefly.", "You are a helpful assistant."]))] if r.random() < .3 else []
    for _ in range(r.randint(1, 3)):
        kind = r.randrange(4)
        if kind == 0:
            row = fresh(r, problem)
            turns += [("user", row["question"]), ("assistant", row["answer"])]
        elif kind == 1:
            row = fresh(r, lambda s: choice(s, s.choice(list(SUBJECTS))))
            turns += [("user", mmlu_prompt(row)), ("assistant", LETTERS[row["answer"]])]
        elif kind == 2:
            t, k = r.choice(list(WORLD)), r.choice(list(VALUES))
            turns += [("user", r.choice(ASK[k]).format(t=t)), ("assistant", fact(r, t, k))]
        else:
            n = r.choice(PEOPLE)[0]
            turns += [("user", f"Hello, I am {n}."), ("assistant", f"Hello {n}! How can I help you?")]
    return turns


def doc_chat(r):
    doc = []
    for role, text in tool_talk(r) if r.random() < .4 else plain_talk(r):
        doc += [(f"<|im_start|>{role}\n", GIVEN), (text, STEPS if role == "assistant" else GIVEN),
                ("<|im_end|>", PLAIN), ("\n", GIVEN)]
    return doc


# The share of each kind, in documents: they differ in length.
KINDS = [(doc_gsm8k, 34), (doc_mmlu, 40), (doc_text, 14), (doc_sums, 10), (doc_chat, 16)]


def document(r, kinds=KINDS):
    return r.choices([k for k, _ in kinds], [w for _, w in kinds])[0](r)


# --- the committed files ------------------------------------------------------------------------------------
def distinct(r, make, n, want_test):
    rows, seen = [], set()
    while len(rows) < n:
        row = fresh(r, make, want_test)
        key = row["question"] + "|" + "|".join(sorted(row.get("choices", [])))
        if key not in seen:
            seen.add(key)
            rows.append(row)
    return rows


def write_tests(folder):
    r = random.Random(SEED + 1)
    os.makedirs(f"{folder}/mini_gsm8k", exist_ok=True)
    for split, n in (("train", 64), ("test", 600)):
        with open(f"{folder}/mini_gsm8k/{split}.jsonl", "w") as f:
            for row in distinct(r, problem, n, split == "test"):
                f.write(json.dumps(row) + "\n")
    for split, n in (("dev", 5), ("test", 150)):
        os.makedirs(f"{folder}/mini_mmlu/{split}", exist_ok=True)
        for subject in SUBJECTS:
            with open(f"{folder}/mini_mmlu/{split}/{subject}_{split}.csv", "w", newline="") as f:
                out = csv.writer(f, lineterminator="\n")
                out.writerow(["question", "choice0", "choice1", "choice2", "choice3", "answer"])
                rows = min(n, 80) if subject == "arithmetic" else n  # there are not many more sums on the test side
                for row in distinct(r, lambda s: choice(s, subject), rows, split == "test"):
                    out.writerow([row["question"], *row["choices"], row["answer"]])


def write_heldout(path, size=220_000):
    """Plain text: no chat, because special tokens are ordinary text to a perplexity tool."""
    r = random.Random(SEED + 2)
    plain = [(k, w) for k, w in KINDS if k is not doc_chat]
    with open(path, "w") as f:
        while f.tell() < size:
            f.write("".join(t for t, _ in document(r, plain)).strip("\n") + "\n\n\n")


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.argv[1:] == ["sample"]:
        r = random.Random(1)
        for _ in range(12):
            print("".join(t for t, _ in document(r)), "\n" + "=" * 60)
    else:
        write_tests(here)
        write_heldout(f"{here}/heldout.txt")
